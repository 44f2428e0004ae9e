"""Floating-point operations of a fit, from the shape of its model and the lengths of its rows.

Owns the counting of matrix products, as torch's FlopCounterMode counts them: 2 x m x n x k each,
attention in full, whatever is masked; element-wise work isn't counted. Padding is counted, as
batches are laid out by `learn/batches`, and so is what execution adds (recomputed activations, a
loss's first pass). `learn/compute` has the usual 6 x parameters x tokens, by which recipes are
compared; this counts the operations that devices carry out. It computes no times.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from w2s_ray.config import FullTuning
from w2s_ray.config.tuning import Tuning
from w2s_ray.data.architecture import Architecture, Matrix
from w2s_ray.data.lengths import Lengths

CLASSES = 2
ATTENTION_BACKWARD = 2.5
"""Of attention's forward products: four gradients, and the scores once more."""


@dataclass(frozen=True)
class Padded:
    """Rows as they pass through a model, with the padding that their batches give them."""

    rows: float
    tokens: float
    """Padded tokens of all rows."""
    squares: float
    """Sum over rows of the square of their padded length."""

    def times(self, factor: float) -> Padded:
        """So many passes over the same rows."""
        return Padded(self.rows * factor, self.tokens * factor, self.squares * factor)


@dataclass(frozen=True)
class Flops:
    """Operations of a fit over all its devices."""

    forward: float = 0.0
    """Of training, with a loss's first pass and recomputed activations."""
    backward: float = 0.0
    evaluation: float = 0.0
    """Validation while training, and the prediction of validation and test at the end."""
    labelling: float = 0.0
    """The prediction of another fit's training rows."""

    @property
    def total(self) -> float:
        """All of it."""
        return self.forward + self.backward + self.evaluation + self.labelling

    def __add__(self, other: Flops) -> Flops:
        return Flops(
            self.forward + other.forward,
            self.backward + other.backward,
            self.evaluation + other.evaluation,
            self.labelling + other.labelling,
        )

    def times(self, factor: float) -> Flops:
        """So many such fits."""
        return Flops(
            self.forward * factor,
            self.backward * factor,
            self.evaluation * factor,
            self.labelling * factor,
        )


def padded(lengths: Lengths, *, together: int, sorted_rows: int) -> Padded:
    """One pass over rows in forward passes of `together`, cut from `sorted_rows` sorted by length.

    A forward pass is as long as its longest row: the pieces of a sorted draw end at its quantiles.
    """
    rows = lengths.rows
    pieces = max(1, round(min(sorted_rows, rows) / max(1, together)))
    ends = [lengths.at((i + 1) / pieces) for i in range(pieces)]
    mean = sum(ends) / pieces
    return Padded(rows, rows * mean, rows * sum(end * end for end in ends) / pieces)


def forward_flops(model: Architecture, rows: Padded, *, tuning: Tuning | None = None) -> float:
    """One forward pass over `rows`, with the adapters that `tuning` adds."""
    adapters = sum(_adapter(matrix, tuning) for matrix in adapted(model, tuning))
    weights = model.layers * (sum(m.weights for m in model.matrices) + adapters)
    weights += sum(m.weights for m in model.outside_matrices)
    return 2.0 * weights * rows.tokens + _attention(model, rows) + _head(model, rows)


def backward_flops(
    model: Architecture, rows: Padded, *, tuning: Tuning, checkpointed: bool = False
) -> float:
    """The backward pass of one forward pass over `rows`; `checkpointed` with what it recomputes."""
    head = 2 * _head(model, rows)
    match tuning.kind:
        case "probe":
            return head / 2
        case "lp_ft":
            whole = backward_flops(model, rows, tuning=FullTuning(), checkpointed=checkpointed)
            return tuning.probe_share * head / 2 + (1 - tuning.probe_share) * whole
        case "last_layers":
            top = replace(model, layers=min(model.layers, tuning.layers))
            whole = backward_flops(top, rows, tuning=FullTuning(), checkpointed=checkpointed)
            below = sum(m.weights for m in model.matrices if m.before_attention)
            return whole - 2.0 * below * rows.tokens
        case _:
            pass
    attention = ATTENTION_BACKWARD * _attention(model, rows) + head
    again = _recomputed(model, rows, tuning=tuning) if checkpointed else 0.0
    weights = model.layers * sum(m.weights for m in model.matrices)
    weights += sum(m.weights for m in model.outside_matrices)
    if tuning.kind == "full":
        return 2.0 * 2 * weights * rows.tokens + attention + again
    # Frozen weights need the gradient of their input alone. Before the first adapter not even
    # that, unless checkpointing asks for it.
    on = adapted(model, tuning)
    weights += 2 * model.layers * sum(_adapter(m, tuning) for m in on)
    if not checkpointed:
        weights -= sum(m.weights for m in model.outside_matrices if m.before_attention)
        weights -= sum(m.weights for m in model.matrices if m.before_attention)
        weights -= sum(m.inner * tuning.rank for m in on if m.before_attention)
    return 2.0 * weights * rows.tokens + attention + again


def _recomputed(model: Architecture, rows: Padded, *, tuning: Tuning) -> float:
    """What activation checkpointing computes again."""
    matrices = model.matrices[:-1] if model.ends_in_product else model.matrices
    again = sum(m.weights for m in matrices)
    again += sum(_adapter(matrix, tuning) for matrix in adapted(model, tuning))
    return 2.0 * model.layers * again * rows.tokens + _attention(model, rows)


def adapted(model: Architecture, tuning: Tuning | None) -> tuple[Matrix, ...]:
    """The matrices of a layer that `tuning` gives an adapter."""
    if tuning is None or tuning.kind != "lora":
        return ()
    names = tuning.targets if tuning.targets is not None else model.adapted or ()
    return tuple(m for m in model.matrices if any(_names(name, m) for name in names))


def _names(name: str, matrix: Matrix) -> bool:
    return matrix.name == name or matrix.name.endswith(f".{name}")


def _adapter(matrix: Matrix, tuning: Tuning | None) -> int:
    """Weights of a matrix's adapter."""
    return (
        0
        if tuning is None or tuning.kind != "lora"
        else tuning.rank * (matrix.inner + matrix.outer)
    )


def _attention(model: Architecture, rows: Padded) -> float:
    """Scores and their weighted sum."""
    return 2.0 * 2 * model.layers * model.attention * rows.squares


def _head(model: Architecture, rows: Padded) -> float:
    return 2.0 * CLASSES * model.pooled * rows.rows
