"""One cell of the grid with its records: its accuracies, its objective, and its missing runs.

Owns the objective column: if a cell's own ground truth chose a student's setting or stopping point
in any way, its objective is `oracle`. It computes no means.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from w2s_ray.methods.transforms import ORACLES
from w2s_ray.store import Cell, Objective, Record

METRIC = "test_accuracy"
"""The figure of a record's summary that PGR is computed from."""
ORACLE_STOPPED = "oracle_test_accuracy"
"""The test accuracy of the fit if ground truth on validation rows had stopped it."""
_NUMBER = (float, int)


def accuracy(record: Record | None, *, figure: str = METRIC) -> float | None:
    """Test accuracy of a done run, or None."""
    value = record.summary.get(figure) if record and record.status == "done" else None
    return float(value) if isinstance(value, _NUMBER) and math.isfinite(value) else None


def objective(cell: Cell, records: Mapping[str, Record]) -> Objective:
    """The objective that chose the cell's settings: the declared one, or `oracle`.

    It is `oracle` if the study of a transfer cell trained this cell, or if the student was stopped
    by ground truth, trained on it, or trained on labels of a simulated supervisor.
    """
    searched = cell.objective == "transfer" and cell.searched
    student = records.get(cell.student or "")
    stopping = (student.recipe.get("early_stopping") or {}) if student else {}
    on_truth = student is not None and student.labels == "ground_truth"
    labels = (student.recipe.get("labels") or {}) if student else {}
    simulated = any(one["kind"] in ORACLES for one in labels.get("transforms") or ())
    is_oracle = searched or stopping.get("oracle") or on_truth or simulated
    return "oracle" if is_oracle else cell.objective


def missing_runs(cell: Cell, records: Mapping[str, Record]) -> str:
    """The cell's runs without an accuracy, each with the reason."""
    reasons = {
        "supervisor": _why_none(cell.supervisor, cell.supervisor_study, records),
        "student": _why_no_student(cell, records),
        "ceiling": _why_none(cell.ceiling, cell.ceiling_study, records),
    }
    return "; ".join(f"{role} {why}" for role, why in reasons.items() if why is not None)


def _why_no_student(cell: Cell, records: Mapping[str, Record]) -> str | None:
    """Why the student has no accuracy; for one that never ran, the run that blocks it."""
    student = records.get(cell.student or "")
    if student is not None:
        return _why_not(student)
    supervisor = _why_none(cell.supervisor, cell.supervisor_study, records)
    if supervisor is not None:
        return f"blocked by its supervisor ({supervisor})"
    return _why_none(None, cell.study, records)


def _why_none(run: str | None, study: str | None, records: Mapping[str, Record]) -> str | None:
    """Why a run, whose settings `study` chooses if there is one, has no accuracy."""
    if run is None and study is not None:
        why = _why_not(records.get(study), metric=None)
        if why is not None:
            return f"blocked by study {study} ({why})"
    return _why_not(records.get(run or ""))


def _why_not(record: Record | None, *, metric: str | None = METRIC) -> str | None:
    """Why a run has no `metric`; None if it has one."""
    if record is None:
        return "not run"
    if record.status != "done":
        return f"{record.status}: {record.reason}" if record.reason else record.status
    if metric is not None and accuracy(record) is None:
        return f"has no {metric}"
    return None
