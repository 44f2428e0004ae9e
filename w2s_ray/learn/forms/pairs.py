"""The form `pairs`: two texts, one of them the better.

Owns the head, which compares the numbers of two texts. Step, predictions and agreement are those of
`classes`. Shapes: B pairs, L tokens, D width of the backbone, C two classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from w2s_ray.learn.forms.classes import ClassData, TwoClass


class Pairwise(TwoClass):
    """Each text is read by itself and gets one number: the better text gets the higher.

    Class 1 = the first text is the better one, with the sigmoid of the difference as probability.
    Inputs are the B first texts, then the B second texts.
    """

    outputs = 1

    def forward(self, input_ids_BL: Tensor, lengths_B: Tensor) -> Tensor:
        """logits_BC in fp32."""
        first_B1, second_B1 = self.head(self.pooled(input_ids_BL, lengths_B)).chunk(2)
        return compared(first_B1 - second_B1)

    def activations(self, input_ids_BL: Tensor, lengths_B: Tensor) -> Tensor:
        """activations_BD: the first text's hidden state minus the second's."""
        first_BD, second_BD = self.pooled(input_ids_BL, lengths_B).chunk(2)
        return first_BD - second_BD

    def logits(self, activations_BD: Tensor) -> Tensor:
        """logits_BC in fp32; the head has no bias, so that of a difference it gives the
        difference.
        """
        return compared(self.head(activations_BD))


def compared(difference_B1: Tensor) -> Tensor:
    """logits_BC of the first text's number minus the second's."""
    return torch.cat([torch.zeros_like(difference_B1), difference_B1], dim=1)


@dataclass(frozen=True)
class PairData(ClassData):
    """Pairs (`PairRows`) and labels of one fit."""
