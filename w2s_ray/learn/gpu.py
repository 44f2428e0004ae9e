"""The GPU of a fit's process: whether it uses one, its share of the memory, and the peak.

Owns the limit that torch's allocator gets, so that a fit that needs more than its share fails alone
and not the fits beside it. Estimates and the choice of shares are elsewhere.
"""

from __future__ import annotations

import math

import torch

from w2s_ray.config import GPU_CONTEXT, Execution
from w2s_ray.config.settings import Precision


def uses_gpu(execution: Execution) -> bool:
    """Whether a fit of this process runs on a GPU."""
    return torch.cuda.is_available() and execution.gpus_per_worker != 0


def round_products(precision: Precision) -> None:
    """Let this process's fp32 products on a GPU round their inputs to TF32, or keep them exact.

    torch's own default rounds convolutions and not matrices:
    https://docs.pytorch.org/docs/stable/notes/cuda.html#tensorfloat-32-tf32-on-ampere-and-later-devices
    """
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"


def peak_memory(execution: Execution) -> int | None:
    """The most GPU memory that tensors of this fit and process took, in bytes; None on a CPU."""
    return torch.cuda.max_memory_allocated() if uses_gpu(execution) else None


def free_memory(device: torch.device) -> float:
    """Bytes that are free on `device`; unlimited on a CPU, whose memory the arrays are in."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else math.inf


def limit_to_share(execution: Execution) -> None:
    """Let this process allocate no more than its fit's share of the GPU, less its own context."""
    share = execution.gpus_per_worker
    if not isinstance(share, float | int) or not share > 0 or not torch.cuda.is_available():
        return
    whole = torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
    least = share / 2  # of a GPU that has little room beside its contexts
    limit = 1.0 if share >= 1 else max(share - GPU_CONTEXT / whole, least)
    torch.cuda.set_per_process_memory_fraction(limit)
