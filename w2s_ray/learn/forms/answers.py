"""The form `answers`: prompts that a language model completes.

Owns greedy completions and their agreement with the answers that they are compared with. The step
is a language model's, over the tokens of the answer. Shapes: B rows, L tokens, K tokens of a
completion, M rows of a part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from w2s_ray.learn.batches import layout
from w2s_ray.learn.contract import Arrays, Predicted
from w2s_ray.learn.device_rows import to_device
from w2s_ray.learn.engine import Engine
from w2s_ray.learn.forms.data import predicted_part
from w2s_ray.learn.forms.language import SpanData, span_nll
from w2s_ray.learn.rows import SpanRows
from w2s_ray.learn.tokens import TokenRows

NONE = -1
"""Stands in a completion after its last token."""


@dataclass(frozen=True)
class AnswerData(SpanData):
    """Prompts and answers of one fit. The answers are ground truth or a supervisor's completions.

    Nothing else of a row's answer is here: predictions are compared with ground truth elsewhere.
    """

    train: SpanRows
    """Prompts, and the answers to learn."""
    validation: SpanRows
    """The same of validation; what early stopping looks at."""
    validation_answers: tuple[str, ...]
    """The answers of validation as text."""
    predict: Mapping[str, TokenRows]
    """Prompts of the parts that the trained model completes, by name; validation among them."""
    texts: Callable[[np.ndarray], tuple[str, ...]]
    """Completions as tokens, int32 [M, K], -1 after the last one -> as text."""
    stop_id: int
    """The token that ends an answer."""
    most: int
    """Tokens of an answer at most."""

    def part(self, name: str) -> TokenRows:
        """The prompts of a part."""
        return predicted_part(self.predict, name)

    def predictions(self, engine: Engine, part: str, *, batch: int) -> Arrays:
        """`tokens`, the completions, int32 [M, K], and `log_p`, their log-probability, float32 [M].

        Of validation also `nll`, of the answers that it is compared with.
        """
        prompts = self.part(part)
        tokens_MK = completions(engine, prompts, most=self.most, stop_id=self.stop_id, batch=batch)
        completed = SpanRows.of(
            (prompts.row(i), self._ended(tokens_MK[i])) for i in range(len(prompts))
        )
        found = {"tokens": tokens_MK, "log_p": -span_nll(engine, completed, batch=batch)}
        if part == "validation":
            found["nll"] = span_nll(engine, self.validation, batch=batch)
        return found

    def judge(self, found: Arrays) -> tuple[float, float]:
        """The share of equal answers, and nats a token."""
        answers = self.texts(found["tokens"])
        same = [a == b for a, b in zip(answers, self.validation_answers, strict=True)]
        return float(np.mean(same)), self.loss_per_token(found["nll"])

    def predicted(self, found: Arrays, *, part: str) -> Predicted:
        return Predicted(np.exp(found["log_p"]), self.texts(found["tokens"]))

    def _ended(self, tokens_K: np.ndarray) -> np.ndarray:
        """A completion with the token that ended it, if one did."""
        kept = tokens_K[tokens_K != NONE]
        return kept if len(kept) == len(tokens_K) else np.append(kept, self.stop_id)


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
