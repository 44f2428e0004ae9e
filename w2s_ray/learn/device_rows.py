"""Rows as tensors: kept on a device, and picked and padded there.

Owns the copy of a part's rows on a device, and how some of them become what a forward pass takes.
Rows that are not kept there are picked on the host and copied at every pass, with the same result.
Labels, and which rows are read together, are handled elsewhere. Shapes: S sequences of the picked
rows, L tokens of the longest one, K numbers of a sequence.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from w2s_ray.learn.gpu import free_memory
from w2s_ray.learn.rows import ActivationRows, AnyRows, TextRows

SHARE = 1 / 256
"""Share of a device's free memory that kept rows may take. It is part of the reserve that estimates
of memory leave (1.5 GiB)."""


class DeviceRows:
    """The rows that lie on `device`, and passes over these and others."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._kept: dict[int, tuple[AnyRows, Tensor]] = {}
        """Identity of rows -> the rows, and their table on the device."""

    def keep(self, rows: AnyRows) -> bool:
        """Copy `rows` to the device once, if they take little of its memory; whether they do."""
        table = _on_host(rows.table)
        if table.nbytes > SHARE * free_memory(self._device):
            return False
        self._kept[id(rows)] = rows, to_device(table, self._device)
        return True

    def activations(self, rows: ActivationRows, indices: np.ndarray) -> Tensor:
        """activations_BD of the rows at `indices`, on the device."""
        table = self._table(rows)
        return to_device(table[to_device(indices, table.device)], self._device)

    def padded(
        self, rows: TextRows, indices: np.ndarray, *, pad_id: int, width: Callable[[int], int]
    ) -> tuple[Tensor, ...]:
        """The sequences of the rows at `indices` as the forward pass takes them, on the device.

        input_ids_SL, padded on the right with `pad_id`, and lengths_S; of texts with learned tokens
        starts_S too; all int64. L is `width` of the longest sequence.
        """
        table, located_KS = self._table(rows), rows.located(indices)
        offset_S, length_S, *others = to_device(located_KS, table.device).unbind()
        column_L = torch.arange(width(int(located_KS[1].max())), device=table.device)
        place_SL = (offset_S[:, None] + column_L).clamp_(max=len(table) - 1)
        ids_SL = torch.where(column_L < length_S[:, None], table[place_SL], pad_id).long()
        return tuple(to_device(each, self._device) for each in (ids_SL, length_S, *others))

    def _table(self, rows: AnyRows) -> Tensor:
        """The table of `rows`: on the device where they are kept there, else on the host."""
        _, kept = self._kept.get(id(rows), (rows, None))
        return _on_host(rows.table) if kept is None else kept


def to_device(values: np.ndarray | Tensor, target: torch.device) -> Tensor:
    """Values as a tensor on `target`, without waiting for a copy to a GPU."""
    tensor = torch.from_numpy(values) if isinstance(values, np.ndarray) else values
    if target.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(target, non_blocking=True)
    return tensor.to(target)


def _on_host(table: np.ndarray) -> Tensor:
    """The same memory as a tensor; a copy where it is read-only, which torch has no tensors of."""
    return torch.from_numpy(np.require(table, requirements="W"))
