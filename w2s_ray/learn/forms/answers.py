"""The form `answers`: prompts that a language model completes.

Owns greedy and sampled completions and their agreement with the answers that they are compared
with. The step is a language model's, over the tokens of the answer. Shapes: B rows, L tokens, K
tokens of a completion, S samples of a row, M rows of a part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
from w2s_ray.learn.sampling import Draws, TokenDraw, vote
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
    extract: Callable[[str], str | None] | None = None
    """A completion or an answer -> what is compared of it; None = all of it."""
    draws: Draws | None = None
    """How the result's completions are sampled; None = they are those of evaluations."""

    def part(self, name: str) -> TokenRows:
        """The prompts of a part."""
        return predicted_part(self.predict, name)

    def predictions(self, engine: Engine, part: str, *, batch: int) -> Arrays:
        """`tokens`, the completions, int32 [M, K], and `log_p`, their log-probability, float32 [M].

        Of validation also `nll`, of the answers that it is compared with.
        """
        prompts = self.part(part)
        tokens_MK = completions(engine, prompts, most=self.most, stop_id=self.stop_id, batch=batch)
        found = {"tokens": tokens_MK, "log_p": self._log_p(engine, part, tokens_MK, batch=batch)}
        if part == "validation":
            found["nll"] = span_nll(engine, self.validation, batch=batch)
        return found

    @property
    def final_passes(self) -> int:
        return self.draws.samples if self.draws is not None and self.draws.temperature else 0

    def final(self, engine: Engine, part: str, found: Arrays, *, batch: int) -> Arrays:
        """The completions that the samples vote for; with `samples`, all of them, int32 [M, S, K],
        and `certainty`, the share of samples with their answer, float32 [M].
        """
        if self.draws is None:
            return found
        prompts, draws = self.part(part), self.draws
        made = [found["tokens"]] * draws.samples
        if draws.temperature:
            made = [
                completions(
                    engine,
                    prompts,
                    most=self.most,
                    stop_id=self.stop_id,
                    batch=batch,
                    draws_MK=draws.numbers(part, sample, rows=len(prompts), most=self.most),
                    temperature=draws.temperature,
                )
                for sample in range(draws.samples)
            ]
        answers = [self._compared(self.texts(tokens_MK)) for tokens_MK in made]
        votes = [vote(of_row) for of_row in zip(*answers, strict=True)]
        made_MSK = np.stack(made, axis=1)
        tokens_MK = made_MSK[np.arange(len(prompts)), [place for place, _ in votes]]
        return {
            **found,
            "tokens": tokens_MK,
            "log_p": self._log_p(engine, part, tokens_MK, batch=batch),
            "samples": made_MSK,
            "certainty": np.asarray([share for _, share in votes], np.float32),
        }

    def judge(self, found: Arrays) -> tuple[float, float]:
        """The share of equal answers, and nats a token."""
        answers = self._compared(self.texts(found["tokens"]))
        wanted = self._compared(self.validation_answers)
        same = [a is not None and a == b for a, b in zip(answers, wanted, strict=True)]
        return float(np.mean(same)), self.loss_per_token(found["nll"])

    def predicted(self, found: Arrays, *, part: str) -> Predicted:
        answers, samples_MSK = self.texts(found["tokens"]), found.get("samples")
        return Predicted(
            np.exp(found["log_p"]),
            answers,
            extracted=None if self.extract is None else self._compared(answers),
            certainty=found.get("certainty"),
            samples=None if samples_MSK is None else tuple(map(self.texts, samples_MSK)),
        )

    def _compared(self, texts: Sequence[str]) -> tuple[str | None, ...]:
        return tuple(texts if self.extract is None else map(self.extract, texts))

    def _log_p(self, engine: Engine, part: str, tokens_MK: np.ndarray, *, batch: int) -> np.ndarray:
        """The log-probability of completions of a part, float32 [M]."""
        prompts = self.part(part)
        completed = SpanRows.of(
            (prompts.row(i), self._ended(tokens_MK[i])) for i in range(len(prompts))
        )
        return -span_nll(engine, completed, batch=batch)

    def _ended(self, tokens_K: np.ndarray) -> np.ndarray:
        """A completion with the token that ended it, if one did."""
        kept = tokens_K[tokens_K != NONE]
        return kept if len(kept) == len(tokens_K) else np.append(kept, self.stop_id)


def completions(
    engine: Engine,
    prompts: TokenRows,
    *,
    most: int,
    stop_id: int,
    batch: int,
    draws_MK: np.ndarray | None = None,
    temperature: float = 1.0,
) -> np.ndarray:
    """Completions, int32 [M, most]: up to but without `stop_id`, then `NONE`.

    They are greedy, or with `draws_MK`, numbers in [0, 1), drawn at this temperature. In batches of
    like length, with a cache of keys and values.
    """
    made_MK = torch.zeros((len(prompts), most), dtype=torch.int64, device=engine.device)
    if len(prompts) == 0:
        return made_MK.to(torch.int32).numpy(force=True)
    mine = layout(prompts.lengths, workers=engine.workers, micro_batch=batch)[engine.rank]
    for micro in reversed(mine):
        ids_BL, mask_BL = _padded_left(prompts, micro.positions, engine.model.pad_id)
        draw = None
        if draws_MK is not None:
            numbers_BK = to_device(draws_MK[micro.positions], engine.device)
            draw = TokenDraw(numbers_BK, temperature, ids_BL.shape[1])
        tokens_BK = engine.complete(
            to_device(ids_BL, engine.device),
            to_device(mask_BL, engine.device),
            most=most,
            stop_id=stop_id,
            draw=draw,
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
