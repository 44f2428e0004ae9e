"""Bytes of activations: what the backward pass needs, and what is at work, from shapes alone.

Owns the counting by kind of layer, tuning, precision and kernel, the head over a vocabulary, and
passes without gradients. Read off PyTorch's rules, and held against a GPU's measured peaks in
`tests/plan/test_measured_memory.py`. Weights and devices are counted elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from w2s_ray.config import FORMS, LOGITS_AT_ONCE, Execution, FormName, Training
from w2s_ray.config.tuning import LastLayersTuning, LoraTuning, ProbeTuning, base_of
from w2s_ray.data.architecture import Architecture
from w2s_ray.plan.estimates.work import adapted

Kernels = Literal["plain", "fused", "compiled"]
"""plain: as transformers writes a model, on a CPU. fused: as `learn/kernels` changes it for a GPU.
compiled: by torch.compile."""
FUSED_NORMS = frozenset({"llama", "mistral", "qwen2", "qwen3"})
"""Families whose norms get one kernel on a GPU (`learn/kernels`)."""
NF4 = 1 / 2 + 1 / 64 + 4 / (64 * 256)
"""Bytes of a weight in 4 bits: 8 bits scale 64 weights, and 32 bits scale 256 of these scales."""
LOGIT = 12.0
"""Bytes at work for a logit: three numbers in fp32 (its log-probability and two gradients)."""


def kernels_of(execution: Execution) -> Kernels:
    """The kernels of a fit; `compile: auto` counts as off, since its fits need less at most."""
    if execution.gpus_per_worker == 0:
        return "plain"
    compiled = execution.compile in ("on", "max") and execution.engine == "torch"
    return "compiled" if compiled else "fused"


@dataclass(frozen=True)
class Activations:
    """The activations of a fit whose longest row has `longest` tokens."""

    model: Architecture
    training: Training
    execution: Execution
    longest: float
    form: FormName
    choices: int = 1
    """Choices of a row, in a form with choices."""

    @property
    def working(self) -> float:
        """At the peak of training's longest micro-batch."""
        rows = self.execution.rows_at_once(self.training.batch_size)
        tokens, stream = self._texts(rows) * self.longest, 4.0 * self.model.width
        layers, layer = self._trained_layers, self._saved_per_token
        casts = self._casts
        if self.execution.activation_checkpointing:  # one layer's are computed again at a time
            kept = tokens * stream * (layers + 2) + tokens * layer + casts
        else:
            kept = tokens * (stream * 2 + layer * layers) + casts * layers
        at_work = max(tokens * self._through, self._head(self._learned(rows), tokens))
        return max(kept + at_work + self._dequantized, self.passing)

    @property
    def passing(self) -> float:
        """In a pass without gradients over the longest rows."""
        model, rows = self.model, self._texts(self.execution.evaluation_batch)
        tokens = rows * self.longest
        mlp = self._each * model.matrices[-1].inner * (_mlp_copies(model, self._kernels) // 2)
        largest = self._half * max(m.weights for m in model.matrices)
        found = tokens * (8.0 * model.width + self._through + mlp)
        found += self._dequantized or largest
        learned = self._learned(self.execution.evaluation_batch)
        found += self._head(learned, 0.0, gradients=False)
        if FORMS[self.form].is_completed:  # a completion keeps keys, values and weights' copies
            if self.training.tuning.kind != "lora":
                found += max(0.0, self._casts * self._trained_layers - largest)
            features = model.attended - 2 * model.attention
            found += tokens * self._each * features * model.layers
        return found

    @property
    def _kernels(self) -> Kernels:
        return kernels_of(self.execution)

    @property
    def _half(self) -> float:
        """Bytes of a number's copy in bf16, where there are such copies."""
        return 2.0 if self.training.precision == "bf16" else 0.0

    @property
    def _each(self) -> float:
        return self._half or 4.0

    @property
    def _trained_layers(self) -> int:
        tuning, layers = self.training.tuning, self.model.layers
        match tuning.kind:
            case "probe":
                return 0
            case "last_layers":
                return min(layers, tuning.layers)
            case _:
                return layers

    @property
    def _casts(self) -> float:
        """Copies of one layer's weights in bf16, which weights that are held in bf16 don't need."""
        is_lora = self.training.tuning.kind == "lora"
        if is_lora and bf16_parameters(self.model, self.training):
            return 0.0
        if four_bit_parameters(self.model, self.training):  # `_dequantized` has them
            return 0.0
        return self._half * sum(m.weights for m in self.model.matrices)

    @property
    def _dequantized(self) -> float:
        """The largest matrix of a base in 4 bits, as a pass reads it: one is there at a time."""
        if base_of(self.training.tuning) is None:
            return 0.0
        each = 2.0 if self._half and self.model.is_bf16 else 4.0 + self._half
        return each * max(m.weights for m in self.model.matrices)

    @property
    def _scores(self) -> float:
        """Bytes of a token's attention scores, where attention is computed step by step.

        On a GPU no kernel takes fewer keys than queries in fp32.
        """
        model, on_gpu = self.model, self.execution.gpus_per_worker != 0
        if model.scores and self.execution.attention in ("auto", "sdpa"):
            return score_bytes(model, longest=self.longest, each=self._each)
        grouped = model.attended < 4 * model.attention
        return 4.0 * model.heads * self.longest if on_gpu and grouped and not self._half else 0.0

    @property
    def _saved_per_token(self) -> float:
        found = saved_per_token(self.model, training=self.training, kernels=self._kernels)
        return found + (self._scores + _repeated(self.model, self._each) if self._scores else 0.0)

    @property
    def _through(self) -> float:
        """Bytes of a token at work within a layer: its widest tensors and their gradients."""
        inner = self.model.matrices[-1].inner
        return self._each * 2 * inner + 8.0 * self.model.width + 2 * self._scores

    def _texts(self, rows: int) -> int:
        """Texts that a pass over so many rows reads."""
        return rows * texts_of_row(self.form, choices=self.choices)

    def _learned(self, rows: int) -> float:
        """Tokens of so many rows whose logits are needed."""
        if not FORMS[self.form].is_language:
            return 0.0
        of_row = self.training.answer_tokens if FORMS[self.form].is_completed else self.longest
        return self._texts(rows) * min(float(of_row), self.longest)

    def _head(self, learned: float, tokens: float, *, gradients: bool = True) -> float:
        """Of a head over the vocabulary, as `learn/vocabulary_head` computes it in chunks."""
        if not learned:
            return 0.0
        model, logits = self.model, learned * self.model.vocabulary
        found = LOGIT * min(logits, max(LOGITS_AT_ONCE, model.vocabulary))
        found += (self._half + 4.0) * learned * model.pooled
        weights = model.vocabulary * model.pooled
        found += self._half * weights
        if gradients:
            found += 4.0 * model.pooled * (learned + tokens)
            if self.training.tuning.kind == "full":
                found += 4.0 * weights
                if logits > LOGITS_AT_ONCE:  # a chunk's own gradient, before it is added
                    found += (self._half + 4.0) * weights
        return found


def texts_of_row(form: FormName, *, choices: int) -> int:
    """Texts that a model reads for a row: two of a pair, one for each of the `choices`."""
    return FORMS[form].texts * (choices if FORMS[form].has_choices else 1)


def bf16_parameters(model: Architecture, training: Training) -> int:
    """Frozen weights of linear layers that are held in bf16."""
    if training.precision != "bf16" or not model.is_bf16 or base_of(training.tuning) is not None:
        return 0
    match training.tuning:
        case LoraTuning() | ProbeTuning():
            frozen = model.layers
        case LastLayersTuning(layers=trained):
            frozen = max(0, model.layers - trained)
        case _:
            frozen = 0
    return frozen * sum(matrix.weights for matrix in model.matrices)


def four_bit_parameters(model: Architecture, training: Training) -> int:
    """Frozen weights of linear layers that are held in 4 bits."""
    if base_of(training.tuning) is None:
        return 0
    return model.layers * sum(matrix.weights for matrix in model.matrices)


def score_bytes(model: Architecture, *, longest: float, each: float) -> float:
    """Bytes of a token's scores that a layer without an attention kernel keeps.

    The softmax is in fp32, beside its copy in bf16 where a number has `each` = 2 bytes.
    """
    copies = each * model.scores + (4.0 if each < 4 else 0.0)
    return copies * model.heads * longest


def _repeated(model: Architecture, each: float) -> float:
    """Bytes of a token's keys and values in copies for each query head, beside the originals."""
    return each * (4 * model.attention - model.attended)


def saved_per_token(
    model: Architecture, *, training: Training, kernels: Kernels = "plain"
) -> float:
    """Bytes that one layer saves of one token for its backward pass.

    A product saves its input where its weights are trained, a norm saves its input in fp32,
    attention what it was given and what it gave; under autocast every matrix saves a bf16 copy of
    its own of an fp32 input. Compiled code rounds an input once and computes small steps again
    (measured, for full finetuning).
    """
    tuning, half = training.tuning, training.precision == "bf16"
    each = 2.0 if half else 4.0
    width, inner = model.width, model.matrices[-1].inner
    everything = tuning.kind != "lora"
    if kernels == "compiled" and everything:
        mlp = each * inner * (3 if model.gated else 2)
        return 4.0 * model.norm_inputs + each * (width + model.attended) + mlp
    trained = model.matrices if everything else adapted(model, tuning)
    stepwise = kernels == "plain" or model.family not in FUSED_NORMS
    norms = 4.0 * (model.norm_inputs + (model.norm_copies if everything and stepwise else 0))
    copies = [sum(m in trained for m in read) for read in (model.of_attention, model.of_mlp)]
    inputs = each * width * sum(copies if half else [min(1, n) for n in copies])
    attention = each * model.attended
    if model.by_head and model.after_attention in trained:
        attention += each * model.attention
    mlp = each * inner * _mlp_copies(model, kernels)
    if model.matrices[-1] in trained and model.activation != "relu":
        mlp += each * inner
    rank = each * tuning.rank * len(trained) if tuning.kind == "lora" else 0.0
    return norms + inputs + attention + mlp + rank


def _mlp_copies(model: Architecture, kernels: Kernels) -> int:
    """Tensors of the MLP's width that are saved whatever is trained."""
    in_steps = {"gelu_fast"} if kernels != "plain" else {"gelu_new", "gelu_fast"}
    return (4 if model.activation in in_steps else 1) + (2 if model.gated else 0)
