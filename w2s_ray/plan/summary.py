"""A plan in a few lines: its size, and its fits of each kind, for commands and notebooks.

Owns these counts. The store's contents are an argument: it reads no store.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from w2s_ray.plan.graph import Plan, PlannedFit
from w2s_ray.short_table import ShortTable


@dataclass(frozen=True)
class KindCount:
    """The fits of one kind."""

    kind: str
    to_train: int
    shared: int | None
    """Fits that cells share instead of training their own; None where nothing is shared."""
    done: int

    @property
    def left(self) -> int:
        return self.to_train - self.done


def size_text(plan: Plan) -> str:
    """The number of tasks, pairs, methods and seeds, and of the cells that they make."""
    sweep = plan.sweep
    counts = (
        (len(sweep.tasks), "task"),
        (len(sweep.cells()), "pair"),
        (len(sweep.methods), "method"),
        (len(sweep.seeds), "seed"),
    )
    words = [f"{n} {noun}{'s' * (n != 1)}" for n, noun in counts]
    if (controls := len(sweep.methods_and_controls) - len(sweep.methods)) > 0:
        words[2] = f"({words[2]} + {controls} controls)"
    return f"{' x '.join(words)} = {len(plan.cells)} cells"


def kind_counts(plan: Plan, *, done: Collection[str] = ()) -> list[KindCount]:
    """Fits of each kind: in all, shared between cells, and `done`."""
    by_roles: dict[str, list[PlannedFit]] = {}
    for fit in plan.fits.values():
        by_roles.setdefault(" and ".join(fit.roles), []).append(fit)
    counts = []
    for roles, fits in by_roles.items():
        uses = sum(plan.uses[role] for role in fits[0].roles)
        ended = sum(fit.id in done for fit in fits)
        counts.append(KindCount(roles, len(fits), max(0, uses - len(fits)), ended))
    if plan.studies:
        ended = sum(
            s.recipe.trials * len(s.trial_models) for s in plan.studies.values() if s.id in done
        )
        counts.append(KindCount("trial of a study (at most)", plan.trials, None, ended))
    later = Counter(
        "refit of a study's winner"
        if fit.searched
        else f"{' and '.join(fit.run.roles)} after a study"
        for fit in plan.later_fits.values()
    )
    return counts + [KindCount(kind, count, None, 0) for kind, count in later.items()]


def summary(plan: Plan) -> ShortTable:
    """The plan's size and its fits of each kind."""
    counts = kind_counts(plan)
    rows = [(count.kind, count.to_train, count.shared or 0) for count in counts]
    total = sum(count.to_train for count in counts)
    most = "at most " if plan.trials else ""
    studies = len(plan.every_study)
    of_studies = f" and {studies} stud{'y' if studies == 1 else 'ies'}" if studies else ""
    return ShortTable(
        title=f"Plan of {plan.sweep.name}: {size_text(plan)}",
        columns=("fits", "to train", "shared"),
        rows=tuple(rows),
        notes=(f"{most}{total} fits{of_studies}; `run_sweep` trains what the store lacks",),
    )
