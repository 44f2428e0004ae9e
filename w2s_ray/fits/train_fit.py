"""Training one planned fit in this process, from the store's rows to the store's record.

Owns the order within a fit (data, training, record) and the boundary at which a failure becomes a
record. It may run alone or as one worker of a group. Leases, the order of runs and Ray are handled
elsewhere.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import time
import traceback
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Protocol

from w2s_ray.config import FORMS, Execution, FitRecipe
from w2s_ray.data import TASKS
from w2s_ray.data.cache import cache_folder
from w2s_ray.data.right import Truth
from w2s_ray.fits.contrast import contrast
from w2s_ray.fits.failures import cause_of
from w2s_ray.fits.initial_model import initial_source
from w2s_ray.fits.labels import SplitRows
from w2s_ray.fits.metrics_recorder import MetricsRecorder, against_truth
from w2s_ray.fits.outcome import outcome_record, reason_of
from w2s_ray.fits.stored_split import stored_split
from w2s_ray.learn.contract import (
    Control,
    FitResult,
    LeaveRequested,
    Predicted,
    StopRequested,
)
from w2s_ray.learn.tokens import save_tokenizer
from w2s_ray.plan import PlannedFit
from w2s_ray.store import Record, Store
from w2s_ray.store.tables import METRICS, PREDICTIONS

if TYPE_CHECKING:
    from w2s_ray.fits.training_data import TrainingData


class Reporter(Control, Protocol):
    """A control that gets the fit's progress."""

    def step(self, number: int, total: int) -> None:
        """The fit is at step `number` of `total`; called every half second at most."""
        ...

    def evaluated(self, evaluation: Mapping[str, Any]) -> None:
        """The fit has evaluated validation."""
        ...

    def fetching(self, done: int, total: int) -> None:
        """`done` of `total` bytes of the fit's model are downloaded; called every few seconds."""
        ...


@dataclass
class FitTraining:
    """One fit in this process: alone, or as one worker of its group."""

    fit: PlannedFit
    control: Reporter | None = None
    """Gets the fit's progress, and decides whether it goes on."""
    writes: bool = True
    """Whether this worker writes the results (worker 0 does)."""
    started: float = field(default_factory=time.time)

    def run(self, store: Store, *, checkpoints: Any) -> Record:
        """Train, predict, record. A failure becomes a record, which is returned, not written.

        Raises:
            StopRequested, LeaveRequested: `control` ended the fit, which is not a failure and
                leaves no record.
        """
        try:
            return self._train(store, checkpoints)
        except (StopRequested, LeaveRequested):
            raise
        except Exception as error:
            if self.fit.execution.workers > 1 and type(error).__name__ != "NonFiniteLoss":
                raise  # it may be this worker's alone: the group is stopped and tried again
            return outcome_record(
                self.fit,
                status="failed",
                cause=cause_of(error),
                reason=reason_of(error),
                traceback=traceback.format_exc(),
                started=self.started,
                environment=device(self.fit.execution),
                earlier=store.attempts(self.fit.id),
            )

    def _train(self, store: Store, checkpoints: Any) -> Record:
        import torch

        from w2s_ray.fits.forms import form_of
        from w2s_ray.learn.gpu import limit_to_share, round_products, uses_gpu
        from w2s_ray.learn.kernels import keep_compiled_code

        keep_compiled_code(cache_folder() / "compiled")
        torch.set_num_threads(self.fit.execution.cpus_per_worker)
        limit_to_share(self.fit.execution)
        round_products(self.fit.recipe.training.precision)
        if uses_gpu(self.fit.execution):
            torch.cuda.reset_peak_memory_stats()
        rows = SplitRows.of(stored_split(store, self.fit.recipe.split, sealed=self.fit.sealed))
        source = initial_source(self.fit, rows, store, control=self.control)
        fit = replace(self.fit, source=source)
        recipe, form = fit.recipe, form_of(fit.recipe)
        training_data = form.training_data(fit, rows, store, control=self.control)
        recorder = self._recorder(rows)
        weights = Path(tempfile.mkdtemp(prefix="w2s-weights-")) / "weights"
        setup_s = time.time() - self.started
        try:
            result = form.train(
                recipe,
                data=training_data.data,
                source=fit.source,
                execution=fit.execution,
                observer=recorder,
                checkpoints=RecordedCheckpoints(checkpoints, recorder),
                control=self.control,
                weights=weights,
            )
            kept = weights if weights.exists() else None
            has_model = FORMS[recipe.form].has_texts and (weights / "config.json").exists()
            if kept is not None and self.writes and has_model:
                save_tokenizer(fit.source, kept)  # so that a sweep can name the folder as a model
            return self._record(store, rows, training_data, recorder, result, kept, setup_s)
        finally:
            shutil.rmtree(weights.parent, ignore_errors=True)

    def _recorder(self, rows: SplitRows) -> MetricsRecorder:
        recipe = self.fit.recipe
        truth = rows.truth if recipe.has_labels else {}
        noted = "test" in recipe.predicts and bool(recipe.labels.runs) and not self.fit.sealed
        return MetricsRecorder(
            truth_M=truth.get("validation", Truth()),
            test_truth_N=truth.get("test") if noted else None,
            evaluations=recipe.training.evaluations,
            on_step=self.control.step if self.control is not None else None,
            on_evaluation=self.control.evaluated if self.control is not None else None,
        )

    def _legality(self, predicted: Predicted, prompts: Sequence[str]) -> dict[str, float]:
        """Share of completions that the task's rules allow, where it has rules."""
        task = TASKS.get(self.fit.task)
        if task is None or task.legal is None or predicted.answers is None:
            return {}
        legal = [task.legal(p, a) for p, a in zip(prompts, predicted.answers, strict=True)]
        return {"legality": fmean(legal)}

    def _record(
        self,
        store: Store,
        rows: SplitRows,
        training_data: TrainingData,
        recorder: MetricsRecorder,
        result: FitResult,
        weights: Path | None,
        setup_s: float,
    ) -> Record:
        from w2s_ray.learn.gpu import peak_memory

        against = {
            part: against_truth(found, rows.truth[part]) | self._legality(found, rows.texts[part])
            for part, found in result.predicted.items()
        }
        summary = {
            "train_rows": training_data.train_rows,
            "dropped_rows": training_data.dropped,
            "parameters": result.parameters,
            "trained_parameters": result.trained_parameters,
            "steps": result.steps,
            "total_steps": result.total_steps,
            "best_step": result.best_step,
            "stopped_early": result.stopped_early,
            **({"stopping_step": result.stopping_step} if result.stopping_step else {}),
            "tokens": result.tokens,
            **_flops(result, self.fit.recipe),
            "setup_seconds": setup_s,
            "training_seconds": result.seconds,
            "compiled": result.compiled,
            "peak_memory_bytes": peak_memory(self.fit.execution),
            "train_loss": result.train_loss,
            **{
                f"{part}_{name}": value
                for part, figures in against.items()
                for name, value in figures.items()
            },
            **{
                f"{part}_{name}": value
                for part, found in result.predicted.items()
                for name, value in contrast(found).items()
            },
            "validation_agreement": result.validation_agreement,
            "validation_loss": result.validation_loss,
            **{f"{part}_loss": loss for part, loss in result.losses.items()},
            **result.figures,
            **training_data.figures,
            **{
                f"{part}_certainty": float(found.certainty.mean())
                for part, found in result.predicted.items()
                if found.certainty is not None
            },
            **recorder.oracle,
        }
        earlier = store.attempts(self.fit.id)
        record = outcome_record(
            self.fit,
            status="done",
            started=self.started,
            summary=summary,
            environment={**device(self.fit.execution), **_halvings(self.fit, earlier)},
            earlier=earlier,
        )
        if self.writes:
            recorder.rows += [
                (result.best_step, f"test/{name}", value)
                for name, value in against.get("test", {}).items()
            ]
            return _kept(
                store,
                record,
                metrics=_metrics(self.fit.id, recorder),
                predictions=_predictions(rows, result.predicted),
                weights=weights,
            )
        return record


def _kept(store: Store, record: Record, **results: Any) -> Record:
    """The record that is kept; if another process wrote one first, this attempt is recorded too."""
    first = store.write_run(record, **results)
    if first.environment.get("attempt") != record.environment.get("attempt"):
        late = {"status": "stopped", "reason": "another process finished it first"}
        store.write_attempt(record.model_copy(update=late))
    return first


class RecordedCheckpoints:
    """Checkpoints that hold the recorder's rows beside the fit's state."""

    def __init__(self, inner: Any, recorder: MetricsRecorder) -> None:
        self._inner = inner
        self._recorder = recorder

    def due(self) -> bool:
        return self._inner.due()

    def save(self, step: int, write: Callable[[Path], None]) -> None:
        def both(folder: Path) -> None:
            write(folder)
            self._recorder.save(folder)

        self._inner.save(step, both)

    def latest(self) -> Path | None:
        folder = self._inner.latest()
        if folder is not None:
            self._recorder.load(folder)
            self._recorder.replay()
        return folder


def device(execution: Execution) -> dict[str, Any]:
    """The device that a fit of this process ran on, and a name for this attempt alone."""
    import torch

    from w2s_ray.learn.gpu import uses_gpu

    name = torch.cuda.get_device_name() if uses_gpu(execution) else "cpu"
    attempt = f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4().hex[:8]}"
    return {
        "attempt": attempt,
        "device": name,
        "threads": torch.get_num_threads(),
        "host_cpus": os.cpu_count(),
    }


def _halvings(fit: PlannedFit, earlier: Sequence[Record]) -> dict[str, str]:
    """A note where an earlier attempt ran out of memory with more rows in a forward pass."""

    def rows(execution: Execution) -> tuple[int, int]:
        return execution.rows_at_once(fit.recipe.training.batch_size), execution.evaluation_batch

    before = [
        rows(Execution.model_construct(**attempt.execution))
        for attempt in earlier
        if attempt.cause == "out_of_memory"
    ]
    now, most = rows(fit.execution), max(before, default=(0, 0))
    if most <= now:
        return {}
    return {
        "note": f"memory ran out with {most[0]} rows in a forward pass of training and {most[1]} "
        f"in one of evaluation; it was trained with {now[0]} and {now[1]}"
    }


def _flops(result: FitResult, recipe: FitRecipe) -> dict[str, float]:
    """What the fit took, and what its whole schedule would have taken."""
    from w2s_ray.learn.compute import evaluation_flops, training_flops

    every, trained = result.parameters, result.trained_parameters
    only_last = recipe.training.tuning.kind in ("probe", "last_layers")
    counted = {
        "parameters": every,
        "passed_parameters": trained if only_last else every,
        "trained_parameters": trained,
    }
    return {
        "training_flops": training_flops(**counted, tokens=result.tokens),
        "planned_training_flops": training_flops(**counted, tokens=result.planned_tokens),
        "evaluation_flops": evaluation_flops(parameters=every, tokens=result.evaluated_tokens),
    }


def _metrics(run_id: str, recorder: MetricsRecorder) -> Any:
    import pyarrow as pa

    rows = recorder.rows
    columns: dict[str, list[Any]] = {"run_id": [run_id] * len(rows)}
    for place, name in enumerate(("step", "metric", "value")):
        columns[name] = [row[place] for row in rows]
    return pa.table(columns, schema=METRICS)


def _predictions(rows: SplitRows, predicted: Mapping[str, Predicted]) -> Any:
    import pyarrow as pa

    columns: dict[str, list[Any]] = {name: [] for name in PREDICTIONS.names}
    for part, found in predicted.items():
        columns["example_id"] += rows.ids[part]
        columns["part"] += [part] * len(rows.ids[part])
        columns["probability"] += found.probabilities.tolist()
        columns["answer"] += found.answers or [None] * len(rows.ids[part])
        nothing = [None] * len(rows.ids[part])
        columns["probabilities"] += _distributions(found) or nothing
        columns["extracted"] += found.extracted or nothing
        columns["certainty"] += nothing if found.certainty is None else found.certainty.tolist()
        columns["samples"] += nothing if found.samples is None else map(list, found.samples)
    return pa.table(columns, schema=PREDICTIONS)


def _distributions(found: Predicted) -> list[list[float]] | None:
    """The probability of each class, or of each of a row's choices; None of other predictions."""
    if found.distribution is None:
        return None
    listed = found.distribution.tolist()
    if found.choices is None:
        return listed
    return [each[: len(row)] for each, row in zip(listed, found.choices, strict=True)]
