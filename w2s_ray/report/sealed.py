"""Sealed tests: figures from stored predictions and test labels, and the number of looks at them.

Owns the scoring of fits whose records have no test figures, because they got no test labels, and
the rule which looks are counted: of every sweep that was ever sealed in the store.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from w2s_ray.errors import InputError
from w2s_ray.report.cell import METRIC, accuracy
from w2s_ray.report.statistics.eval_sets import correctness, eval_set
from w2s_ray.store import Record, Store, StoreError
from w2s_ray.store.damage import none_if_damaged


def is_sealed(store: Store, sweep: str) -> bool:
    """Whether the sweep was sealed at any start."""
    return any(manifest.sealed for manifest in store.manifests.all(sweep))


def count_look(store: Store, sweeps: Iterable[str], *, command: str) -> list[str]:
    """Count a look at the test figures of the sealed ones of `sweeps`; a line for each.

    Raises:
        InputError: the store can't be written.
    """
    lines = []
    for sweep in sweeps:
        if not is_sealed(store, sweep):
            continue
        try:
            store.looks.add(sweep, command=command)
        except (OSError, StoreError) as error:
            raise InputError(
                f"{store.uri} can't be written ({error}), so this look at the sealed test of "
                f"{sweep} can't be counted; make the store writable"
            ) from error
        lines.append(f"{looks_text(store, sweep)}, this time included")
    return lines


def looks_text(store: Store, sweep: str) -> str:
    """How often the sealed test of a sweep was looked at."""
    count = store.looks.count(sweep)
    times = "once" if count == 1 else f"{count} times"
    return f"{sweep}: the test is sealed; its figures were looked at {times}"


def with_test_accuracy(store: Store, records: Mapping[str, Record]) -> dict[str, Record]:
    """`records`, with the test accuracy of fits that got no test labels."""
    lacking: dict[str, list[Record]] = {}
    for record in records.values():
        if _is_lacking(record):
            lacking.setdefault(str(record.recipe.get("split")), []).append(record)
    known = set(store.splits.fingerprints()) if lacking else set()
    found = dict(records)
    for split in sorted(lacking.keys() & known):
        test = none_if_damaged(lambda split=split: eval_set(store, split))
        if test is None or not len(test.ids):
            continue
        scored = correctness(store, test, lacking[split])
        for place, run in enumerate(scored.runs):
            summary = {**records[run].summary, METRIC: float(scored.correct_NR[:, place].mean())}
            found[run] = records[run].model_copy(update={"summary": summary})
    return found


def _is_lacking(record: Record) -> bool:
    is_done = record.kind == "fit" and record.status == "done"
    predicts = "test" in (record.recipe.get("predicts") or ())
    has_predictions = "predictions.parquet" in record.bytes
    return is_done and predicts and has_predictions and accuracy(record) is None
