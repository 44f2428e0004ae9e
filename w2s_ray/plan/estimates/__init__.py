"""Estimates of runs before they run: FLOPs, tokens, memory and device hours.

Owns pure functions of recipes, model architectures and row lengths. They load no weights and read
no rows. `benchmarks/estimates.py` compares the estimates with measurements.
"""

from w2s_ray.plan.estimates.fits import FitEstimate, estimate_fit
from w2s_ray.plan.estimates.memory import Memory, memory
from w2s_ray.plan.estimates.placement import fits_on_device, gpu_fraction, smallest_sharding
from w2s_ray.plan.estimates.shares import resolve_gpu_shares, whole_gpu_reasons
from w2s_ray.plan.estimates.totals import (
    Device,
    Estimator,
    GroupEstimate,
    PlanEstimate,
    estimate_plan,
)

__all__ = [
    "Device",
    "Estimator",
    "FitEstimate",
    "GroupEstimate",
    "Memory",
    "PlanEstimate",
    "estimate_fit",
    "estimate_plan",
    "fits_on_device",
    "gpu_fraction",
    "memory",
    "resolve_gpu_shares",
    "smallest_sharding",
    "whole_gpu_reasons",
]
