"""A budget: the device time that counts, and the end, before Ray starts and while it runs."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.plan.test_plan import SEARCH, inputs
from tests.store.builders import a_record
from tests.support import sweep_text, w2s
from w2s_ray.cli.cost_options import budget_of
from w2s_ray.config import load_sweep, parse_sweep
from w2s_ray.config.budget import Budget
from w2s_ray.plan import make_plan
from w2s_ray.prepare import plan_sweep
from w2s_ray.status import budget as budget_module
from w2s_ray.status.budget import BudgetGuard, fits_left, running_fits
from w2s_ray.status.run_state import ProgressSnapshot, RunState
from w2s_ray.store import Store

HOUR = Budget(1, "device-hours")
PLAN = make_plan(parse_sweep(SEARCH), inputs())
FITS = list(PLAN.fits)


def snapshot(**seconds: float) -> ProgressSnapshot:
    """A snapshot with fits of two devices with these durations, a study, and a queued fit."""
    now = time.time()
    return ProgressSnapshot(
        run_states={
            **{run: RunState({"devices": 2}, "running", now - s) for run, s in seconds.items()},
            "study": RunState({}, "running", now - 9999),
            "waits": RunState({"devices": 2}, "waiting", now - 9999),
            "starts": RunState({"devices": 2}, "starting", now - 9999),
        }
    )


def test_done_and_running_fits_count_together(tmp_path):
    store = Store.open(tmp_path)
    store.write_run(a_record(id=FITS[0], device_seconds=1000.0))
    budget_guard = BudgetGuard(HOUR, store)
    budget_guard.count(PLAN)
    assert not budget_guard.is_spent(snapshot(x=600, y=600))
    assert budget_guard.seconds == pytest.approx(1000 + 2400, abs=5)
    assert running_fits(snapshot(x=600, y=600)) == 2
    assert not budget_guard.is_spent(snapshot())
    assert budget_guard.seconds == pytest.approx(3400, abs=5), "ended, and not yet in the store"
    assert budget_guard.is_spent(snapshot(z=1400))
    assert budget_guard.is_spent(snapshot()), "spent is spent"
    assert budget_guard.spent_text is not None
    assert budget_guard.spent_text.endswith("of 1 device-hours spent")


def test_without_a_budget_nothing_is_counted(tmp_path):
    budget_guard = BudgetGuard(None, Store.open(tmp_path))
    with budget_guard.following(lambda: PLAN):
        assert not budget_guard.is_spent(snapshot(x=1e9))
    assert (budget_guard.spent_text, budget_guard.seconds) == (None, 0.0)


def test_it_follows_a_plan_that_grows(tmp_path, monkeypatch):
    monkeypatch.setattr(budget_module, "MIN_INTERVAL_S", 0.02)
    store = Store.open(tmp_path)
    budget_guard = BudgetGuard(HOUR, store)
    with budget_guard.following(lambda: PLAN):
        store.write_run(a_record(id=FITS[1], device_seconds=3601.0))
        deadline = time.monotonic() + 30
        while not budget_guard.is_spent(snapshot()) and time.monotonic() < deadline:
            time.sleep(0.01)
    assert budget_guard.spent


def test_the_remaining_fits_include_trials_and_refits(tmp_path):
    store = Store.open(tmp_path)
    before = fits_left(PLAN, store)
    assert before == len(PLAN.fits) + PLAN.trials + PLAN.waiting
    store.write_run(a_record(id=FITS[0]))
    assert fits_left(PLAN, store) == before - 1
    study = next(iter(PLAN.studies))
    lost = {study, *PLAN.blocked_by([study])}
    assert fits_left(PLAN, store, lost=lost) == before - 1 - PLAN.trials - PLAN.waiting


def test_a_budget_spent_by_earlier_calls_starts_nothing_not_even_ray(tmp_path: Path):
    path = tmp_path / "sweep.yaml"
    path.write_text(sweep_text(tmp_path))
    sweep = load_sweep(path)
    store = Store.open(sweep.store)
    plan = plan_sweep(sweep, store=store)
    store.write_run(a_record(id=next(iter(plan.fits)), device_seconds=7200.0))
    money = ("--price-per-hour", "2", "--currency", "USD")
    ended = w2s("run", path, "--budget", "3 USD", *money)
    assert ended.returncode == 130
    left = len(plan.fits) - 1
    lines, next_steps = ended.stderr.split("\nnext:\n")
    assert f"run {path} --budget '3 USD' {' '.join(money)} " in next_steps
    assert lines.splitlines()[-2:] == [
        f"4.00 of 3 USD spent (2 device-hours); {left} fits are not done, trials included",
        f"stopped by its budget of 3 USD: 1 of {len(plan.fits)} planned runs are in {store.uri}; "
        "run the same command again with a larger budget, or none, to resume",
    ]
    assert "starting Ray" not in ended.stderr


def test_a_bill_has_a_price_without_an_accelerator_and_an_estimate_has_none(tmp_path: Path):
    path = tmp_path / "sweep.yaml"
    path.write_text(sweep_text(tmp_path))
    store = Store.open(load_sweep(path).store)
    plan = plan_sweep(load_sweep(path), store=store)
    store.write_run(a_record(id=next(iter(plan.fits)), device_seconds=7200.0))
    price = ("--price-per-hour", "2", "--currency", "EUR")
    bill = w2s("cost", path, *price)
    assert " of one device = 4.00 EUR\n" in bill.stdout
    assert json.loads(w2s("cost", path, *price, "--format", "json").stdout)["price"] == {
        "per_hour": 2.0,
        "currency": "EUR",
    }
    planned = w2s("plan", path, *price)
    assert planned.returncode == 2
    assert "--price-per-hour needs device time; add --accelerator NAME" in planned.stderr
    assert "at 2 EUR for a device hour: " in w2s("plan", path, *price, "--accelerator", "L4").stdout


def test_missing_options_of_a_budget_are_named():
    found = budget_of("3 USD", price_per_hour=1.0, currency="USD")
    assert found is not None
    assert found.device_seconds == 3 * 3600
    assert budget_of(None, price_per_hour=None, currency=None) is None
    with pytest.raises(ValueError, match="is the price of a budget; add --budget"):
        budget_of(None, price_per_hour=1.0, currency="USD")
    with pytest.raises(ValueError, match="without a currency; add --currency"):
        budget_of("3 USD", price_per_hour=1.0, currency=None)
    with pytest.raises(ValueError, match="add --price-per-hour and --currency"):
        budget_of("3 USD", price_per_hour=None, currency=None)


@pytest.mark.ray
@pytest.mark.timeout(600)
def test_at_its_budget_a_sweep_finishes_running_fits_and_starts_nothing(tmp_path):
    path = tmp_path / "sweep.yaml"
    text = sweep_text(tmp_path).replace("pairs: [[a, b], [b, c]]", "pairs: [[a, b]]")
    assert "epochs: 2," in text
    path.write_text(
        text.replace("epochs: 2,", "epochs: 60,")
    )  # long enough to be snapshot under way
    store = Store.open(tmp_path / "results")
    ended = w2s("run", path, "--budget", "0.00001 device-hours")
    assert ended.returncode == 130, ended.stderr
    assert "nothing new starts" in ended.stderr
    assert "stopped by its budget of 1e-05 device-hours" in ended.stderr
    assert 0 < len(store.all_done()) <= 4, "the two students wait for those"
    assert {run.id for run in store.latest()} == store.all_done(), "nothing has failed"
    assert store.work.fit_ids() == set(), "nothing was interrupted"
