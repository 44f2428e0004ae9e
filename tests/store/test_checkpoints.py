from __future__ import annotations

import inspect
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.faulty_s3 import Faults
from w2s_ray.learn.checkpoints import Checkpoints
from w2s_ray.store import Store, checkpoints, retries
from w2s_ray.store.checkpoints import StoredCheckpoints


def opened(store, tmp_path, *, rank=0, workers=1, life=0, every_s=0.0, **more) -> StoredCheckpoints:
    spool = tmp_path / f"spool-{life}"
    return StoredCheckpoints(
        store, "fit", "torch", rank=rank, workers=workers, every_s=every_s, spool=spool, **more
    )


def writing(text: str, *, name: str = "state"):
    def write(folder: Path) -> None:
        (folder / "deep").mkdir()
        (folder / "deep" / name).write_text(text)

    return write


def content(folder: Path | None) -> dict[str, str] | None:
    if folder is None:
        return None
    return {path.name: path.read_text() for path in folder.rglob("*") if path.is_file()}


def stored(store) -> list[str]:
    root = "work/fit/torch/"
    return [path.removeprefix(root) for path in store.files.find("work/fit")]


def test_it_implements_the_checkpoints_protocol():
    for name in ("due", "save", "latest"):
        expected, actual = (
            inspect.signature(getattr(c, name)) for c in (Checkpoints, StoredCheckpoints)
        )
        assert list(expected.parameters) == list(actual.parameters)


def test_only_the_newest_state_is_kept(any_store, tmp_path):
    kept = opened(any_store, tmp_path)
    assert kept.latest() is None
    for step in (9, 10):
        kept.save(step, writing(f"at {step}"))
        kept.flush()
    assert stored(any_store) == ["step-10/files/deep/state", "step-10/rank-0.done"]
    assert kept.last_bytes == len("at 10")
    assert kept.bytes_written == len("at 9") + len("at 10")
    assert any_store.work.size("fit") > kept.last_bytes
    kept.close()
    again = opened(any_store, tmp_path, life=1)
    assert content(again.latest()) == {"state": "at 10"}
    again.close()
    assert not any((tmp_path / "spool-1").rglob("*"))
    any_store.work.clear("fit")
    assert stored(any_store) == []


def test_a_checkpoint_is_due_after_its_interval(tmp_path):
    kept = opened(Store.open(tmp_path / "s"), tmp_path, every_s=0.2)
    assert not kept.due()
    time.sleep(0.25)
    assert kept.due()
    kept.save(1, writing("x"))
    assert not kept.due()


def test_a_slow_checkpoint_is_followed_by_a_longer_interval(tmp_path, monkeypatch):
    now = 100.0
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now)

    def slow(folder: Path) -> None:
        nonlocal now
        now += 10.0
        (folder / "state").touch()

    kept = opened(Store.open(tmp_path / "s"), tmp_path, every_s=60.0)
    kept.save(1, slow)
    for seconds, due in ((60.0, False), (129.0, False), (2.0, True)):
        now += seconds
        assert kept.due() is due
    kept.save(2, lambda folder: (folder / "state").touch())
    now += 61.0
    assert kept.due()
    at_every_evaluation = opened(Store.open(tmp_path / "s"), tmp_path, every_s=0.0)
    at_every_evaluation.save(1, slow)
    assert at_every_evaluation.due()


def test_a_step_is_complete_once_every_worker_has_uploaded(any_store, tmp_path):
    both = [opened(any_store, tmp_path, rank=rank, workers=2) for rank in (0, 1)]
    for rank, worker in enumerate(both):
        worker.save(1, writing(f"r{rank} at 1", name=f"state-{rank}"))
        worker.flush()
    both[0].save(2, writing("r0 at 2", name="state-0"))
    both[0].flush()  # and then both are killed
    lives = [opened(any_store, tmp_path, rank=rank, workers=2, life=1) for rank in (0, 1)]
    for worker in lives:
        assert content(worker.latest()) == {"state-0": "r0 at 1", "state-1": "r1 at 1"}
    assert not any(path.startswith("step-2/") for path in stored(any_store))
    lives[1].save(2, writing("r1 at 2, second life", name="state-1"))
    lives[1].flush()
    assert content(lives[0].latest()) == {"state-0": "r0 at 1", "state-1": "r1 at 1"}
    lives[0].save(2, writing("r0 at 2, second life", name="state-0"))
    lives[0].flush()
    for worker in lives:
        assert set(content(worker.latest()).values()) == {
            "r0 at 2, second life",
            "r1 at 2, second life",
        }
    assert not any(path.startswith("step-1/") for path in stored(any_store))


def test_a_process_killed_in_an_upload_leaves_the_state_before(tmp_path):
    store = Store.open(tmp_path / "store")
    before = opened(store, tmp_path)
    before.save(1, writing("at 1"))
    before.close()
    code = f"""
import os, pathlib, sys
from w2s_ray.store import Store
from w2s_ray.store.local_files import LocalFiles
from w2s_ray.store.checkpoints import StoredCheckpoints
put, done = LocalFiles.put_file, []
def killed(self, path, source):
    if done:
        os.kill(os.getpid(), 9)
    done.append(path)
    put(self, path, source)
LocalFiles.put_file = killed
kept = StoredCheckpoints(Store.open({store.uri!r}), "fit", "torch", every_s=0,
                         spool=pathlib.Path({str(tmp_path / "spool")!r}))
def write(folder):
    (folder / "a").write_text("new")
    (folder / "b").write_text("new")
kept.save(2, write)
kept.flush()
"""
    ran = subprocess.run([sys.executable, "-c", code], check=False, timeout=60)
    assert ran.returncode == -9
    assert any(path.startswith("step-2/") for path in stored(store))
    assert content(opened(store, tmp_path, life=1).latest()) == {"state": "at 1"}


def flipped(data: bytes) -> bytes:
    return bytes([*data[:-2], data[-2] ^ 1, data[-1]])


DAMAGES = {"cut": lambda data: data[:-1], "empty": lambda data: b"", "flipped": flipped}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", ["files/deep/state-0", "files/deep/state-1", "rank-1.done"])
def test_all_workers_skip_a_damaged_state(damage, file, any_store, tmp_path):
    both = [opened(any_store, tmp_path, rank=rank, workers=2) for rank in (0, 1)]
    for rank, worker in enumerate(both):
        worker.save(1, writing("whole", name=f"state-{rank}"))
        worker.flush()
    path = f"work/fit/torch/step-1/{file}"
    any_store.files.write(path, DAMAGES[damage](any_store.files.read(path)))
    met = []
    given = {"workers": 2, "life": 1, "on_damage": met.append}
    lives = [opened(any_store, tmp_path, rank=rank, **given) for rank in (0, 1)]
    assert [life.latest() for life in lives] == [None, None]
    for rank, life in enumerate(lives):
        life.save(1, writing("again", name=f"state-{rank}"))
        life.flush()
    assert "the fit can't resume from this checkpoint; it resumes from the one" in str(met[0])
    assert set(content(both[0].latest()).values()) == {"again"}


def test_the_state_before_a_damaged_one_is_loaded(tmp_path):
    store = Store.open(tmp_path / "store")
    kept = opened(store, tmp_path)
    for step in (1, 2):
        kept.save(step, writing(f"at {step}"))
        kept.flush()
        if step == 1:
            before = {path: store.files.read(path) for path in store.files.find("work/fit")}
    for path, data in before.items():
        store.files.write(path, data)
    store.files.write("work/fit/torch/step-2/files/deep/state", b"at 3")
    assert content(opened(store, tmp_path, life=1).latest()) == {"state": "at 1"}
    assert stored(store) == ["step-1/files/deep/state", "step-1/rank-0.done"]


def test_a_marker_of_an_earlier_version_is_read(tmp_path):
    store = Store.open(tmp_path / "store")
    store.files.write("work/fit/torch/step-7/files/deep/state", b"at 7")
    store.files.write("work/fit/torch/step-7/rank-0.done", b'{"deep/state": 4}')
    assert content(opened(store, tmp_path).latest()) == {"state": "at 7"}


def test_training_continues_during_an_upload(tmp_path, monkeypatch):
    store = Store.open(tmp_path / "store")
    kept, go_on, begun = opened(store, tmp_path), threading.Event(), threading.Event()
    put = type(store.files).put_file

    def slow(self, path, source):
        begun.set()
        assert go_on.wait(30)
        put(self, path, source)

    monkeypatch.setattr(type(store.files), "put_file", slow)
    kept.save(1, writing("at 1"))
    assert begun.wait(30)
    kept.save(2, writing("at 2"))
    kept.save(3, writing("at 3"))  # takes the place of the one that waits
    assert stored(store) == []
    go_on.set()
    kept.flush()
    assert stored(store) == ["step-3/files/deep/state", "step-3/rank-0.done"]
    assert kept.bytes_written == len("at 1") + len("at 3")


def test_an_upload_that_fails_does_not_end_the_fit(tmp_path, monkeypatch, caplog):
    store = Store.open(tmp_path / "store")
    kept = opened(store, tmp_path)
    kept.save(1, writing("at 1"))
    kept.flush()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(type(store.files), "put_file", full)
        for step in (2, 3):
            kept.save(step, writing(f"at {step}"))
            with pytest.raises(OSError, match="No space left"):
                kept.flush()
    kept.flush()
    assert kept.failures == 2
    assert caplog.text.count("training continues") == 1
    assert content(opened(store, tmp_path, life=1).latest()) == {"state": "at 1"}
    kept.save(4, writing("at 4"))
    kept.flush()
    assert content(opened(store, tmp_path, life=2).latest()) == {"state": "at 4"}


def test_a_failed_write_leaves_no_local_files(tmp_path):
    kept = opened(Store.open(tmp_path / "store"), tmp_path)

    def broken(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        kept.save(1, broken)
    assert not any(path.is_file() for path in (tmp_path / "spool-0").rglob("*"))
    assert kept.latest() is None


def test_uploads_to_a_failing_object_store_are_retried(s3_server, s3_store, tmp_path, monkeypatch):
    monkeypatch.setattr(retries, "FIRST_DELAY_S", 0.001)
    store = Store.open(s3_store)
    with s3_server.faulty(Faults(seed=5, refused=0.15, lost=0.15)) as met:
        kept = opened(store, tmp_path)
        for step in range(6):
            kept.save(step, writing(f"at {step}"))
            kept.flush()
        assert content(opened(store, tmp_path, life=1).latest()) == {"state": "at 5"}
    assert kept.failures == 0
    assert min(met["refused"], met["lost"]) > 0
