"""How a sweep's run ended: counts, failures, and what stopped it.

Owns these values and their short table. It imports no Ray.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from w2s_ray.plan import Plan
from w2s_ray.short_table import ShortTable, ShownAsTable, shortened

MOST_FAILED = 5
"""Failed runs in the table."""


@dataclass(frozen=True, repr=False)
class Outcome(ShownAsTable):
    """How a sweep's run ended."""

    plan: Plan
    done: int
    """Runs of the plan that the store holds."""
    trained: int
    """Fits trained by this call, trials included; pruned ones count, failed ones don't."""
    failed: dict[str, str] = field(default_factory=dict)
    """Run id -> why it failed."""
    blocked: dict[str, str] = field(default_factory=dict)
    """Run id -> the failed run that it depends on."""
    stopped: str | None = None
    """What stopped it before the end: `Ctrl-C`, `SIGTERM`, `w2s cancel`, its budget."""
    spent: str | None = None
    """The spent part of its budget, as text; None without a budget."""
    failed_fits: int = 0
    """Fits that failed in this call, trials included."""
    left: int = 0
    """Fits that were not trained because the budget was spent, trials included."""

    @property
    def complete(self) -> bool:
        """Whether every cell has all its runs."""
        return not (self.failed or self.blocked or self.plan.waiting or self.stopped)

    def summary(self) -> ShortTable:
        """How it ended, counts, and the reasons of failures."""
        plan = self.plan
        ended = "failed" if self.failed else "complete" if self.complete else "not complete"
        counts = (
            ("planned", len(plan.fits) + len(plan.studies)),
            ("done", self.done),
            ("fits trained by this call, trials included", self.trained),
            ("fits failed in this call, trials included", self.failed_fits),
            ("failed", len(self.failed)),
            ("blocked by failed runs", len(self.blocked)),
            ("waiting for a study", plan.waiting),
            ("not trained because the budget is spent", self.left),
        )
        runs = plan.fits | plan.studies
        failed = (
            f"failed: {runs[run].description if run in runs else run}: {reason}"
            for run, reason in self.failed.items()
        )
        notes = shortened(failed, most=MOST_FAILED)
        notes += () if self.spent is None else (self.spent,)
        notes += () if self.complete else ("the same call continues the sweep",)
        return ShortTable(
            title=f"{plan.sweep.name}: {f'stopped by {self.stopped}' if self.stopped else ended}",
            columns=("runs", "count"),
            rows=(*counts[:3], *(count for count in counts[3:] if count[1])),
            notes=notes,
        )
