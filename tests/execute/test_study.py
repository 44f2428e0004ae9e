"""Failures change no study: a lost trial is proposed again, before those that depend on it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.search.recipes import PLAIN, study
from w2s_ray.config import Distribution, Execution, ModelSource
from w2s_ray.execute import study as study_module
from w2s_ray.execute.cluster import Cluster
from w2s_ray.execute.run_context import RunContext
from w2s_ray.execute.study import ProposalSearcher, RungScheduler, Searcher
from w2s_ray.execute.study_state import TRIAL_RETRIES, StudyState
from w2s_ray.execute.trial import trial_function
from w2s_ray.plan import NodeKind, Nodes, PlannedStudy
from w2s_ray.scheduling.requests import RequestId


class ActorStub:
    """A stub for an actor's handle that ignores every call."""

    def __getattr__(self, name: str) -> Any:
        return self

    def remote(self, *arguments: Any, **options: Any) -> None:
        return None


TWO = {"training.lr": Distribution(choice=(1e-3, 1e-4))}


def searcher(tmp_path, space: Any = PLAIN, **settings: Any) -> ProposalSearcher:
    recipe = study(space=space, **settings)
    cells = len(recipe.cells)
    planned = PlannedStudy(
        id=recipe.run_id,
        recipe=recipe,
        method="confidence",
        tasks=("task",) * cells,
        pairs=(("s", "m"),) * cells,
        sources=(ModelSource(name="m", location="m", identity="sha256:m"),) * cells,
        executions=(Execution(),) * cells,
    )
    machine = Cluster(Nodes((NodeKind("node", {"CPU": 2}, 1),)))
    context = RunContext(
        store=str(tmp_path), cluster=machine, progress_tracker=ActorStub(), worker_pool=ActorStub()
    )
    return ProposalSearcher(StudyState(planned, context))


@pytest.fixture(autouse=True)
def failure(monkeypatch) -> list[RequestId]:
    """The requests that studies cancel, for fits without other requests."""
    found: list[RequestId] = []
    monkeypatch.setattr(
        RunContext, "cancel_requests", lambda self, requests: found.extend(requests) or set()
    )
    return found


def test_trials_of_different_studies_have_different_names_in_tune(tmp_path):
    from ray.tune.experiment import Experiment

    states = [searcher(tmp_path, seed=seed).state for seed in (0, 1)]
    functions = [trial_function(state.study, state.context) for state in states]
    names = {Experiment.get_trainable_name(function) for function in functions}
    assert len(names) == 2, "all studies of a driver share Tune's registry of functions"


def end(of: ProposalSearcher, trial_id: str, **fields: Any) -> None:
    """Report the end of a trial to its study."""
    of.on_trial_complete(trial_id, {"ended": True, "study": of.state.study.id, **fields})


def done(of: ProposalSearcher, trial_id: str, value: float) -> None:
    end(of, trial_id, objective=value, curve=[value])


def lose(of: ProposalSearcher, trial_id: str, cause: str) -> None:
    end(of, trial_id, objective=float("nan"), cause=cause, reason=cause)


def test_a_study_rejects_reports_of_another_studys_trial(tmp_path):
    one, other = searcher(tmp_path, seed=0), searcher(tmp_path, seed=1)
    one.suggest("t0")
    fields = {"objective": 0.9, "study": other.state.study.id}
    with pytest.raises(RuntimeError, match=other.state.study.id):
        RungScheduler(one.state).on_trial_result(
            None, SimpleNamespace(trial_id="t0"), {**fields, "ended": False}
        )
    with pytest.raises(RuntimeError, match=other.state.study.id):
        one.on_trial_complete("t0", {**fields, "ended": True})
    assert one.state.store.trials(one.state.study.id) == []


@pytest.mark.parametrize("cause", ["worker_died", "node_lost", "store", "disk_full"])
def test_a_trial_lost_to_a_fault_is_proposed_again_and_changes_nothing(tmp_path, cause):
    undisturbed = searcher(tmp_path / "a", trials=4, concurrent_trials=1)
    expected = []
    for n in range(4):
        expected.append(undisturbed.suggest(f"t{n}"))
        done(undisturbed, f"t{n}", n / 10)
    disturbed = searcher(tmp_path / "b", trials=4, concurrent_trials=1)
    found = []
    for n in range(4):
        lost = disturbed.suggest(f"lost{n}")
        lose(disturbed, f"lost{n}", cause)
        found.append(disturbed.suggest(f"t{n}"))
        assert lost == found[-1]
        done(disturbed, f"t{n}", n / 10)
    assert found == expected
    assert disturbed.suggest("none left") == Searcher.FINISHED
    assert [t["state"] for t in disturbed.state.store.trials(disturbed.state.study.id)] == [
        "complete"
    ] * 4


def test_later_trials_wait_for_a_lost_one(tmp_path):
    two = searcher(tmp_path, trials=4, concurrent_trials=2)
    first, second = two.suggest("a"), two.suggest("b")
    assert [first["number"], second["number"]] == [0, 1]
    done(two, "b", 0.5)
    assert two.suggest("c") is None  # trial 2 may learn from trial 0, which has not ended
    two.on_trial_complete("a", error=True)
    assert two.suggest("d")["number"] == 0


def test_a_trial_that_diverged_or_ran_out_of_memory_has_failed(tmp_path):
    one = searcher(tmp_path, trials=3, concurrent_trials=1)
    for n, cause in enumerate(("diverged", "out_of_memory")):
        one.suggest(f"t{n}")
        lose(one, f"t{n}", cause)
    assert one.suggest("t2")["number"] == 2
    assert {t.state for t in one.state.trials.values()} == {"failed"}


def test_a_study_fails_when_a_trial_is_lost_too_often(tmp_path):
    one = searcher(tmp_path, trials=2, concurrent_trials=1)
    for n in range(TRIAL_RETRIES + 1):
        assert one.state.failure is None
        one.suggest(f"t{n}")
        lose(one, f"t{n}", "node_lost")
    assert one.state.failure is not None
    assert one.state.failure[0] == "node_lost"
    assert one.suggest("more") == Searcher.FINISHED


def test_a_resumed_study_has_every_finished_trial_exactly_once(tmp_path):
    whole = searcher(tmp_path / "a", trials=16, concurrent_trials=1)
    proposals = []
    for n in range(16):
        proposals.append(whole.suggest(f"t{n}"))
        done(whole, f"t{n}", n / 20)
    first = searcher(tmp_path / "b", trials=16, concurrent_trials=1)
    for n in range(7):
        assert first.suggest(f"t{n}") == proposals[n]
        done(first, f"t{n}", n / 20)
    resumed = searcher(tmp_path / "b", trials=16, concurrent_trials=1)
    assert sorted(resumed.state.trials) == list(range(7))
    assert resumed.state.remaining == 9
    for n in range(7, 16):
        assert resumed.suggest(f"r{n}") == proposals[n]
        done(resumed, f"r{n}", n / 20)
    assert resumed.suggest("none left") == Searcher.FINISHED
    assert len(resumed.state.store.trials(resumed.state.study.id)) == 16


def trials_of(of: ProposalSearcher) -> list[dict[str, Any]]:
    return of.state.store.trials(of.state.study.id)


def lr(trial: dict[str, Any]) -> float:
    return trial["settings"]["training.lr"]


def test_no_two_trials_of_a_study_train_the_same_fits(tmp_path):
    of = searcher(tmp_path, TWO, trials=12, concurrent_trials=1)
    trained = []
    while (found := of.suggest(f"t{len(trained)}")) != Searcher.FINISHED:
        trained.append(found)
        done(of, f"t{len(trained) - 1}", 0.1 * len(trained))
    assert 1 <= len(trained) <= 2
    own = {trial["number"]: trial for trial in trials_of(of) if trial["repeat_of"] is None}
    assert sorted(own) == [found["number"] for found in trained]
    assert len(trials_of(of)) == 12
    for trial in trials_of(of):
        first = own.get(trial["repeat_of"], trial)
        fields = ("settings", "fits", "state", "value", "intermediate")
        assert [trial[key] for key in fields] == [first[key] for key in fields]


def both_of_two(tmp_path, **settings: Any) -> tuple[ProposalSearcher, list[dict[str, Any]]]:
    """A study of two settings and twelve trials at once, with the two that train proposed."""
    of = searcher(tmp_path, TWO, trials=12, concurrent_trials=12, sampler="random", **settings)
    first = [of.suggest("first"), of.suggest("second")]
    assert lr(first[0]) != lr(first[1])
    assert of.suggest("none") is None, "the others wait for these, one of which may be lost"
    return of, first


def test_a_trial_waits_for_an_equal_running_one_and_gets_its_result(tmp_path):
    of, (first, second) = both_of_two(tmp_path)
    assert trials_of(of) == []
    done(of, "first", 0.7)
    assert {lr(trial) for trial in trials_of(of)} == {lr(first)}
    done(of, "second", 0.8)
    assert of.suggest("none left") == Searcher.FINISHED
    values = {lr(first): 0.7, lr(second): 0.8}
    assert [trial["value"] for trial in trials_of(of)] == [values[lr(t)] for t in trials_of(of)]
    assert len(trials_of(of)) == 12


@pytest.mark.parametrize("ends", ["pruned", "failed"])
def test_a_repeat_of_a_trial_that_was_not_complete_ends_as_that_one(tmp_path, failure, ends):
    of, (first, _) = both_of_two(tmp_path)
    if ends == "pruned":
        of.state.observe(first["number"], 1, 0.4)
        of.on_trial_complete("first", {"ended": False, "study": of.state.study.id})
    else:
        lose(of, "first", "diverged")
    found = trials_of(of)
    assert len(found) > 1
    assert {trial["state"] for trial in found} == {ends}
    assert {lr(trial) for trial in found} == {lr(first)}
    assert len({tuple(trial["intermediate"]) for trial in found}) == 1
    assert {(r.queue, r.priority) for r in failure} == {(of.state.study.id, first["number"])}


def test_repeats_of_a_lost_trial_wait_until_it_has_run_again(tmp_path, failure):
    of, (first, _) = both_of_two(tmp_path)
    lose(of, "first", "node_lost")
    assert trials_of(of) == []
    assert failure == [], "the trial makes the same requests again"
    assert of.suggest("again") == first
    done(of, "again", 0.6)
    assert {trial["value"] for trial in trials_of(of)} == {0.6}


def test_a_resumed_study_has_its_repeats_once(tmp_path):
    of, _ = both_of_two(tmp_path)
    done(of, "first", 0.7)
    before = trials_of(of)
    resumed = searcher(tmp_path, TWO, trials=12, concurrent_trials=12, sampler="random")
    assert resumed.suggest("second") is not None
    done(resumed, "second", 0.8)
    assert resumed.suggest("none left") == Searcher.FINISHED
    after = trials_of(resumed)
    assert len(after) == 12
    assert [trial for trial in after if trial["value"] == 0.7] == before


def test_trials_that_were_stored_without_the_trial_they_repeat_are_read(tmp_path):
    of, _ = both_of_two(tmp_path)
    done(of, "first", 0.7)
    for trial in trials_of(of):
        del trial["repeat_of"]
        of.state.store.write_trial(of.state.study.id, trial["number"], trial)
    resumed = searcher(tmp_path, TWO, trials=12, concurrent_trials=12, sampler="random")
    assert {trial.repeat_of for trial in resumed.state.trials.values()} == {None}


def test_a_study_records_how_many_of_its_trials_were_repeats(tmp_path, monkeypatch):
    of, _ = both_of_two(tmp_path)

    def tune(study: PlannedStudy, state: StudyState, **options: Any) -> None:
        searcher = ProposalSearcher(state)
        assert [searcher.suggest(f"t{n}") is None for n in range(3)] == [False, False, True]
        for n in range(2):
            done(searcher, f"t{n}", 0.5 + n / 10)

    monkeypatch.setattr(study_module, "_tune", tune)
    record = study_module.run_study(of.state.study, context=of.state.context, at_once=2)
    assert {key: record.summary[key] for key in ("trials", "complete", "repeats")} == {
        "trials": 12,
        "complete": 12,
        "repeats": 10,
    }


def test_a_study_with_only_repeats_left_starts_no_trials(tmp_path, monkeypatch):
    of, _ = both_of_two(tmp_path)
    done(of, "first", 0.7)
    done(of, "second", 0.8)
    for trial in trials_of(of):  # as if the process had ended before it wrote them
        if trial["repeat_of"] is not None:
            (path,) = tmp_path.glob(f"**/trials/{trial['number']}.json")
            path.unlink()
    monkeypatch.setattr(study_module, "_tune", None)
    record = study_module.run_study(of.state.study, context=of.state.context, at_once=2)
    assert record.summary["repeats"] == 10
