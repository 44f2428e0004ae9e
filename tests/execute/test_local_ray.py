"""Monitoring Ray's own processes: a death is reported once; a joined Ray is left alone."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from w2s_ray.execute import local_ray

KINDS = ("gcs_server", "raylet", "log_monitor")


@pytest.fixture
def processes(tmp_path, monkeypatch) -> dict[str, subprocess.Popen[bytes]]:
    """Real processes in the places of a Ray's that this process has started."""
    started = {}
    for kind in KINDS:
        (tmp_path / kind).symlink_to(sys.executable)
        command = [str(tmp_path / kind), "-c", "import time; time.sleep(60)"]
        started[kind] = subprocess.Popen(command)
    monkeypatch.setattr(local_ray, "_processes", list(started.values()))
    monkeypatch.setattr(local_ray, "CHECK_EVERY_S", 0.05)
    yield started
    for process in started.values():
        process.kill()
        process.wait()


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


@pytest.mark.parametrize("kind", ["gcs_server", "raylet"])
def test_a_vital_process_that_dies_is_reported_and_the_others_are_killed(processes, kind):
    reported: list[str] = []
    with local_ray.monitor_processes(reported.append):
        end(processes[kind])
        deadline = time.monotonic() + 10
        while not reported and time.monotonic() < deadline:
            time.sleep(0.02)
        assert reported == [kind]
        assert all(process.poll() is not None for process in processes.values())
    assert reported == [kind]


def test_what_ended_the_context_is_found_on_the_way_out(processes, monkeypatch):
    monkeypatch.setattr(local_ray, "CHECK_EVERY_S", 60.0)
    reported: list[str] = []
    with local_ray.monitor_processes(reported.append):
        end(processes["gcs_server"])
    assert reported == ["gcs_server"]


def test_other_processes_are_not_vital(processes):
    reported: list[str] = []
    with local_ray.monitor_processes(reported.append):
        end(processes["log_monitor"])
        time.sleep(0.3)
    assert reported == []
    assert processes["raylet"].poll() is None


def test_without_a_ray_of_its_own_there_is_nothing_to_monitor():
    reported: list[str] = []
    with local_ray.monitor_processes(reported.append):
        pass
    assert reported == []


def test_what_is_reported_while_stderr_is_quiet_can_be_seen(processes, capfd):
    def report(dead: str) -> None:
        print(f"{dead} has died", file=sys.__stderr__, flush=True)

    with local_ray.monitor_processes(report), local_ray.quiet_stderr():
        end(processes["gcs_server"])
        deadline = time.monotonic() + 10
        while local_ray._processes and time.monotonic() < deadline:
            time.sleep(0.02)
    assert capfd.readouterr().err == "gcs_server has died\n"


def test_processes_that_these_have_started_are_killed_too(monkeypatch):
    start_another = "import subprocess; print(subprocess.Popen(['sleep', '60']).pid, flush=True)"
    code = f"{start_another}; input()"
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    import psutil

    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    monkeypatch.setattr(local_ray, "_processes", [parent])
    local_ray._kill_all()
    assert parent.returncode is not None
    child.wait(timeout=10)
    assert local_ray._processes == []
