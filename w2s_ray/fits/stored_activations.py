"""Activations of a frozen model in the store: computed by one fit, read by all others.

Owns their names, which cover all that decides the numbers, and what a fit does whose activations
are missing: it computes them, or waits while another fit does. That is decided by a lease, which
ends with its holder. How activations are computed is decided in `learn/activations`.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from w2s_ray.config import Execution
from w2s_ray.data.cache import cache_folder
from w2s_ray.fits.pass_report import PassReport
from w2s_ray.identity import ID_LENGTH, digest
from w2s_ray.learn.activations import Activations
from w2s_ray.learn.group import Group
from w2s_ray.store import Store
from w2s_ray.store.leases import Leases

if TYPE_CHECKING:
    from w2s_ray.fits.train_fit import Reporter

VERSION = 1
"""Incremented whenever the same model's activations of the same rows change."""
POLL_S = 0.5
"""Time between two looks at the store."""
LONGEST_WAIT_S = 3600.0
"""How long a fit waits for another one's activations before it computes its own, where
`execution.stall_s` is null."""
ARRAY = "activations"

Make = Callable[[list[str], Callable[[], None]], Iterable[tuple[str, Activations]]]
"""Parts, and what is called before each forward pass -> the parts with their activations."""


def stored_activations(
    store: Store,
    what: Mapping[str, Any],
    parts: Iterable[str],
    make: Make,
    *,
    execution: Execution,
    total_steps: int = 0,
    control: Reporter | None = None,
) -> dict[str, Activations]:
    """Part -> its activations: read from the store, or else made and stored.

    `what` is all that decides the numbers, besides the part. All workers of a fit call it alike.

    Raises:
        StopRequested, LeaveRequested: by a command of `control`, while it waits or computes.
    """
    group = Group.of(execution)
    report = PassReport(control, total_steps, obeys=group.workers == 1)
    names = {part: digest([VERSION, what, part])[: 2 * ID_LENGTH] for part in parts}
    lease_name = f"activations-{digest([VERSION, what])[:ID_LENGTH]}"
    leases, began = Leases(store.files), time.monotonic()
    limit_s = execution.stall_s or LONGEST_WAIT_S
    found: dict[str, Activations] = {}

    def missing() -> list[str]:
        """Parts that a worker lacks, after another look at the store."""
        for part in names.keys() - found.keys():
            there = _read(store, names[part])
            if there is not None:
                found[part] = there
        lacking = group.any_of([part not in found for part in names])
        return [part for part, lacks in zip(names, lacking, strict=True) if lacks]

    while missing():
        lease = leases.acquire(lease_name) if group.rank == 0 else None
        if group.agree(lease is None and time.monotonic() - began < limit_s):
            report()
            time.sleep(POLL_S)
            continue
        with lease or nullcontext():
            for part, made in make(missing(), report):
                found[part] = made
                if group.rank == 0:
                    _write(store, names[part], made, about={**what, "part": part})
    return {part: found[part] for part in names}


def _read(store: Store, name: str) -> Activations | None:
    stored = store.activations.fetch(name, cache_folder() / "activations")
    if stored is None:
        return None
    try:
        return Activations(load_file(stored.path)[ARRAY], int(stored.about["parameters"]))
    except (FileNotFoundError, SafetensorError, KeyError):
        return None  # removed since it was checked, or of another version


def _write(store: Store, name: str, made: Activations, *, about: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory(prefix="w2s-activations-") as folder:
        file = Path(folder) / f"{ARRAY}.safetensors"
        save_file({ARRAY: made.values_ND}, file)
        rows, width = made.values_ND.shape
        shape = {"rows": rows, "width": width, "parameters": made.parameters}
        store.activations.add(name, file, {**about, **shape})
