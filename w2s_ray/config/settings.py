"""The settings of one fit: training schedule, loss, early stopping.

Owns the models that sweep files and recipes share, so that the settings in the file are the
settings that are hashed. The docstrings of the fields are the reference (docs/sweep-file.md). It
holds no execution settings and reads no files.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from w2s_ray.config.pair_models import PairModel, RewardModel
from w2s_ray.config.series import CoSupervisedStage
from w2s_ray.config.stages import EnsembleStage, Stage, kind_of
from w2s_ray.config.tuning import FullTuning, Tuning
from w2s_ray.errors import InputError
from w2s_ray.frozen import Frozen
from w2s_ray.methods.losses import AnyLoss, XentLoss
from w2s_ray.printable import shown

Rate = Annotated[float, Field(ge=0, lt=1)]
Precision = Literal["fp32", "tf32", "bf16"]


class Training(Frozen):
    """How a model is trained."""

    batch_size: int = Field(default=32, ge=1, le=10_000_000)
    """Rows per optimizer step, over all workers and micro-batches (the global batch)."""
    epochs: int = Field(default=2, ge=1, le=100_000)
    """Passes over the training rows."""
    lr: float = Field(default=1e-5, gt=0, le=1000)
    """Peak learning rate of AdamW."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """Decay of the learning rate after warm-up: to zero by cosine, to zero linearly, or none."""
    lr_warmup_fraction: float = Field(default=0.0, ge=0, lt=1)
    """Share of all steps over which the learning rate rises linearly from 0."""
    weight_decay: float = Field(default=0.0, ge=0, le=1000)
    """AdamW's decoupled weight decay."""
    weight_decay_to: Literal["zero", "initial"] = "zero"
    """Weights decay towards zero, or towards the initial weights (torch engine only)."""
    betas: tuple[Rate, Rate] = (0.9, 0.999)
    """AdamW's moment decay rates."""
    clip_norm: float | None = Field(default=1.0, gt=0, le=1e12)
    """Gradients are clipped to this norm; null = no clipping."""
    max_tokens: int = Field(default=512, ge=2, le=100_000_000)
    """Inputs over this many tokens are truncated from the left. No row is dropped for its
    length."""
    answer_tokens: int = Field(default=16, ge=2, le=1_000_000)
    """Longest completion of a prompt, in tokens. A longer answer in the data is an error."""
    choice_scoring: Literal["text", "letter"] = Field(
        default="text", exclude_if=lambda scoring: scoring == "text"
    )
    """How a choice of a question is scored. text: by the log-likelihood of its text after the
    question. letter: the choices are listed below the question as `A. ...`, `B. ...`, and each is
    scored by its letter."""
    choice_length: Literal["characters", "tokens", "none"] = Field(
        default="characters", exclude_if=lambda length: length == "characters"
    )
    """What the log-likelihood of a choice's text is divided by. characters is `acc_norm` of the LM
    Evaluation Harness, none is its `acc`."""
    choice_cue: str | None = Field(
        default=None, max_length=10_000, exclude_if=lambda cue: cue is None
    )
    """Line between a question and what is scored, such as `Answer:`. null = `Answer:` before a
    letter, and none before a text."""
    pair_model: PairModel = Field(
        default=RewardModel(), exclude_if=lambda model: isinstance(model, RewardModel)
    )
    """What scores the two texts of a pair: a reward model, or a policy."""
    precision: Precision = "fp32"
    """Precision of the forward and backward pass. The optimizer keeps fp32 weights. tf32: on a GPU,
    inputs of fp32 matrix products are rounded to 10 bits after the point; on a CPU, fp32."""
    bucket_batches: int | None = Field(default=None, ge=1, le=1_000_000)
    """Batches that are drawn together and sorted by length, for less padding; 1 = plain
    shuffling. null = 16, and 1 for losses with a statistic of the whole batch (`confidence`,
    `confidence_reference`), because batches of similar lengths would bias it."""
    evaluations_per_epoch: int = Field(default=4, ge=1, le=10_000)
    """Evaluations on validation rows per epoch, for curves, early stopping and pruning."""
    tuning: Tuning = FullTuning()
    """Which weights are trained."""

    @property
    def evaluations(self) -> int:
        """Largest number of evaluations of one fit."""
        return self.epochs * self.evaluations_per_epoch


SAN_TOKENS = 199
"""Tokens of the tokenizer `san`."""


class PretrainArchitecture(Frozen):
    """A language model to pretrain from random weights, with a tokenizer made from the corpus."""

    kind: Literal["gpt2", "llama", "gpt_neox"] = "gpt2"
    """The architecture in the transformers library."""
    width: int = Field(ge=2, le=100_000)
    """Width of the residual stream."""
    layers: int = Field(ge=1, le=10_000)
    """Number of blocks."""
    heads: int = Field(ge=1, le=10_000)
    """Attention heads of a block."""
    context: int = Field(default=128, ge=8, le=1_000_000)
    """Context length in tokens."""
    tokenizer: Literal["words", "san", "bpe"] = "bpe"
    """bpe: byte pairs. words: words and punctuation marks. san: chess, where a move in SAN is split
    into its parts (piece, square, capture, check) and a position into squares, so that no move is
    unknown."""
    vocabulary: int = Field(default=8000, ge=300, le=1_000_000)
    """Largest size of the vocabulary; the most frequent tokens are kept. `san` has a fixed
    vocabulary of 199 tokens."""

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> PretrainArchitecture:
        if self.width % (2 * self.heads):
            raise InputError(
                f"width {self.width} is not divisible by twice the number of heads "
                f"({self.heads}); choose a multiple of {2 * self.heads}"
            )
        return self

    @property
    def most_tokens(self) -> int:
        """Largest number of tokens that the tokenizer can have."""
        return SAN_TOKENS if self.tokenizer == "san" else self.vocabulary

    def config(self, vocabulary: int) -> dict[str, Any]:
        """The shape as in the model's config.json, with a vocabulary of this size."""
        if self.kind == "gpt2":
            shape = {"n_positions": self.context, "n_embd": self.width}
            shape |= {"n_layer": self.layers, "n_head": self.heads}
        else:
            shape = {"max_position_embeddings": self.context, "hidden_size": self.width}
            shape |= {"num_hidden_layers": self.layers, "num_attention_heads": self.heads}
            shape |= {"intermediate_size": 4 * self.width, "tie_word_embeddings": True}
        return {"model_type": self.kind, "vocab_size": vocabulary, **shape}


class EarlyStopping(Frozen):
    """Stop when validation no longer improves, and restore the weights of the best evaluation."""

    patience: int = Field(default=2, ge=1, le=1_000_000_000)
    """Evaluations without improvement after which training stops."""
    metric: Literal["accuracy", "loss"] = "accuracy"
    """What must improve on validation rows: agreement with their labels (accuracy), or
    cross-entropy with them (loss). For students these are weak labels."""
    min_delta: float = Field(default=0.0, ge=0, le=1000)
    """Smallest change that counts as an improvement."""
    oracle: bool = False
    """true: students stop by ground truth. This is an upper bound, and tables mark it as oracle."""
    finish_schedule: bool = Field(default=False, exclude_if=lambda finish: not finish)
    """true: after a student has stopped, training goes on to the schedule's end in the same fit, so
    that the column `oracle stop` sees every evaluation. The student's own result, its weights and
    its predictions are those of the stop. It costs the training that stopping saves. Trials of a
    search, supervisors and ceilings stop as without it."""


_APART = (
    (("prompt", "linear_probe", "true_rows"), "each replaces the reported student"),
    (("elicit", "prompt"), "both prompt the model"),
    (("iterate", "cosupervised", "two_stage"), "each is a series of students"),
    (("ensemble", "boosting"), "each chooses the supervisors"),
    (("cosupervised", "boosting"), "each chooses the supervisors"),
    (("bootstrap", "cosupervised"), "with bootstrap one model labels"),
    (("elicit", "cosupervised"), "with elicit one model labels"),
    (("prompt", "cosupervised"), "a prompted model is not trained"),
    (("prompt", "two_stage"), "a prompted model is not trained"),
)
"""Kinds of stages of which a method may have one, and why."""


class FitSettings(Frozen):
    """All settings of a fit that a method or a search may choose."""

    training: Training = Training()
    loss: AnyLoss = XentLoss()
    early_stopping: EarlyStopping | None = None
    stages: tuple[Stage, ...] = ()

    @model_validator(mode="after")
    def _stopping_can_happen(self) -> FitSettings:
        stop = self.early_stopping
        evaluations = self.training.evaluations
        if stop is not None and stop.patience > evaluations:
            raise InputError(
                f"early_stopping.patience is {stop.patience}, but training evaluates only "
                f"{evaluations} times; lower the patience or raise evaluations_per_epoch"
            )
        return self

    @model_validator(mode="after")
    def _one_stage_of_a_kind(self) -> FitSettings:
        kinds = [kind_of(stage) for stage in self.stages]
        for kind in kinds:
            if kinds.count(kind) > 1:
                raise InputError(
                    f"stages has {kind!r} more than once, and each kind may occur once; keep one"
                )
        return self

    @model_validator(mode="after")
    def _none_apart(self) -> FitSettings:
        kinds = {kind_of(stage) for stage in self.stages}
        for apart, why in _APART:
            found = [kind for kind in apart if kind in kinds]
            if len(found) > 1:
                raise InputError(f"stages has {found[0]} and {found[1]}, and {why}; keep one")
        return self

    @model_validator(mode="after")
    def _layers_have_supervisors(self) -> FitSettings:
        layers = next((s.layers for s in self.stages if isinstance(s, CoSupervisedStage)), None)
        others = [s for s in self.stages if isinstance(s, EnsembleStage)]
        count = 1 + sum(len(stage.supervisors) + len(stage.seeds) for stage in others)
        if layers is not None and sum(layers) != count:
            raise InputError(
                f"stages.cosupervised.layers is {shown(list(layers))} and needs {sum(layers)} "
                f"supervisors, but there are {count}, the pair's own and those of ensemble; change "
                "layers or ensemble"
            )
        return self

    @model_validator(mode="after")
    def _no_other_stage_beside(self) -> FitSettings:
        kinds = [kind_of(stage) for stage in self.stages]
        for kind in ("truth", "random_labels", "untrained"):
            if kind in kinds and len(kinds) > 1:
                raise InputError(
                    f"stages has {kind} and {len(kinds) - 1} more, and {kind} uses no weak labels; "
                    "keep it alone"
                )
        return self

    @model_validator(mode="after")
    def _supervisor_completes_for_one_student(self) -> FitSettings:
        kinds = [kind_of(stage) for stage in self.stages]
        for stage in ("self_consistency", "agreed_answers"):
            for kind in ("bootstrap", "iterate"):
                if stage in kinds and kind in kinds:
                    raise InputError(
                        f"stages has {stage} and {kind}, and {stage} is about the supervisor's own "
                        f"completions alone; remove {kind}"
                    )
        return self

    @model_validator(mode="after")
    def _simulated_supervisor_labels_for_one_student(self) -> FitSettings:
        kinds = [kind_of(stage) for stage in self.stages]
        for kind in ("bootstrap", "elicit", "iterate", "prompt", "cosupervised", "two_stage"):
            if "simulated" in kinds and kind in kinds:
                raise InputError(
                    f"stages has simulated and {kind}: a simulated supervisor labels for exactly "
                    f"one trained student; remove {kind}"
                )
        return self
