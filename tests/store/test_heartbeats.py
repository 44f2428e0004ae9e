"""What drivers say of themselves: heard whole, never in the way, and told from the silence of one.

A driver on another machine is stood in for by a holder whose host is another's.
"""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from w2s_ray.store import Store
from w2s_ray.store import heartbeats as live_module
from w2s_ray.store.heartbeats import DriverState, LivenessMonitor, heard, remove_driver_state, say
from w2s_ray.store.leases import Holder


def news(holder: Holder, *, beat: int = 1, age_s: float = 0.0) -> DriverState:
    moment = datetime.now(UTC) - timedelta(seconds=age_s)
    return DriverState(
        holder=holder, beat=beat, written_at=moment.isoformat(), about={"sweep": "tiny"}
    )


def elsewhere() -> Holder:
    return Holder.here().model_copy(update={"host": "another/boot/namespace"})


@pytest.fixture
def ended() -> Holder:
    """A process of this machine that has ended."""
    with subprocess.Popen(["true"]) as process:
        process.wait()
    here = Holder.here()
    return here.model_copy(update={"pid": process.pid, "started": "1"})


def test_what_is_said_replaces_what_was_said_and_is_taken_back(tmp_path: Path):
    store, me, other = Store.open(tmp_path), Holder.here(), elsewhere()
    store.check_writable()
    say(store.files, news(me, beat=1, age_s=3))
    say(store.files, news(me, beat=2))
    say(store.files, news(other, age_s=60))
    assert [(n.driver, n.beat) for n in heard(store.files)] == [(other.token, 1), (me.token, 2)]
    assert heard(store.files)[0].host == "another"
    assert store.work.fit_ids() == set()
    remove_driver_state(store.files, me.token)
    remove_driver_state(store.files, me.token)
    assert [n.driver for n in heard(store.files)] == [other.token]


def test_on_an_object_store_it_is_the_same(s3_store: str):
    store, me = Store.open(s3_store), Holder.here()
    store.check_writable()
    say(store.files, news(me, beat=1))
    say(store.files, news(me, beat=2))
    assert [n.beat for n in heard(Store.open(s3_store).files)] == [2]
    assert store.work.fit_ids() == set()
    remove_driver_state(store.files, me.token)
    assert heard(store.files) == []


def test_news_from_a_wrong_clock_are_not_the_newest(tmp_path: Path):
    store, wrong, right = Store.open(tmp_path), elsewhere(), elsewhere()
    wrong = wrong.model_copy(update={"token": "wrong"})
    say(store.files, news(wrong, age_s=-1e9))
    say(store.files, news(right, age_s=60))
    assert [n.driver for n in heard(store.files)] == [wrong.token, right.token]


def test_a_file_of_another_kind_is_no_news(tmp_path: Path):
    store = Store.open(tmp_path)
    store.files.write("work/live/strange.json", b'{"of": "another version"}')
    assert heard(store.files) == []


def test_a_process_of_this_machine_is_known_to_live_or_to_be_dead(ended: Holder):
    assert LivenessMonitor().heart(news(Holder.here())) == "beats"
    assert LivenessMonitor().heart(news(ended)) == "silent"


def test_another_machine_is_judged_by_its_clock_where_that_leaves_no_doubt():
    assert LivenessMonitor().heart(news(elsewhere(), age_s=2)) == "beats"
    assert LivenessMonitor().heart(news(elsewhere(), age_s=3600)) == "silent"


@pytest.mark.parametrize("age_s", [120, -120])
def test_in_doubt_a_driver_lives_that_says_something_new(age_s: float):
    hearts, driver = LivenessMonitor(), elsewhere()
    assert hearts.heart(news(driver, beat=7, age_s=age_s)) == "unsure"
    assert hearts.heart(news(driver, beat=8, age_s=age_s)) == "beats"


@pytest.mark.parametrize("age_s", [120, -120, 0])
def test_one_that_says_nothing_new_for_long_is_gone(monkeypatch, age_s: float):
    hearts, last = LivenessMonitor(), news(elsewhere(), age_s=age_s)
    hearts.heart(last)
    now = live_module.time.monotonic()
    monkeypatch.setattr(live_module.time, "monotonic", lambda: now + live_module.SILENT_S + 1)
    assert hearts.heart(last) == "silent"
