"""Sampled completions: the random numbers that draw them, and the vote of their answers.

Owns the draw of a token from a model's logits, with a random number that depends on the seed, the
part, the row, the sample and the place of the token alone. So samples do not depend on how rows
are laid out over batches and workers. It reads no labels. Shapes: B rows of a batch, M rows of a
part, S samples, K tokens of a completion, V vocabulary.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from w2s_ray.config import PARTS


@dataclass(frozen=True)
class Draws:
    """How the completions of a part are drawn."""

    samples: int
    """Completions of each row."""
    temperature: float
    """Logits are divided by it; 0 = the most probable token."""
    seed: int
    """The fit's seed."""

    def numbers(self, part: str, sample: int, *, rows: int, most: int) -> np.ndarray:
        """The numbers in [0, 1) that draw one sample of each row of `part`, float64 [M, K]."""
        place = next(i for i, name in enumerate(PARTS) if name == part)
        seeds = ([self.seed % 2**63, place, row, sample] for row in range(rows))
        drawn = [np.random.default_rng(seed).random(most) for seed in seeds]
        return np.stack(drawn) if drawn else np.zeros((0, most))


@dataclass(frozen=True)
class TokenDraw:
    """Makes the token that is drawn the only one with a finite score, for each row of a batch.

    transformers calls it with the tokens so far and the logits of the next one.
    """

    numbers_BK: Tensor
    """float64."""
    temperature: float
    width: int
    """Tokens of a prompt, padding included."""

    def __call__(self, input_ids_BL: Tensor, scores_BV: Tensor) -> Tensor:
        number_B1 = self.numbers_BK[:, input_ids_BL.shape[1] - self.width, None]
        token_B1 = drawn_tokens(scores_BV, number_B1, temperature=self.temperature)
        return torch.full_like(scores_BV, -torch.inf).scatter(1, token_B1, 0.0)


def drawn_tokens(scores_BV: Tensor, number_B1: Tensor, *, temperature: float) -> Tensor:
    """The token whose part of the cumulative distribution softmax(scores / temperature) has the
    number, int64 [B, 1]. At a temperature near 0 it is the most probable one.
    """
    scores_BV = scores_BV.double()
    shifted_BV = scores_BV - scores_BV.amax(dim=1, keepdim=True)  # so that no quotient is NaN
    cumulative_BV = (shifted_BV / temperature).exp().cumsum(dim=1)
    reached_B1 = number_B1 * cumulative_BV[:, -1:]
    return torch.searchsorted(cumulative_BV, reached_B1, right=True).clamp(
        max=scores_BV.shape[1] - 1
    )


def vote(answers: Sequence[str | None]) -> tuple[int, float]:
    """The place of the first sample with the most frequent answer, and the share of all samples
    that have this answer (self-consistency: Wang et al. 2022, arXiv 2203.11171).

    Of answers that are equally frequent it is the one that was sampled first. Samples without an
    answer (None) count in no vote; if all are without one, it is the first sample, with share 0.
    """
    votes = Counter(answer for answer in answers if answer is not None)
    if not votes:
        return 0, 0.0
    (winner, count), *_ = votes.most_common(1)  # of equal counts the first that was counted
    return answers.index(winner), count / len(answers)
