"""Floating-point operations of a fit, from its model's architecture and the lengths of its rows.

Owns the counts of matrix products, by the rules of torch's FlopCounterMode: 2 x m x n x k each,
attention without regard to masks, no element-wise operations. Padding counts, in the batches of
`learn/batches`, and so do operations that execution adds (recomputed activations, a loss's first
pass). `learn/compute` has the usual 6 x parameters x tokens, by which recipes are compared; this
module counts the operations of the devices. It computes no times.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from w2s_ray.config import FullTuning
from w2s_ray.config.tuning import Tuning
from w2s_ray.data.architecture import Architecture, Matrix
from w2s_ray.data.lengths import Lengths

CLASSES = 2
ATTENTION_BACKWARD = 2.5
"""FLOPs of attention's backward pass relative to its forward pass: four gradient products and a
recomputation of the scores, against two products."""
BACKWARD_OF_KEPT_SCORES = 2.0
"""The same where the scores are kept."""
_BATCHES = 256
"""Of a pass that are counted one by one."""


@dataclass(frozen=True)
class Padded:
    """Rows with the padding of their batches."""

    rows: float
    tokens: float
    """Padded tokens of all rows."""
    squares: float
    """Sum over rows of the squared padded length."""

    def times(self, factor: float) -> Padded:
        """`factor` passes over the same rows."""
        return Padded(self.rows * factor, self.tokens * factor, self.squares * factor)


@dataclass(frozen=True)
class Flops:
    """FLOPs of a fit, summed over all its devices."""

    forward: float = 0.0
    """Forward passes of training, a loss's first pass included."""
    backward: float = 0.0
    evaluation: float = 0.0
    """Evaluations during training, and the final predictions of validation and test rows."""
    labelling: float = 0.0
    """Predictions of the training rows of other fits."""

    @property
    def total(self) -> float:
        """The sum of all four."""
        return self.forward + self.backward + self.evaluation + self.labelling

    def __add__(self, other: Flops) -> Flops:
        return Flops(
            self.forward + other.forward,
            self.backward + other.backward,
            self.evaluation + other.evaluation,
            self.labelling + other.labelling,
        )

    def times(self, factor: float) -> Flops:
        """The FLOPs of `factor` such fits."""
        return Flops(
            self.forward * factor,
            self.backward * factor,
            self.evaluation * factor,
            self.labelling * factor,
        )


def padded(lengths: Lengths, *, together: int, sorted_rows: int) -> Padded:
    """One pass in batches of `together` rows, cut from `sorted_rows` rows sorted by length.

    Each batch is padded to its longest row, which is a quantile of the lengths.
    """
    rows = lengths.rows
    batches = max(1, round(min(sorted_rows, rows) / max(1, together)))
    longest = [lengths.at((i + 1) / batches) for i in range(batches)]
    mean = sum(longest) / batches
    return Padded(rows, rows * mean, rows * sum(length**2 for length in longest) / batches)


def padded_by_tokens(lengths: Lengths, *, most: float) -> Padded:
    """One pass in batches of at most `most` padded tokens, the longest rows first.

    Of many batches several count as one, with the padding of the middle one.
    """
    rows, done, tokens, squares = lengths.rows, 0, 0.0, 0.0
    while done < rows:
        longest = max(1.0, lengths.at(1 - done / rows))
        together = max(1, int(most / longest))
        if together < rows // _BATCHES:
            together = rows // _BATCHES
            longest = max(1.0, lengths.at(1 - min(rows, done + together / 2) / rows))
        together = min(together, rows - done)
        done += together
        tokens += together * longest
        squares += together * longest**2
    return Padded(rows, tokens, squares)


def forward_flops(model: Architecture, rows: Padded, *, tuning: Tuning | None = None) -> float:
    """FLOPs of one forward pass over `rows`, with the adapters of `tuning`."""
    adapters = sum(_adapter(matrix, tuning) for matrix in adapted(model, tuning))
    weights = model.layers * (sum(m.weights for m in model.matrices) + adapters)
    weights += sum(m.weights for m in model.outside_matrices)
    return 2.0 * weights * rows.tokens + _attention(model, rows) + _head(model, rows)


def backward_flops(
    model: Architecture, rows: Padded, *, tuning: Tuning, checkpointed: bool = False
) -> float:
    """FLOPs of one backward pass over `rows`; with `checkpointed`, recomputation included."""
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
    relative = BACKWARD_OF_KEPT_SCORES if model.scores else ATTENTION_BACKWARD
    attention = relative * _attention(model, rows) + head
    recomputed = _recomputed(model, rows, tuning=tuning) if checkpointed else 0.0
    weights = model.layers * sum(m.weights for m in model.matrices)
    weights += sum(m.weights for m in model.outside_matrices)
    if tuning.kind == "full":
        return 2.0 * 2 * weights * rows.tokens + attention + recomputed
    # Frozen weights need only the gradient of their input. Before the first adapter they need none,
    # unless activation checkpointing requires it.
    on = adapted(model, tuning)
    weights += 2 * model.layers * sum(_adapter(m, tuning) for m in on)
    if not checkpointed:
        weights -= sum(m.weights for m in model.outside_matrices if m.before_attention)
        weights -= sum(m.weights for m in model.matrices if m.before_attention)
        weights -= sum(m.inner * tuning.rank for m in on if m.before_attention)
    return 2.0 * weights * rows.tokens + attention + recomputed


def _recomputed(model: Architecture, rows: Padded, *, tuning: Tuning) -> float:
    """FLOPs of the recomputation for activation checkpointing."""
    matrices = model.matrices[:-1] if model.ends_in_product else model.matrices
    weights = sum(m.weights for m in matrices)
    weights += sum(_adapter(matrix, tuning) for matrix in adapted(model, tuning))
    return 2.0 * model.layers * weights * rows.tokens + _attention(model, rows)


def adapted(model: Architecture, tuning: Tuning | None) -> tuple[Matrix, ...]:
    """The matrices of a layer that have an adapter under `tuning`."""
    if tuning is None or tuning.kind != "lora":
        return ()
    names = tuning.targets if tuning.targets is not None else model.adapted or ()
    return tuple(m for m in model.matrices if any(_matches(name, m) for name in names))


def _matches(name: str, matrix: Matrix) -> bool:
    return matrix.name == name or matrix.name.endswith(f".{name}")


def _adapter(matrix: Matrix, tuning: Tuning | None) -> int:
    """Number of weights of a matrix's adapter."""
    if tuning is None or tuning.kind != "lora":
        return 0
    return tuning.rank * (matrix.inner + matrix.outer)


def _attention(model: Architecture, rows: Padded) -> float:
    """Forward FLOPs of attention: the scores and the weighted sum of values."""
    return 2.0 * 2 * model.layers * model.attention * rows.squares


def _head(model: Architecture, rows: Padded) -> float:
    return 2.0 * CLASSES * model.pooled * rows.rows
