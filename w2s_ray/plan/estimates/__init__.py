"""What runs take before they have run: operations, tokens, memory, device hours.

Owns pure functions from recipes, shapes of models and lengths of rows; no weights are loaded and no
rows are read. They are estimates: `benchmarks/estimates.py` holds them against measured values.
"""

from w2s_ray.plan.estimates.fits import FitEstimate, estimate_fit
from w2s_ray.plan.estimates.memory import Memory, memory
from w2s_ray.plan.estimates.placing import fits, gpu_fraction, smallest
from w2s_ray.plan.estimates.shares import settled, whole_gpus
from w2s_ray.plan.estimates.totals import (
    Device,
    Estimator,
    Kind,
    PlanEstimate,
    estimate_plan,
)

__all__ = [
    "Device",
    "Estimator",
    "FitEstimate",
    "Kind",
    "Memory",
    "PlanEstimate",
    "estimate_fit",
    "estimate_plan",
    "fits",
    "gpu_fraction",
    "memory",
    "settled",
    "smallest",
    "whole_gpus",
]
