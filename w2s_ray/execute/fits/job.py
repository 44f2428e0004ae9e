"""Training one planned fit in this process, from the store's rows to the store's record.

Owns the way in (rows, tokens, labels), the loop's call, and the way out (figures, predictions,
curves), and the boundary at which a failure becomes a record. It may be alone or one worker of a
group; it knows nothing of claims, of the order of runs and of Ray.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import time
import traceback
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from w2s_ray.data.cache import cache_folder
from w2s_ray.execute.causes import cause_of
from w2s_ray.execute.fits.labels import SplitRows, parts_of, targets
from w2s_ray.execute.fits.ledger import Ledger, against_truth
from w2s_ray.execute.outcome import outcome_record, reason_of
from w2s_ray.learn.contract import Control, FitResult, Left, Stopped
from w2s_ray.plan import PlannedFit
from w2s_ray.spec import Execution, FitRecipe
from w2s_ray.store import Record, Store
from w2s_ray.store.tables import METRICS, PREDICTIONS


class Reporter(Control, Protocol):
    """A control that is told how far a fit is."""

    def step(self, number: int, total: int) -> None:
        """The fit is at step `number` of `total`; told every half second at most."""
        ...

    def evaluated(self, evaluation: Mapping[str, Any]) -> None:
        """The fit has evaluated."""
        ...


@dataclass
class FitJob:
    """One fit in this process: alone, or as one worker of its group."""

    fit: PlannedFit
    control: Reporter | None = None
    """Is told how far the fit is, and says whether it goes on."""
    writes: bool = True
    """Whether this worker writes the results (worker 0 does)."""
    started: float = field(default_factory=time.time)

    def run(self, store: Store, *, checkpoints: Any) -> Record:
        """Train, predict, record. A failure becomes a record, which is returned, not written.

        Raises:
            Stopped, Left: `control` ended the fit, which is no failure and leaves no record.
        """
        try:
            return self._train(store, checkpoints)
        except (Stopped, Left):
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

        from w2s_ray.learn.contract import FitData
        from w2s_ray.learn.loop import fit as train

        recipe = self.fit.recipe
        torch.set_num_threads(self.fit.execution.cpus_per_worker)
        rows = SplitRows.of(store.split(recipe.split))
        tokens = self._tokens(rows)
        labels = targets(recipe, rows, weak=_weak_labels(store, recipe))
        data = FitData(
            train=tokens[recipe.train_on],
            train_targets_NC=labels.train_NC,
            validation=tokens["validation"],
            validation_targets_MC=labels.validation_MC,
            predict=parts_of(tokens, recipe),
        )
        ledger = self._ledger(rows)
        weights = Path(tempfile.mkdtemp(prefix="w2s-weights-")) / "weights"
        setup_s = time.time() - self.started
        try:
            result = train(
                recipe,
                data=data,
                source=self.fit.source,
                execution=self.fit.execution,
                observer=ledger,
                checkpoints=LedgerCheckpoints(checkpoints, ledger),
                control=self.control,
                weights=weights,
            )
            kept = weights if weights.exists() else None
            return self._record(store, rows, ledger, result, kept, setup_s)
        finally:
            shutil.rmtree(weights.parent, ignore_errors=True)

    def _tokens(self, rows: SplitRows) -> dict[str, Any]:
        """The parts that this fit touches, tokenized once per machine and tokenizer."""
        from w2s_ray.learn.tokens import cached_tokens, tokenize, tokens_key

        recipe, source = self.fit.recipe, self.fit.source
        limit = recipe.training.max_tokens
        key = tokens_key(source, max_tokens=limit)
        return {
            part: cached_tokens(
                cache_folder() / "tokens",
                (recipe.split, part, key),
                lambda part=part: tokenize(rows.texts[part], source=source, max_tokens=limit),
            )
            for part in dict.fromkeys((recipe.train_on, "validation", *recipe.predicts))
        }

    def _ledger(self, rows: SplitRows) -> Ledger:
        recipe = self.fit.recipe
        noted = "test" in recipe.predicts and not recipe.learns_from_ground_truth
        return Ledger(
            truth_M=rows.truth["validation"],
            test_truth_N=rows.truth["test"] if noted else None,
            evaluations=recipe.training.evaluations,
            on_step=self.control.step if self.control is not None else None,
            on_evaluation=self.control.evaluated if self.control is not None else None,
        )

    def _record(
        self,
        store: Store,
        rows: SplitRows,
        ledger: Ledger,
        result: FitResult,
        weights: Path | None,
        setup_s: float,
    ) -> Record:
        against = {
            part: against_truth(p, rows.truth[part]) for part, p in result.probabilities.items()
        }
        summary = {
            "parameters": result.parameters,
            "trained_parameters": result.trained_parameters,
            "steps": result.steps,
            "total_steps": result.total_steps,
            "best_step": result.best_step,
            "stopped_early": result.stopped_early,
            "tokens": result.tokens,
            **_flops(result),
            "setup_seconds": setup_s,
            "training_seconds": result.seconds,
            "train_loss": result.train_loss,
            **{
                f"{part}_{name}": value
                for part, figures in against.items()
                for name, value in figures.items()
            },
            "validation_agreement": result.validation_agreement,
            "validation_loss": result.validation_loss,
            **ledger.oracle,
        }
        record = outcome_record(
            self.fit,
            status="done",
            started=self.started,
            summary=summary,
            environment=device(self.fit.execution),
            earlier=store.attempts(self.fit.id),
        )
        if self.writes:
            ledger.rows += [
                (result.best_step, f"test/{name}", value)
                for name, value in against.get("test", {}).items()
            ]
            return _kept(
                store,
                record,
                metrics=_metrics(self.fit.id, ledger),
                predictions=_predictions(rows, result.probabilities),
                weights=weights,
            )
        return record


def _kept(store: Store, record: Record, **results: Any) -> Record:
    """The record that counts; if somebody else's does, that this one was for nothing is noted."""
    first = store.write_run(record, **results)
    if first.environment.get("attempt") != record.environment.get("attempt"):
        late = {"status": "stopped", "reason": "somebody else had finished it by then"}
        store.write_attempt(record.model_copy(update=late))
    return first


class LedgerCheckpoints:
    """Checkpoints that hold the ledger's rows beside the fit's state."""

    def __init__(self, inner: Any, ledger: Ledger) -> None:
        self._inner = inner
        self._ledger = ledger

    def due(self) -> bool:
        return self._inner.due()

    def save(self, step: int, write: Callable[[Path], None]) -> None:
        def both(folder: Path) -> None:
            write(folder)
            self._ledger.save(folder)

        self._inner.save(step, both)

    def latest(self) -> Path | None:
        folder = self._inner.latest()
        if folder is not None:
            self._ledger.load(folder)
            self._ledger.replay()
        return folder


def device(execution: Execution) -> dict[str, Any]:
    """The device that a fit of this process ran on, and a name for this attempt alone."""
    import torch

    on_gpu = torch.cuda.is_available() and execution.gpus_per_worker != 0
    name = torch.cuda.get_device_name() if on_gpu else "cpu"
    attempt = f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4().hex[:8]}"
    return {
        "attempt": attempt,
        "device": name,
        "threads": torch.get_num_threads(),
        "host_cpus": os.cpu_count(),
    }


def _weak_labels(store: Store, recipe: FitRecipe) -> Mapping[tuple[str, str], float] | None:
    """(part, example id) -> the supervisor's probability of class 1."""
    if recipe.learns_from_ground_truth:
        return None
    table = store.predictions(recipe.labels)
    columns = [table.column(name).to_pylist() for name in ("part", "example_id", "probability")]
    return {(part, row): p for part, row, p in zip(*columns, strict=True)}


def _flops(result: FitResult) -> dict[str, float]:
    """What the fit took, and what its whole schedule would have taken."""
    from w2s_ray.learn.compute import evaluation_flops, training_flops

    every, trained = result.parameters, result.trained_parameters
    return {
        "training_flops": training_flops(
            parameters=every, trained_parameters=trained, tokens=result.tokens
        ),
        "planned_training_flops": training_flops(
            parameters=every, trained_parameters=trained, tokens=result.planned_tokens
        ),
        "evaluation_flops": evaluation_flops(parameters=every, tokens=result.evaluated_tokens),
    }


def _metrics(run_id: str, ledger: Ledger) -> Any:
    import pyarrow as pa

    steps, names, values = zip(*ledger.rows, strict=True)
    columns = {"run_id": [run_id] * len(steps), "step": steps, "metric": names, "value": values}
    return pa.table({name: list(column) for name, column in columns.items()}, schema=METRICS)


def _predictions(rows: SplitRows, probabilities: Mapping[str, Any]) -> Any:
    import pyarrow as pa

    columns: dict[str, list[Any]] = {"example_id": [], "part": [], "probability": []}
    for part, values in probabilities.items():
        columns["example_id"] += rows.ids[part]
        columns["part"] += [part] * len(values)
        columns["probability"] += values.tolist()
    return pa.table(columns, schema=PREDICTIONS)
