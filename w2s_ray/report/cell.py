"""One cell of the grid with its records: its accuracies, its objective, and its missing runs.

Owns the objective column: if a cell's own ground truth chose a student's setting or stopping point
in any way, its objective is `oracle`; if ground truth of the same task and strong model did, it is
`transfer, same student`. It computes no means.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from w2s_ray.methods.transforms import ORACLES, SLICED
from w2s_ray.methods.transforms.known_rows import TruthSlice
from w2s_ray.report.objectives import SAME_STUDENT, RowObjective
from w2s_ray.store import Cell, Record

METRIC = "test_accuracy"
"""The figure of a record's summary that PGR is computed from."""
ORACLE_STOPPED = "oracle_test_accuracy"
"""The test accuracy of the fit if ground truth on validation rows had stopped it."""
CLASS_1 = "test_class_1"
"""The share of test rows that the fit calls class 1."""
LARGEST_CLASS = "test_largest_class"
"""Of several classes, the share of test rows of the class that the fit predicts most often."""
ONE_CLASS = "one class on all test rows"
_NUMBER = (float, int)


def accuracy(record: Record | None, *, figure: str = METRIC) -> float | None:
    """Test accuracy of a done run, or None."""
    value = record.summary.get(figure) if record and record.status == "done" else None
    return float(value) if isinstance(value, _NUMBER) and math.isfinite(value) else None


def one_class(cells: Iterable[Cell], records: Mapping[str, Record]) -> str | None:
    """The models that predict one class on all test rows, in words; None if none does.

    Their seeds are named if the model has others. Fits of earlier versions lack the figure.
    """
    cells, found = list(cells), list[str]()
    for role in ("supervisor", "student", "ceiling"):
        runs = {cell.seed: records.get(getattr(cell, role)) for cell in cells}
        seeds = [seed for seed, record in runs.items() if predicts_one_class(record)]
        if seeds:
            which = "" if len(seeds) == len(cells) else f" (seed {', '.join(map(str, seeds))})"
            found.append(f"the {role} predicts {ONE_CLASS}{which}")
    return "; ".join(found) or None


def predicts_one_class(record: Record | None) -> bool:
    """Whether a done fit with classes predicts the same one on all test rows."""
    is_same = accuracy(record, figure=LARGEST_CLASS) == 1.0
    return is_same or accuracy(record, figure=CLASS_1) in (0.0, 1.0)


def cut_shots(students: Iterable[Record | None]) -> str | None:
    """How many test prompts of prompted students had fewer examples; None if none had."""
    totals, limits = {"test_prompts_cut": 0.0, "test_prompts": 0.0}, dict[str, None]()
    for student in students:
        for name in totals:
            value = student.summary.get(name) if student is not None else None
            totals[name] += value if isinstance(value, _NUMBER) else 0
        if student is not None and student.summary.get("test_prompts_cut"):
            limits[_prompt_limit(student)] = None
    cut, prompts = totals.values()
    if not cut:
        return None
    over = " or ".join(limits)
    return f"examples omitted from {cut:,.0f} of {prompts:,.0f} prompts, which were over {over}"


def _prompt_limit(student: Record) -> str:
    """What limits the prompts of a prompted student; fits of earlier versions don't say which."""
    limit = student.summary.get("test_prompt_limit")
    most = (student.recipe.get("training") or {}).get("max_tokens")
    if not isinstance(limit, _NUMBER) or not isinstance(most, _NUMBER):
        return "max_tokens or the model's context"
    return "max_tokens" if limit >= most else f"the model's context of {limit:,.0f} tokens"


def objective(cell: Cell, records: Mapping[str, Record]) -> RowObjective:
    """The objective that chose the cell's settings: the declared one, or one that says more.

    It is `oracle` if the study of a transfer cell trained this cell, or if the student was stopped
    by ground truth, trained on it, or trained on labels that a simulated supervisor made or that a
    transform changed by true labels which the supervisor was not trained on. It is
    `transfer, same student` if that study trained the same strong model on the same task.
    """
    searched = cell.objective == "transfer" and cell.searched
    student = records.get(cell.student or "")
    stopping = (student.recipe.get("early_stopping") or {}) if student else {}
    on_truth = student is not None and student.labels == "ground_truth"
    simulated = any(one["kind"] in ORACLES for one in _transforms(student))
    more_truth = any(used.is_oracle for used in _slices(student).values())
    is_oracle = searched or stopping.get("oracle") or on_truth or simulated or more_truth
    if is_oracle:
        return "oracle"
    shares_student = cell.objective == "transfer" and _shares_student(cell, records)
    return SAME_STUDENT if shares_student else cell.objective


def used_truth(students: Iterable[Record | None]) -> str | None:
    """The slices of ground truth that transforms of the students' labels used, in words."""
    found = dict.fromkeys(
        f"{kind} used the ground truth of {used.rows:,} rows of {used.of}"
        for student in students
        for kind, used in _slices(student).items()
    )
    return "; ".join(found) or None


def _transforms(student: Record | None) -> list[Mapping[str, Any]]:
    """The transforms of a student's labels, as its recipe has them."""
    labels = (student.recipe.get("labels") or {}) if student else {}
    return list(labels.get("transforms") or ())


def _slices(student: Record | None) -> dict[str, TruthSlice]:
    """Kind of each transform with a slice of ground truth -> the slice."""
    sliced = (one for one in _transforms(student) if one["kind"] in SLICED)
    return {one["kind"]: TruthSlice.model_validate(one["truth"]) for one in sliced}


def stopped_early(record: Record | None) -> bool:
    """Whether early stopping ended the fit before its schedule did."""
    return record is not None and record.summary.get("stopped_early") is True


def _shares_student(cell: Cell, records: Mapping[str, Record]) -> bool:
    """Whether the cell's study trained its strong model on its task, by content or by name."""
    study = records.get(cell.study or "")
    if study is None:
        return False
    fits = filter(None, (records.get(cell.student or ""), records.get(cell.ceiling or "")))
    contents = {(fit.recipe.get("split"), fit.recipe.get("model")) for fit in fits}
    trained = (fit for fit in study.recipe.get("cells") or () if isinstance(fit, Mapping))
    if any((fit.get("split"), fit.get("model")) in contents for fit in trained):
        return True
    tasks, pairs = study.about.get("tasks") or (), study.about.get("pairs") or ()
    named = zip(tasks, pairs, strict=False)
    return any((task, pair[-1:]) == (cell.task, [cell.strong]) for task, pair in named)


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
