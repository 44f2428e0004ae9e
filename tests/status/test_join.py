"""The status of a sweep from a store and its drivers: states, reasons, trials, remaining work."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console

from tests.plan.test_plan import SEARCH, inputs
from tests.store.builders import a_record
from w2s_ray.config import parse_sweep
from w2s_ray.plan import Plan, PlannedFit, make_plan
from w2s_ray.status.join import StoreState, status_of
from w2s_ray.status.layout import status_layout
from w2s_ray.status.remaining import FitToDo, estimate_remaining
from w2s_ray.status.values import Status, Waiting
from w2s_ray.store import Record
from w2s_ray.store.heartbeats import DriverState
from w2s_ray.store.leases import Holder

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
PLAN = make_plan(parse_sweep(SEARCH), inputs())
(STUDY,) = PLAN.studies.values()
SUPERVISORS = [fit for fit in PLAN.fits.values() if fit.roles == ("supervisor",)]
STUDENTS = [fit for fit in PLAN.fits.values() if fit.roles == ("student",)]


def record(fit: PlannedFit, *, seconds: float = 10.0, **changes: Any) -> Record:
    summary = {"setup_seconds": 0.0, "training_flops": 100.0}
    about = {
        "task": fit.task,
        "model": fit.source.name,
        "method": "/".join(fit.methods) or None,
    }
    known = {"about": about, "summary": summary, "seconds": seconds, "device_seconds": seconds}
    return a_record(id=fit.id, **{**known, **changes})


def failure(fit: PlannedFit, cause: str) -> Record:
    return record(fit, status="failed", cause=cause, reason=f"{cause}!", summary={})


def driver(
    *runs: dict[str, Any], phase: str = "running", watched: Any = (), failed: Any = ()
) -> DriverState:
    about = {
        "sweep": "grid",
        "phase": phase,
        "started_at": NOW.isoformat(),
        "runs": list(runs),
        "watched": list(watched),
        "failed": list(failed),
        "at_once": 2,
    }
    return DriverState(holder=Holder.here(), beat=1, written_at=NOW.isoformat(), about=about)


def run_state(fit: PlannedFit, state: str, **more: Any) -> dict[str, Any]:
    known = {"run": fit.id, "state": state, "since": NOW.timestamp() - 30, "step": None}
    return {**known, "steps": None, "roles": fit.roles, "task": fit.task, **more}


def status(
    *drivers: DriverState,
    plan: Plan = PLAN,
    done: tuple[PlannedFit, ...] = (),
    dead: tuple[DriverState, ...] = (),
    attempts: dict[str, tuple[Record, ...]] | None = None,
    trials: list[dict[str, Any]] | None = None,
    holder: Holder | None = None,
) -> Status:
    records = {fit.id: record(fit) for fit in done}
    found = status_of(
        StoreState(
            plan=plan,
            store="results",
            known=bool(records or attempts or drivers or dead),
            drivers=(*((state, True) for state in drivers), *((state, False) for state in dead)),
            done=frozenset(records),
            records=records,
            attempts=attempts or {},
            trials={study: trials or [] for study in plan.studies},
            holder=lambda _: holder,
        )
    )
    assert json.loads(json.dumps(dataclasses.asdict(found)))["sweep"] == "grid"
    ended = found.done + len(found.failed) + len(found.blocked) + len(found.waiting)
    fits = sum(fit.study is None for fit in found.running)
    assert found.total == ended + fits + sum(s.state == "running" for s in found.studies)
    return found


def waiting(found: Status, run: str) -> Waiting:
    (only,) = [w for w in found.waiting if w.run == run]
    return only


def test_an_untouched_sweep_waits_for_a_driver_and_for_what_comes_first():
    found = status()
    assert (found.state, found.done, found.left) == ("untouched", 0, None)
    assert waiting(found, SUPERVISORS[0].id).why == "driver"
    student = waiting(found, STUDENTS[0].id)
    assert (student.why, student.of) == ("supervisor", STUDENTS[0].parents[0])
    assert student.reason == "supervisor s on creak, seed 0, which waits too"
    refits = [w for w in found.waiting if w.run is None]
    assert len(refits) == PLAN.waiting
    assert {(w.why, w.of) for w in refits} == {("study", STUDY.id)}


def test_running_fits_have_steps_that_the_runs_waiting_for_them_show():
    first = SUPERVISORS[0]
    found = status(driver(run_state(first, "running", step=4, steps=16, place="node, GPU 1")))
    (fit,) = found.running
    assert (fit.run, fit.description, fit.role) == (first.id, first.description, "supervisor")
    assert (fit.step, fit.steps, fit.place, fit.for_s) == (4, 16, "node, GPU 1", 30)
    assert found.state == "running"
    student = next(s for s in STUDENTS if s.parents == (first.id,))
    assert waiting(found, student.id).reason == f"{first.description}, running at step 4 of 16"


@pytest.mark.parametrize(
    ("state", "why", "words"),
    [
        (driver(phase="starting Ray"), "start", "Ray is starting"),
        (driver(), "room", "free resources on the cluster"),
        (driver(run_state(SUPERVISORS[0], "waiting")), "room", "free resources on the cluster"),
        (driver(watched=[SUPERVISORS[0].id]), "start", "its start"),
        (driver(run_state(SUPERVISORS[0], "held")), "lease", "process 7 on far holds its lease"),
    ],
)
def test_a_run_that_has_not_started_has_a_reason(state: DriverState, why: str, words: str):
    holder = Holder(host="far/boot/pid", pid=7, started=None, token="t")
    found = waiting(status(state, holder=holder), SUPERVISORS[0].id)
    assert found.why == why
    assert words in found.reason


def test_a_study_waits_for_a_slot_among_the_concurrent_studies():
    found = waiting(status(driver(), done=tuple(SUPERVISORS)), STUDY.id)
    assert found.why == "turn"
    assert "limits.studies_at_once" in found.reason


def test_a_failure_counts_once_the_driver_reports_it_as_final():
    first = SUPERVISORS[0]
    tries = (failure(first, "worker_died"), failure(first, "stalled"))
    again = status(driver(watched=[first.id]), attempts={first.id: tries})
    assert again.failed == ()
    assert waiting(again, first.id).reason == "its next attempt, after stalled"
    for found in (
        status(driver(failed=[first.id]), attempts={first.id: tries}),
        status(attempts={first.id: tries}),
    ):
        (lost,) = found.failed
        assert (lost.run, lost.cause, lost.reason) == (first.id, "stalled", "stalled!")
        assert (lost.attempts, lost.retries) == (2, {"worker_died": 1})
        students = {s.id for s in STUDENTS if s.parents == (first.id,)}
        assert students <= {b.run for b in found.blocked}
        assert {b.failed_run for b in found.blocked} == {first.description}
        (study,) = found.studies
        assert study.state == "blocked"
        refits = [b for b in found.blocked if b.run is None]
        assert len(refits) == PLAN.waiting


def test_a_sweep_whose_rest_is_lost_has_failed():
    lost = {fit.id: (failure(fit, "diverged"),) for fit in PLAN.fits.values() if not fit.parents}
    found = status(attempts=lost)
    assert found.state == "failed"
    assert found.waiting == ()
    assert found.left is None


def test_a_driver_that_is_gone_runs_nothing():
    found = status(dead=(driver(run_state(SUPERVISORS[0], "running")),), done=(SUPERVISORS[1],))
    assert found.state == "unfinished"
    assert not found.under_way
    assert found.running == ()
    assert [d.alive for d in found.drivers] == [False]
    assert waiting(found, SUPERVISORS[0].id).why == "driver"


def test_a_record_takes_precedence_over_an_earlier_heartbeat():
    found = status(driver(run_state(SUPERVISORS[0], "running")), done=(SUPERVISORS[0],))
    assert found.running == ()
    assert found.done == 1


def test_of_two_drivers_the_one_that_runs_a_fit_takes_precedence():
    held, runs = run_state(SUPERVISORS[0], "held"), run_state(SUPERVISORS[0], "running")
    for drivers in ((driver(held), driver(runs)), (driver(runs), driver(held))):
        assert [fit.run for fit in status(*drivers).running] == [SUPERVISORS[0].id]


def test_a_studys_trials_are_counted_and_its_fits_named():
    trials = [
        {"number": 0, "state": "complete", "value": 0.7, "fits": []},
        {"number": 1, "state": "complete", "value": 0.8, "fits": []},
        {"number": 2, "state": "pruned", "value": None, "fits": []},
        {"number": 3, "state": "pruned", "value": None, "fits": [], "repeat_of": 2},
    ]
    (fit,) = STUDY.trial_fits({"loss.alpha": 0.5})
    about = {"queue": STUDY.id, "priority": 3, "method": "found", "model": "m", "weak": "s"}
    state = driver(
        {"run": STUDY.id, "state": "running", "since": NOW.timestamp()},
        run_state(fit, "running", **about),
    )
    found = status(state, done=tuple(SUPERVISORS), trials=trials)
    (study,) = found.studies
    assert (study.state, study.trials, study.best) == ("running", 5, 0.8)
    assert (study.complete, study.pruned, study.failed, study.running) == (2, 2, 0, 1)
    assert study.repeats == 1
    (running,) = found.running
    assert (running.study, running.trial, running.role) == (STUDY.id, 3, "trial")
    assert running.description == "trial 3 of found: m taught by s on creak"


def test_the_remaining_time_follows_from_similar_fits():
    first, second = SUPERVISORS[:2]
    found = status(driver(run_state(second, "running", step=8, steps=16)), done=(first,))
    left = found.left
    assert left is not None
    to_train = len(PLAN.fits) - 1 + STUDY.recipe.trials + PLAN.waiting
    assert (left.fits, left.from_fits) == (to_train, 1)
    assert left.flops == pytest.approx(100 * (to_train - 0.5))
    assert left.device_seconds == pytest.approx(10 * (to_train - 0.5))
    assert left.seconds == pytest.approx(left.device_seconds / 2)
    of_first = [fit for fit in PLAN.fits.values() if fit.source.name == first.source.name]
    assert left.guessed == to_train - (len(of_first) - 1)
    assert status(done=(first,)).left is not None
    assert status(done=(first,)).left.seconds is None  # pyright: ignore[reportOptionalMemberAccess]


def test_the_remaining_time_includes_the_first_reading_of_a_task_by_a_model():
    def done(task: str, model: str, setup_s: float) -> Record:
        return Record.model_validate(
            {
                **{"id": f"{task}{model}{setup_s}", "kind": "fit", "status": "done"},
                **{"recipe": {}, "seconds": setup_s + 1.0, "device_seconds": setup_s + 1.0},
                **{"about": {"task": task, "model": model}, "identity_version": 1},
                **dict.fromkeys(("started_at", "ended_at"), "2026-01-01T00:00:00Z"),
                "summary": {"setup_seconds": setup_s, "training_flops": 1.0},
            }
        )

    finished = [done("a", "m", 60.0), done("a", "m", 0.0), done("a", "s", 20.0)]
    todo = [FitToDo(task, model, None) for task in "aab" for model in ("m", "s")]
    left = estimate_remaining(todo, finished=finished, running=(), at_once=1)
    assert left is not None
    assert left.seconds == pytest.approx(6 * 1.0 + 60.0 + 20.0)  # task b is read by m and by s
    assert left.device_seconds == pytest.approx(left.seconds)


def test_the_remaining_time_includes_the_usual_setup_of_each_fit():
    setups = (90.0, 80.0, 10.0, 12.0, 30.0)  # two of them read the rows, or waited for it
    finished = [
        a_record(f"p{i}").model_copy(
            update={
                "about": {"task": "a", "model": "m"},
                "seconds": setup + 1.0,
                "device_seconds": setup + 1.0,
                "summary": {"setup_seconds": setup},
            }
        )
        for i, setup in enumerate(setups)
    ]
    todo = [FitToDo("a", "m", None)] * 10
    left = estimate_remaining(todo, finished=finished, running=(), at_once=2)
    assert left is not None
    each = 1.0 + (12 + 12 + 10 + 12 + 12) / 5
    assert left.seconds == pytest.approx(10 * each / 2)
    other = estimate_remaining([FitToDo("b", "m", None)], finished=finished, running=(), at_once=2)
    assert other is not None
    assert other.seconds == pytest.approx(each + 90 - 12)


def test_nothing_is_left_of_a_complete_sweep():
    text = SEARCH.split("  found:")[0]
    plan = make_plan(parse_sweep(text), inputs())
    found = status(plan=plan, done=tuple(plan.fits.values()))
    assert (found.state, found.left, found.waiting) == ("complete", None, ())


def test_the_spent_part_of_a_drivers_budget_is_shown():
    state = driver()
    about = {**state.about, "budget": "3.00 of 50 USD spent (1.5 device-hours)"}
    bounded = status(state.model_copy(update={"about": about}))
    assert bounded.drivers[0].budget == about["budget"]
    assert about["budget"] in shown(bounded)
    assert status(state).drivers[0].budget is None


def shown(found: Status) -> str:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(status_layout(found))
    return captured.get()
