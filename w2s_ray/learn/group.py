"""The workers of one fit, where they must agree on something outside an engine.

Owns two collective operations. A fit with one worker joins no process group.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as distributed
from torch import Tensor

from w2s_ray.config import Execution
from w2s_ray.learn.gpu import uses_gpu


@dataclass(frozen=True)
class Group:
    """This worker among the workers of its fit. All of them call the same methods alike."""

    rank: int
    workers: int
    device: torch.device

    @classmethod
    def of(cls, execution: Execution) -> Group:
        """The group of a fit that runs so; the process group is joined if there are several."""
        on_gpu = uses_gpu(execution)
        device = torch.device("cuda" if on_gpu else "cpu")
        if execution.workers == 1:
            return cls(0, 1, device)
        from w2s_ray.learn.deepspeed_engine import join_group

        join_group(on_gpu)
        return cls(distributed.get_rank(), distributed.get_world_size(), device)

    def sum(self, values: Tensor) -> Tensor:
        """`values` summed over all workers, in place, the same on each."""
        if self.workers > 1:
            distributed.all_reduce(values)
        return values

    def agree(self, decision: int) -> int:
        """Worker 0's `decision`, on every worker."""
        if self.workers == 1:
            return decision
        decided = torch.tensor([decision], dtype=torch.int32, device=self.device)
        distributed.broadcast(decided, src=0)
        return int(decided.item())

    def any_of(self, flags: list[bool]) -> list[bool]:
        """For each flag whether it is set on any worker."""
        if self.workers == 1:
            return flags
        counts = self.sum(torch.tensor(flags, dtype=torch.int32, device=self.device))
        return [count > 0 for count in counts.tolist()]

    def wait(self) -> None:
        """Wait until all workers are here."""
        if self.workers > 1:
            distributed.barrier()
