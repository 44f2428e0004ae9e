"""Faults at random moments of a sweep: the same command finishes, with nothing lost or redone.

After each scenario (a) no run that was done is lost, (b) none is trained twice, and (c) the table
equals the undisturbed one to the bit. A few scenarios run in CI, all of them by `make chaos`;
another `W2S_CHAOS_SEED` has the faults come at other moments, to other processes.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.chaos.faults import (
    HEAD,
    MONITOR,
    NODE,
    POOL,
    SHORT_OF_MEMORY,
    STUDY,
    TRACKER,
    WORKER,
    Fault,
    RunningSweep,
    fill_disk,
    freeze,
    kill,
    kill_driver,
    limit_memory,
    no_fault,
)
from tests.faulty_s3 import Faults
from tests.support import SEARCH, SEARCHED, sweep_text, w2s
from w2s_ray.store import Store

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600)]

FITS = 22
SITE = Path(__file__).parent / "site"

END_HEAD, END_NODE = kill(HEAD), kill(NODE)
"""Processes whose loss a `w2s run` survives with a new Ray, if it started its Ray itself."""


@dataclass(frozen=True)
class Scenario:
    """A fault, and the conditions of the sweep."""

    name: str
    fault: Fault
    seed: int
    drivers: int = 1
    """Number of concurrent `w2s run` of the sweep; the first gets the fault."""
    faults: Faults | None = None
    """If given, the store is on S3, and its requests have these faults."""
    execution: str = "{retries: 3, stall_s: 25, checkpoint_every_s: 0}"
    variables: Mapping[str, str] = field(default_factory=dict)
    """Additional environment variables."""

    def __str__(self) -> str:
        return f"{self.name}-{self.seed}"


def _scenarios() -> list[Scenario]:
    plain: list[tuple[str, Fault, int]] = [
        ("worker-killed", kill(WORKER), 4),
        ("workers-killed-thrice", kill(WORKER, times=3), 2),
        ("watcher-killed", kill(MONITOR), 3),
        ("study-killed", kill(STUDY), 3),
        ("driver-killed", kill_driver, 4),
        ("head-killed", END_HEAD, 2),
        ("node-killed", END_NODE, 2),
        ("tracker-killed", kill(TRACKER), 1),
        ("pool-killed", kill(POOL), 2),
        ("worker-frozen", freeze(WORKER), 2),
        ("disk-full", fill_disk(4.0), 2),
    ]
    found = [Scenario(name, fault, seed) for name, fault, times in plain for seed in range(times)]
    found += [
        Scenario("worker-out-of-memory", limit_memory(WORKER), seed, variables=SHORT_OF_MEMORY)
        for seed in range(3)
    ]
    found += [Scenario("two-drivers", kill(WORKER), seed, drivers=2) for seed in range(1)]
    found += [Scenario("two-drivers-one-killed", kill_driver, seed, drivers=2) for seed in range(2)]
    found += [
        Scenario("s3-driver-killed", kill_driver, 0, faults=Faults()),
        Scenario("s3-slow", no_fault, 0, faults=Faults(seed=1, slow=0.1, delay_s=0.5)),
        Scenario("s3-errors", no_fault, 0, faults=Faults(seed=2, refused=0.05, lost=0.02)),
        Scenario("s3-errors", kill(WORKER), 1, faults=Faults(seed=3, refused=0.05, lost=0.02)),
    ]
    return found


IN_CI = {"worker-killed-0", "s3-driver-killed-0"}


@pytest.mark.parametrize(
    "scenario",
    [
        pytest.param(s, id=str(s), marks=[] if str(s) in IN_CI else pytest.mark.chaos)
        for s in _scenarios()
    ],
)
def test_whatever_happens_nothing_is_lost_and_the_table_is_the_same(
    tmp_path, request, undisturbed, tally, scenario
):
    chance = random.Random(f"{scenario}{os.environ.get('W2S_CHAOS_SEED', '')}")
    for name in ("a", "b", "c"):
        shutil.copytree(undisturbed.parent / name, tmp_path / name)
    sweep = write_sweep(tmp_path, execution=scenario.execution)
    uri = tmp_path / "results"
    with contextlib.ExitStack() as on_s3:
        if scenario.faults is not None:
            uri = request.getfixturevalue("s3_store")
            server = request.getfixturevalue("s3_server")
            on_s3.enter_context(server.faulty(scenario.faults))
        store = Store.open(uri)
        drivers = [
            _start(sweep, uri, tmp_path / f"log-{i}", scenario.variables)
            for i in range(scenario.drivers)
        ]
        injected = False
        wait_for_runs(store, drivers[0], done=chance.randrange(0, FITS - 3))
        time.sleep(chance.uniform(0.0, 1.5))
        if drivers[0].poll() is None:
            injected = scenario.fault(RunningSweep(drivers[0].pid, tmp_path, chance))
        for driver in drivers:
            driver.wait(timeout=400)
    within = any(driver.returncode == 0 for driver in drivers)
    tally.update(unhurt=int(not injected), within=int(within))
    if scenario.fault in (END_HEAD, END_NODE) and injected:
        assert drivers[0].returncode == 0, _logs(tmp_path)
    check_afterwards(
        tmp_path, uri, undisturbed, tally, before=started_runs(store), calls=len(drivers)
    )


def check_afterwards(
    folder: Path,
    uri: Path | str,
    undisturbed: Path,
    tally: Counter[str],
    *,
    before: dict[str, str],
    calls: int,
) -> None:
    """Call `w2s run` again, then check that nothing is lost, redone, different or left over."""
    again = w2s("run", folder / "sweep.yaml", "--store", uri)
    assert again.returncode == 0, again.stdout + again.stderr + _logs(folder)
    store = Store.open(uri)
    after = started_runs(store)
    lost = [run for run in before if run not in after]
    twice = [run for run in before if after.get(run, before[run]) != before[run]]
    twice += _discarded(store)
    found, expected = _table(uri), _table(undisturbed.parent / "results")
    tally.update(
        scenarios=1,
        runs=calls + 1,
        fits=sum(record.kind == "fit" for record in store.records()),
        lost=len(lost),
        twice=len(twice),
        tables=int(found == expected),
    )
    for record in store.records():
        tally.update({f"retried {cause}": n for cause, n in record.retries.items()})
    assert not lost
    assert not twice
    assert found == expected
    assert not store.work.fit_ids(), "a finished sweep leaves nothing behind"


def write_sweep(folder: Path, *, execution: str) -> Path:
    path = folder / "sweep.yaml"
    path.write_text(
        sweep_text(
            folder, methods=SEARCHED, extra=SEARCH + "\nlimits: {lease_s: 8}", execution=execution
        )
    )
    return path


def _start(
    sweep: Path, store: Path | str, log: Path, variables: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        **variables,
        "PYTHONPATH": os.pathsep.join([str(SITE), os.environ.get("PYTHONPATH", "")]),
        "W2S_TEST_DISK_FULL": str(sweep.parent / "disk-is-full"),
    }
    with log.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "w2s_ray", "run", str(sweep), "--store", str(store)],
            stdout=file,
            stderr=file,
            env=environment,
        )


def wait_for_runs(store: Store, driver: subprocess.Popen[bytes], *, done: int) -> None:
    deadline = time.monotonic() + 200
    while len(store.all_done()) < done and time.monotonic() < deadline:
        if driver.poll() is not None:
            return
        time.sleep(0.02)


def started_runs(store: Store) -> dict[str, str]:
    return {record.id: record.started_at for record in store.records()}


def _discarded(store: Store) -> list[str]:
    """Runs that were trained once more than was needed, which leaves a stopped attempt."""
    return [
        id_
        for id_ in store.run_files()
        for attempt in store.attempts(id_)
        if attempt.status == "stopped"
    ]


def _table(store: Path | str) -> dict:
    return json.loads(w2s("table", "--store", store, "--format", "json").stdout)


def _logs(folder: Path) -> str:
    return "".join(path.read_text(errors="replace") for path in sorted(folder.glob("log-*")))
