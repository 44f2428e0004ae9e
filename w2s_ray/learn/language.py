"""Language models: the loss of the tokens that are learned, and greedy completions.

Owns the head over the vocabulary and its weights in the pretrained format; the optimizer step, the
predictions and the verdicts of the forms `answers` and `text`. Only the tokens of an answer count
in its loss; a pad is known by its place, never by its id. It knows nothing of ground truth: labels
are in the rows it is handed. Shapes: B rows, L tokens, K tokens of a completion, V vocabulary, M
rows of a part.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from w2s_ray.learn.batches import layout
from w2s_ray.learn.contract import AnswerData, Arrays, Predicted, TextData
from w2s_ray.learn.engine import Engine, evaluation_passes, model_inputs, to_device
from w2s_ray.learn.rows import SpanRows
from w2s_ray.learn.tokens import TokenRows

NONE = -1
"""Stands in a completion after its last token."""


class LanguageModel(nn.Module):
    """A pretrained causal language model with its own head."""

    def __init__(self, backbone: Any, *, pad_id: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.pad_id = pad_id

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
        logits_BLV = self.backbone(input_ids=input_ids_BL, use_cache=False).logits[:, :-1]
        place_L = torch.arange(1, input_ids_BL.shape[1], device=input_ids_BL.device)
        learned_BL = (place_L >= starts_B[:, None]) & (place_L < lengths_B[:, None])
        learned = int(learned_BL.sum()) if learned is None else learned
        row, place = torch.nonzero_static(learned_BL, size=learned).unbind(1)
        each = nn.functional.cross_entropy(
            logits_BLV[row, place].float(), input_ids_BL[:, 1:][row, place], reduction="none"
        )
        return torch.zeros(len(lengths_B), device=each.device).index_add(0, row, each)

    @torch.no_grad()
    def complete(
        self, input_ids_BL: Tensor, mask_BL: Tensor, *, most: int, stop_id: int, together: bool
    ) -> Tensor:
        """The most probable tokens after each row, one by one until `stop_id`, tokens_BK.

        Rows are padded on the left. `together`: other workers take part in every pass.
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
                )
        finally:
            inner.train(was_training)
        return made_BL[:, input_ids_BL.shape[1] :]


def language_step(
    rows: np.ndarray, *, data: AnswerData | TextData, engine: Engine, micro_batch: int
) -> Tensor:
    """Forward and backward passes over the global batch `rows`; this worker's part of the loss.

    The loss is the mean over the learned tokens of the global batch, whatever its layout.
    """
    lengths, learned = data.train.lengths[rows], int(data.train.learned[rows].sum())
    micros = layout(lengths, workers=engine.workers, micro_batch=micro_batch)[engine.rank]
    total: Tensor | None = None
    for micro in micros:
        nll_B = engine.forward(*model_inputs(data.train, rows[micro.positions], engine))
        part = nll_B.sum() * float(micro.real) / learned
        engine.backward(part, last=micro is micros[-1])
        total = part.detach() if total is None else total + part.detach()
    assert total is not None
    return total


def predict_language(
    engine: Engine, data: AnswerData | TextData, part: str, *, batch: int
) -> Arrays:
    """What the present weights make of a part.

    `nll`: of the learned tokens of each row, float32 [M], where the part has any to compare with.
    For answers also `tokens`, the completions, int32 [M, K], and `log_p`, their log-probability.
    """
    found: Arrays = {}
    steering = part == "validation"
    if isinstance(data, TextData):
        return {"nll": span_nll(engine, data.part(part), batch=batch)}
    prompts = data.part(part)
    tokens_MK = completions(engine, prompts, most=data.most, stop_id=data.stop_id, batch=batch)
    found["tokens"] = tokens_MK
    made = SpanRows.of((prompts.row(i), _ended(tokens_MK[i], data)) for i in range(len(prompts)))
    found["log_p"] = -span_nll(engine, made, batch=batch)
    if steering:
        found["nll"] = span_nll(engine, data.validation, batch=batch)
    return found


def span_nll(engine: Engine, rows: SpanRows, *, batch: int) -> np.ndarray:
    """Minus the log-probability of the learned tokens of each row, float32 [M]."""
    nll_M = torch.zeros(len(rows), device=engine.device)
    if len(rows) == 0:
        return nll_M.numpy(force=True)
    with torch.no_grad():
        for micro in evaluation_passes(rows.lengths, engine, batch=batch):
            nll_B = engine.forward(*model_inputs(rows, micro.positions, engine))
            if micro.real:
                nll_M[to_device(micro.positions, engine.device)] = nll_B
        return engine.sum_over_workers(nll_M).numpy(force=True)


def completions(
    engine: Engine, prompts: TokenRows, *, most: int, stop_id: int, batch: int
) -> np.ndarray:
    """Greedy completions, int32 [M, most]: up to but without `stop_id`, then `NONE`.

    In batches of like length, with a cache of keys and values.
    """
    made_MK = torch.zeros((len(prompts), most), dtype=torch.int64, device=engine.device)
    if len(prompts) == 0:
        return made_MK.to(torch.int32).numpy(force=True)
    mine = layout(prompts.lengths, workers=engine.workers, micro_batch=batch)[engine.rank]
    for micro in reversed(mine):
        ids_BL, mask_BL = _padded_left(prompts, micro.positions, engine.model.pad_id)
        tokens_BK = engine.complete(
            to_device(ids_BL, engine.device),
            to_device(mask_BL, engine.device),
            most=most,
            stop_id=stop_id,
        )
        if micro.real:
            ended_BK = (tokens_BK == stop_id).cumsum(1) > 0
            tokens_BK = tokens_BK.masked_fill(ended_BK, NONE) - NONE  # so that 0 stands for none
            at_B = to_device(micro.positions, engine.device)
            made_MK[at_B, : tokens_BK.shape[1]] = tokens_BK
    return (engine.sum_over_workers(made_MK) + NONE).to(torch.int32).numpy(force=True)


def judge_language(data: AnswerData | TextData, found: Arrays) -> tuple[float | None, float]:
    """Validation against the labels that steer: share of equal answers, and loss per token."""
    loss = float(found["nll"].sum(dtype=np.float64) / data.validation.learned.sum())
    if isinstance(data, TextData):
        return None, loss
    answers = data.texts(found["tokens"])
    same = [a == b for a, b in zip(answers, data.validation_answers, strict=True)]
    return float(np.mean(same)), loss


def noted_language(data: AnswerData | TextData, found: Arrays) -> Predicted:
    """Predictions as a caller sees them; text has none."""
    if isinstance(data, TextData):
        return Predicted(np.zeros(0, np.float32))
    return Predicted(np.exp(found["log_p"]), data.texts(found["tokens"]))


def export_language(model: LanguageModel, state: dict[str, Tensor], folder: Path) -> None:
    """Write `state` to `folder` as a pretrained language model."""
    from w2s_ray.learn.loading import no_progress_bars
    from w2s_ray.learn.models import merged_weights

    folder.mkdir(parents=True, exist_ok=True)
    backbone: Any = model.backbone
    inner = backbone.get_base_model() if hasattr(backbone, "get_base_model") else backbone
    weights = merged_weights(model, state)
    tied = getattr(inner, "_tied_weights_keys", None) or ()
    if inner.config.tie_word_embeddings:
        weights = {name: value for name, value in weights.items() if name not in tied}
    with no_progress_bars():
        inner.save_pretrained(folder, state_dict=weights)


def _ended(tokens_K: np.ndarray, data: AnswerData) -> np.ndarray:
    """A completion with the token that ended it, if one did."""
    kept = tokens_K[tokens_K != NONE]
    return kept if len(kept) == len(tokens_K) else np.append(kept, data.stop_id)


def _padded_left(
    rows: TokenRows, positions: np.ndarray, pad_id: int
) -> tuple[np.ndarray, np.ndarray]:
    """input_ids_BL and the mask of real tokens, both int64."""
    ids_BL, lengths_B = rows.pad(positions, pad_id)
    width = ids_BL.shape[1]
    column_L = np.arange(width)
    shifted_BL = (column_L - (width - lengths_B[:, None])) % width
    mask_BL = column_L >= width - lengths_B[:, None]
    left_BL = np.take_along_axis(ids_BL, shifted_BL, axis=1)
    return np.where(mask_BL, left_BL, pad_id), mask_BL.astype(np.int64)
