"""Language models: the loss of the tokens that are learned, and the step over it.

Owns the pretrained model with its head over the vocabulary, and what the forms `answers` and `text`
share. Only the learned tokens count in a loss; padding is found by its place, never by its id. It
reads no ground truth: labels are in the rows. Shapes: B rows, L tokens, K tokens of a completion, V
vocabulary, M rows of a part.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from w2s_ray.learn.batches import layout
from w2s_ray.learn.device_rows import to_device
from w2s_ray.learn.engine import Engine, InferenceEngine, evaluation_passes, model_inputs
from w2s_ray.learn.forms.data import FormData, backward_sum
from w2s_ray.learn.forms.model import FormModel
from w2s_ray.learn.rows import SpanRows
from w2s_ray.learn.sampling import TokenDraw
from w2s_ray.learn.vocabulary_head import VocabularyHead
from w2s_ray.methods.losses import Loss


class LanguageModel(FormModel):
    """A pretrained causal language model with its own head."""

    def __init__(self, backbone: Any, **given: Any) -> None:
        super().__init__(backbone, **given)
        self.parts = VocabularyHead.of(backbone)

    def forward(
        self,
        input_ids_BL: Tensor,
        lengths_B: Tensor,
        starts_B: Tensor,
        learned: int | None = None,
    ) -> Tensor:
        """nll_B in fp32: minus the log-probability of the learned tokens of each row, summed.

        Rows are padded on the right, where no real token looks. `learned` is the number of learned
        tokens of all rows; where it isn't given, the CPU waits for a GPU's count.
        """
        place_L = torch.arange(1, input_ids_BL.shape[1], device=input_ids_BL.device)
        learned_BL = (place_L >= starts_B[:, None]) & (place_L < lengths_B[:, None])
        learned = int(learned_BL.sum()) if learned is None else learned
        row, place = torch.nonzero_static(learned_BL, size=learned).unbind(1)
        targets_N = input_ids_BL[:, 1:][row, place]
        if self.parts is None:
            logits_BLV = self.backbone(input_ids=input_ids_BL, use_cache=False).logits
            picked_NV = logits_BLV[row, place].float()
            each = nn.functional.cross_entropy(picked_NV, targets_N, reduction="none")
        else:
            each = self.parts.losses(self.parts.hidden(input_ids_BL)[row, place], targets_N)
        return torch.zeros(len(lengths_B), device=each.device).index_add(0, row, each)

    @torch.no_grad()
    def complete(
        self,
        input_ids_BL: Tensor,
        mask_BL: Tensor,
        *,
        most: int,
        stop_id: int,
        together: bool,
        draw: TokenDraw | None = None,
    ) -> Tensor:
        """The most probable tokens after each row, one by one until `stop_id`, tokens_BK; or with
        `draw` those that it draws.

        Rows are padded on the left. `together`: every worker runs every pass, even after its own
        rows have ended.
        """
        from transformers import GenerationConfig

        settings: Any = GenerationConfig(
            do_sample=False,
            num_beams=1,
            max_new_tokens=most,
            eos_token_id=stop_id,
            pad_token_id=self.pad_id,
            use_cache=True,
        )
        inner: Any = self.backbone
        was_training = inner.training
        inner.eval()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                made_BL = inner.generate(
                    input_ids=input_ids_BL,
                    attention_mask=mask_BL,
                    generation_config=settings,
                    synced_gpus=together,
                    logits_processor=None if draw is None else [draw],
                )
        finally:
            inner.train(was_training)
        return made_BL[:, input_ids_BL.shape[1] :]

    def pooled(self, input_ids_BL: Tensor, lengths_B: Tensor) -> Tensor:
        """The logits after the last token of each row, over the vocabulary."""
        last_B = (torch.arange(len(lengths_B), device=lengths_B.device), lengths_B - 1)
        if self.parts is None:
            return self.backbone(input_ids=input_ids_BL, use_cache=False).logits[last_B]
        return self.parts.logits(self.parts.hidden(input_ids_BL)[last_B])

    def exported(self, state: Mapping[str, Tensor], inner: Any) -> dict[str, Tensor]:
        """The same without weights that are tied to others, which no file holds twice."""
        weights = super().exported(state, inner)
        tied = getattr(inner, "_tied_weights_keys", None) or ()
        if inner.config.tie_word_embeddings:
            weights = {name: value for name, value in weights.items() if name not in tied}
        return weights


class SpanData(FormData):
    """Texts of which some tokens are learned, by cross-entropy: the recipe's loss is not used."""

    train: SpanRows
    validation: SpanRows

    def step(
        self,
        rows: np.ndarray,
        *,
        engine: Engine,
        loss: Loss,
        memory: list[float],
        progress: float,
        micro_batch: int,
    ) -> Tensor:
        """The loss is the mean over the learned tokens of the batch, whatever its layout."""
        lengths, learned = self.train.lengths[rows], int(self.train.learned[rows].sum())
        micros = layout(lengths, workers=engine.workers, micro_batch=micro_batch)[engine.rank]
        losses = (
            engine.forward(*_inputs(self.train, rows[micro.positions], engine)).sum()
            * float(micro.real)
            / learned
            for micro in micros
        )
        return backward_sum(engine, losses, count=len(micros))

    def loss_per_token(self, nll_M: np.ndarray) -> float:
        """Nats a token of validation."""
        return float(nll_M.sum(dtype=np.float64) / self.validation.learned.sum())


def span_nll(
    engine: InferenceEngine,
    rows: SpanRows,
    *,
    batch: int,
    on_pass: Callable[[], None] = lambda: None,
) -> np.ndarray:
    """Minus the log-probability of the learned tokens of each row, float32 [M].

    `on_pass` is called before each forward pass and may raise.
    """
    nll_M = torch.zeros(len(rows), device=engine.device)
    if len(rows) == 0:
        return nll_M.numpy(force=True)
    with torch.no_grad():
        for micro in evaluation_passes(rows, engine, batch=batch):
            on_pass()
            nll_B = engine.forward(*_inputs(rows, micro.positions, engine))
            if micro.real:
                nll_M[to_device(micro.positions, engine.device)] = nll_B
        return engine.sum_over_workers(nll_M).numpy(force=True)


def _inputs(rows: SpanRows, picked: np.ndarray, engine: InferenceEngine) -> tuple[Any, ...]:
    """What `LanguageModel.forward` takes, with the number of learned tokens."""
    return (*model_inputs(rows, picked, engine), int(rows.learned[picked].sum()))
