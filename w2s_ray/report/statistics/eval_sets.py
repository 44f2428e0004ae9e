"""Test sets, runs' predictions on them, and the correctness of these, read from a store.

Owns the conditions for usable predictions: one for each test row of the run's split, and an
accuracy equal to the record's, if it has one. It computes no statistics.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from w2s_ray.data.generic import label_order
from w2s_ray.data.right import Truth, right
from w2s_ray.report.cell import accuracy
from w2s_ray.report.measures import two_classes
from w2s_ray.report.statistics.groups import TemporaryReason
from w2s_ray.store import Record, Store, StoreError, StoreUnavailable
from w2s_ray.store.damage import Damaged, warn

READERS = 8
"""Files that are read concurrently."""
_ROUNDING = 1e-6
_TEST = pa.StringArray.from_buffers(
    1, pa.py_buffer(np.array([0, 4], np.int32)), pa.py_buffer(b"test")
)[0]
"""The scalar "test", made from bytes because a conversion from a Python value imports pandas."""


@dataclass(frozen=True)
class EvalSet:
    """The N test rows of a split."""

    ids: pa.Array
    truth: Truth
    """The label or correct answer of each row."""
    unit_N: np.ndarray | None
    """Number of each row's group; None if every row is a group of its own."""
    classes: tuple[str, ...] = ()
    """Names of several classes, in the order of distributions; empty for rows without them."""

    @cached_property
    def classes_N(self) -> np.ndarray:
        """The place of each row's class, int64: 0 or 1 of two classes, else that in `classes`."""
        if self.truth.labels_N is not None:
            return np.asarray(self.truth.labels_N, np.int64)
        place = {name: i for i, name in enumerate(self.classes)}
        return np.array([place[answer] for answer in self.truth.answers or ()], np.int64)


@dataclass(frozen=True)
class EvalPredictions:
    """A run's predictions for N test rows."""

    probabilities_N: np.ndarray
    """P(class 1), or the probability of the completion, float64."""
    answers: tuple[str | None, ...] | None
    """Completions, where rows have answers, or what the task's extractor took from them."""
    distribution_NC: np.ndarray | None = None
    """Probabilities of several classes, float64; None of other predictions."""

    def of_classes(self, test: EvalSet) -> np.ndarray | None:
        """The probabilities of two or more classes of `test`, [N, C]; None where it has none."""
        if test.truth.labels_N is not None:
            return two_classes(self.probabilities_N)
        return self.distribution_NC


class NoClasses(str):
    """Why a run has no probabilities of classes: its rows have answers."""


@dataclass(frozen=True)
class Correctness:
    """The correctness of several runs' predictions on one test set."""

    runs: tuple[str, ...]
    """The R runs with usable predictions."""
    correct_NR: np.ndarray
    """uint8 [N, R], 1 = right."""
    unusable: Mapping[str, str]
    """Run id -> why its predictions are not usable."""


def eval_set(store: Store, split: str) -> EvalSet:
    """The test rows of a split, in its order.

    Raises:
        StoreError: the split is not in the store.
    """
    table = store.splits.rows(split)
    rows = _test_rows(table)
    ids = rows["example_id"].combine_chunks()
    labels = rows["label"].combine_chunks()
    truth = Truth(
        None if labels.null_count else _numbers(labels),
        _texts(rows["answer"]),
        _texts(rows["extracted"]),
    )
    classes = () if truth.answers is None else _classes(table)
    return EvalSet(ids, truth, _units(rows["group"].combine_chunks()), classes)


def correctness(store: Store, test: EvalSet, records: Sequence[Record]) -> Correctness:
    """The correctness of the predictions of `records` on `test`; each file is read once."""
    correct_NR = np.empty((len(test.ids), len(records)), np.uint8)
    unusable: dict[str, str] = {}
    with ThreadPoolExecutor(READERS) as readers:
        read = readers.map(lambda record: _correct(store, test, record), records)
        usable = []
        for record, correct_N in zip(records, read, strict=True):
            if isinstance(correct_N, str):
                unusable[record.id] = correct_N
            else:
                correct_NR[:, len(usable)] = correct_N
                usable.append(record.id)
    return Correctness(tuple(usable), correct_NR[:, : len(usable)], unusable)


def probabilities(store: Store, test: EvalSet, record: Record) -> np.ndarray | str:
    """A run's probabilities of the classes of `test`, float64 [N, C], or why it has none."""
    found = predictions(store, test, record)
    if isinstance(found, str):
        return found
    found_NC = found.of_classes(test)
    if found_NC is None:
        return NoClasses(f"run {record.id} was tested on rows without classes")
    return found_NC


def predictions(store: Store, test: EvalSet, record: Record) -> EvalPredictions | str:
    """A run's predictions for each row of `test`, or why it has none."""
    if "predictions.parquet" not in record.bytes:
        return f"run {record.id} has no predictions"
    try:
        table = _test_rows(store.predictions(record.id))
    except StoreUnavailable:
        raise
    except Damaged as damage:
        warn(damage)
        return TemporaryReason(f"the predictions of run {record.id} are damaged")
    except StoreError as error:
        return TemporaryReason(error)
    ids = table["example_id"].combine_chunks()
    if not ids.equals(test.ids):
        at = pc.call_function("index_in", [test.ids], pc.SetLookupOptions(ids))
        if at.null_count:
            return f"run {record.id} has no prediction for some test rows"
        table = table.take(at)
    column = "answer" if test.truth.extracted is None else "extracted"
    answers = None if test.truth.answers is None else tuple(table[column].to_pylist())
    distribution_NC = _distribution(table, classes=len(test.classes))
    probabilities_N = _numbers(table["probability"].combine_chunks())
    return EvalPredictions(probabilities_N, answers, distribution_NC)


def predictions_of(
    store: Store, test: EvalSet, records: Iterable[Record], readers: Executor
) -> dict[str, EvalPredictions | str]:
    """Run id -> its predictions for each row of `test`, or why it has none."""
    records = list(records)
    read = readers.map(lambda record: predictions(store, test, record), records)
    return {record.id: found for record, found in zip(records, read, strict=True)}


def _correct(store: Store, test: EvalSet, record: Record) -> Any:
    """Whether a run is right on each row, [N], or why its predictions are not usable."""
    predicted = predictions(store, test, record)
    if isinstance(predicted, str):
        return predicted
    correct_N = right(predicted.probabilities_N, predicted.answers, test.truth)
    recorded, found = accuracy(record), float(correct_N.mean())
    if recorded is not None and abs(found - recorded) > _ROUNDING:
        return f"run {record.id} has accuracy {found:.4f} by its predictions, not {recorded}"
    return correct_N


def _test_rows(table: pa.Table) -> pa.Table:
    """The rows of part test."""
    return table.filter(pc.call_function("equal", [table["part"], _TEST]))


def _classes(rows: pa.Table) -> tuple[str, ...]:
    """The answers of all parts in the order of distributions; empty where rows have choices."""
    of_choices = rows["choices"].null_count < len(rows) if "choices" in rows.column_names else False
    names = () if of_choices else pc.call_function("unique", [rows["answer"]]).to_pylist()
    return tuple(sorted((name for name in names if name is not None), key=label_order))


def _distribution(rows: pa.Table, *, classes: int) -> np.ndarray | None:
    """The probabilities of this many classes, [N, C]; None where the predictions have others."""
    if not classes:
        return None
    column = rows["probabilities"].combine_chunks()
    if column.null_count or not len(column):
        return None
    flat = column.flatten()
    if len(flat) != classes * len(column):
        return None
    return _numbers(flat).reshape(len(column), classes).astype(np.float64)


def _units(groups: pa.Array) -> np.ndarray | None:
    """The number of each row's group; a row without a group is a group of its own."""
    coded = groups.dictionary_encode(null_encoding="encode")
    unit_N = _numbers(coded.indices).astype(np.int64)
    alone_N = _numbers(groups.is_null().cast(pa.int8())) == 1
    unit_N[alone_N] = len(coded.dictionary) + np.arange(alone_N.sum())
    units, unit_N = np.unique(unit_N, return_inverse=True)
    return None if len(units) == len(unit_N) else unit_N


def _texts(column: pa.ChunkedArray) -> tuple[str, ...] | None:
    """A column of texts; None if a row has none, or there are no rows."""
    return None if column.null_count or not len(column) else tuple(column.to_pylist())


def _numbers(column: pa.Array) -> np.ndarray:
    """A column without nulls as an array; Arrow's own conversion imports pandas."""
    return np.from_dlpack(column)
