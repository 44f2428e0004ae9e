"""What is possible and probably not meant: a weak model that is larger than its strong one.

Owns the wording. Sizes are taken from shapes alone; a model whose shape is not known is not
doubted, and nothing is refused: a small model may be the stronger one.
"""

from __future__ import annotations

from w2s_ray.data.shapes import Shapes
from w2s_ray.plan.graph import Plan


def doubts(plan: Plan, shapes: Shapes) -> list[str]:
    """A line, if there is reason for one, on pairs whose weak model has more parameters."""
    known = {label: shapes.model(source) for label, source in plan.inputs.models.items()}
    sizes = {label: a.parameters for label, a in known.items() if not isinstance(a, str)}
    falling = [
        (weak, strong)
        for weak, strong in plan.sweep.cells()
        if weak in sizes and strong in sizes and sizes[weak] > sizes[strong]
    ]
    if not falling:
        return []
    weak, strong = falling[0]
    more = f", and {len(falling) - 1} more pairs are like it" if len(falling) > 1 else ""
    return [
        f"warning: the weak model {weak} has {sizes[weak]:,} parameters and its strong model "
        f"{strong} {sizes[strong]:,}{more}; list models weakest first, unless this is meant"
    ]
