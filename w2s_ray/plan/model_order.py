"""Warns about pairs whose weak model has more parameters than the strong model.

Owns this warning. Parameters are counted from the models' architectures; models with unknown
architecture are skipped. It refuses nothing, because a small model can be the stronger one.
"""

from __future__ import annotations

from w2s_ray.data.input_sizes import InputSizes
from w2s_ray.plan.graph import Plan


def model_order_warnings(plan: Plan, inputs: InputSizes) -> list[str]:
    """A warning if the weak model of a pair has more parameters; else an empty list."""
    models = {label: inputs.architecture(source) for label, source in plan.inputs.models.items()}
    sizes = {label: a.parameters for label, a in models.items() if not isinstance(a, str)}
    reversed_pairs = [
        (weak, strong)
        for weak, strong in plan.sweep.cells()
        if weak in sizes and strong in sizes and sizes[weak] > sizes[strong]
    ]
    if not reversed_pairs:
        return []
    weak, strong = reversed_pairs[0]
    others = len(reversed_pairs) - 1
    more = f", and so do the weak models of {others} more pairs" if others else ""
    return [
        f"warning: the weak model {weak} has more parameters ({sizes[weak]:,}) than its strong "
        f"model {strong} ({sizes[strong]:,}){more}; list models weakest first, unless this is "
        "intended"
    ]
