"""One cell of the grid against the records: its accuracies, its label, and what it lacks.

Owns the objective column: where a cell's own ground truth chose a student's setting or stopping
point in any way, its objective is `oracle`. Averages nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from w2s_ray.methods.transforms import ORACLES
from w2s_ray.store import Cell, Objective, Record

METRIC = "test_accuracy"
"""The figure of a record's summary that PGR is computed from."""
ORACLE_STOPPED = "oracle_test_accuracy"
"""The same of the fit, had ground truth on validation chosen when it stops."""
_NUMBER = (float, int)


def accuracy(record: Record | None, *, figure: str = METRIC) -> float | None:
    """Test accuracy of a done run; None where there is none."""
    value = record.summary.get(figure) if record and record.status == "done" else None
    return float(value) if isinstance(value, _NUMBER) and math.isfinite(value) else None


def objective(cell: Cell, records: Mapping[str, Record]) -> Objective:
    """What the cell's settings were chosen by: as declared, or `oracle`.

    A transfer cell that its study trained saw its own ground truth, and so did a student that was
    stopped by it, trained on it, or taught by a simulated supervisor.
    """
    searched = cell.objective == "transfer" and cell.searched
    student = records.get(cell.student or "")
    stopping = (student.recipe.get("early_stopping") or {}) if student else {}
    true = student is not None and student.labels == "ground_truth"
    labels = (student.recipe.get("labels") or {}) if student else {}
    taught = any(one["kind"] in ORACLES for one in labels.get("transforms") or ())
    is_oracle = searched or stopping.get("oracle") or true or taught
    return "oracle" if is_oracle else cell.objective


def missing_runs(cell: Cell, records: Mapping[str, Record]) -> str:
    """Which of the cell's three runs have no accuracy, and why not."""
    reasons = {
        "supervisor": _why_not(records.get(cell.supervisor)),
        "student": _why_no_student(cell, records),
        "ceiling": _why_not(records.get(cell.ceiling)),
    }
    return "; ".join(f"{role} {why}" for role, why in reasons.items() if why is not None)


def _why_no_student(cell: Cell, records: Mapping[str, Record]) -> str | None:
    """Why the student has no accuracy; of one that never ran, the run that blocks it."""
    student = records.get(cell.student or "")
    if student is not None:
        return _why_not(student)
    supervisor = _why_not(records.get(cell.supervisor))
    if supervisor is not None:
        return f"blocked by its supervisor ({supervisor})"
    study = _why_not(records.get(cell.study or ""), metric=None)
    if cell.study is not None and study is not None:
        return f"blocked by study {cell.study} ({study})"
    return _why_not(None)


def _why_not(record: Record | None, *, metric: str | None = METRIC) -> str | None:
    """Why a run has no `metric`, or None if it has."""
    if record is None:
        return "not run"
    if record.status != "done":
        return f"{record.status}: {record.reason}" if record.reason else record.status
    if metric is not None and accuracy(record) is None:
        return f"has no {metric}"
    return None
