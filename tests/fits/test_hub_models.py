"""A fit of a hub model: planned, downloaded and trained, and what its record says if that fails."""

from __future__ import annotations

import pytest

from tests.hub_server import HubServer, Repository, hub_server, use_hub
from tests.support import NoCheckpoints, make_model
from w2s_ray.config import parse_sweep
from w2s_ray.data import hub, inputs, models
from w2s_ray.fits.train_fit import FitTraining
from w2s_ray.plan import Plan
from w2s_ray.prepare import materialize, plan_sweep
from w2s_ray.store import Record, Store

SWEEP = """\
name: s
task: {name: embedded, train: 40, validation: 10, test: 10}
models: [org/m, "embedded:xs"]
methods: {naive: {}}
training: {epochs: 1, batch_size: 8, max_tokens: 16}
"""


class Reports:
    """A control that keeps the reports of a download."""

    def __init__(self) -> None:
        self.fetched: list[tuple[int, int]] = []

    def next_command(self) -> str:
        return "go"

    def step(self, number: int, total: int) -> None: ...

    def evaluated(self, evaluation: object) -> None: ...

    def fetching(self, done: int, total: int) -> None:
        self.fetched.append((done, total))


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    with hub_server() as running:
        use_hub(monkeypatch, running.url, tmp_path / "datasets")
        folder = make_model(tmp_path / "m")
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        running.models["org/m"] = Repository.of(files)
        yield running


def planned(monkeypatch, store: Store) -> Plan:
    """The sweep's plan, as a new process makes it, and its rows in the store."""
    fresh = hub.Lookups()
    for module in (inputs, models):
        monkeypatch.setattr(module, "LOOKUPS", fresh)
    plan = plan_sweep(parse_sweep(SWEEP, name="s"), store=store)
    materialize(plan, store)
    return plan


def trained(plan: Plan, store: Store, control: Reports | None = None) -> Record:
    fit = next(fit for fit in plan.fits.values() if fit.roles == ("supervisor",))
    return FitTraining(fit, control=control).run(store, checkpoints=NoCheckpoints())


def test_it_is_trained_and_again_without_a_network(server: HubServer, tmp_path, monkeypatch):
    store, reports = Store.open(tmp_path / "store"), Reports()
    plan = planned(monkeypatch, store)
    first = trained(plan, store, reports)
    assert first.status == "done", first.traceback
    commit = server.models["org/m"].main
    assert first.recipe["model"] == f"hub:org/m@{commit}"
    done, total = reports.fetched[-1]
    assert done == total > 0
    server.disappear()
    other = Store.open(tmp_path / "other")
    again = trained(planned(monkeypatch, other), other)
    assert again.status == "done", again.traceback
    assert (again.id, again.summary["train_loss"]) == (first.id, first.summary["train_loss"])


def test_trouble_of_the_network_is_tried_again(server: HubServer, tmp_path, monkeypatch):
    store = Store.open(tmp_path / "store")
    plan = planned(monkeypatch, store)
    server.status = 503
    record = trained(plan, store)
    assert (record.status, record.cause) == ("failed", "network")
    assert record.reason is not None
    assert "model org/m can't be downloaded from" in record.reason


@pytest.mark.parametrize(
    ("fault", "line"),
    [("gate", "model 'org/m' is gated"), ("gone", "correct the name or the revision")],
)
def test_what_the_hub_refuses_is_final(server: HubServer, tmp_path, monkeypatch, fault, line):
    store = Store.open(tmp_path / "store")
    plan = planned(monkeypatch, store)
    if fault == "gate":
        server.models["org/m"].gated = "manual"
    else:
        del server.models["org/m"]
    record = trained(plan, store)
    assert (record.status, record.cause) == ("failed", "error")
    assert line in str(record.reason)
