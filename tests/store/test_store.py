from __future__ import annotations

import pickle
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from tests.store.builders import (
    EARLY,
    LATE,
    a_cell,
    a_manifest,
    a_record,
    an_id,
    some_metrics,
    some_predictions,
    some_rows,
)
from w2s_ray.store import Store, StoreError, utc_now
from w2s_ray.store.files import LocalFiles, RemoteFiles, open_files


@pytest.fixture(params=["folder", "file://", "memory://", "s3://"])
def store(request, tmp_path) -> Store:
    match request.param:
        case "folder":
            return Store.open(tmp_path / "results")
        case "file://":
            return Store.open(f"file://{tmp_path}/results")
        case "s3://":
            return Store.open(request.getfixturevalue("s3_store"))
        case _:
            return Store.open(f"memory://{uuid.uuid4().hex}/results")


def test_an_empty_store_holds_nothing(store):
    assert not store.exists()
    assert store.all_done() == set()
    assert list(store.records()) == []
    assert list(store.latest()) == []
    assert store.manifests.sweeps() == []
    assert store.attempts(an_id("x")) == []
    with pytest.raises(StoreError, match="there are no results at"):
        store.check_readable()


def test_a_stored_run_is_read_unchanged(store, tmp_path):
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "model.safetensors").write_bytes(b"tensors")
    record = a_record(summary={"test_accuracy": 0.5, "steps": 3, "stopped": True, "x": None})
    given = {"metrics": some_metrics(), "predictions": some_predictions(), "weights": weights}
    kept = store.write_run(record, **given)
    assert kept.model_copy(update={"bytes": {}}) == record
    sizes = store.files.sizes(f"runs/{record.id}")
    assert {f"runs/{record.id}/{name}": size for name, size in kept.bytes.items()} == {
        f"runs/{record.id}/metrics.parquet": sizes[f"runs/{record.id}/metrics.parquet"],
        f"runs/{record.id}/predictions.parquet": sizes[f"runs/{record.id}/predictions.parquet"],
        f"runs/{record.id}/weights": len(b"tensors"),
    }
    record = kept
    assert store.exists()
    assert store.record(record.id) == record
    assert list(store.records()) == [record]
    assert list(store.latest()) == [record]
    assert store.all_done() == {record.id}
    assert store.done([record.id, an_id("other")]) == {record.id}
    assert store.metrics(record.id)["value"].to_pylist()[::2] == [0.7, 0.5]
    assert store.predictions(record.id).to_pylist() == some_predictions().to_pylist()
    assert store.predictions(record.id, "test")["example_id"].to_pylist() == ["b", "c"]
    assert store.weights(record.id).endswith("/weights")


def test_a_run_without_record_is_not_done(store):
    record = a_record()
    store.write_run(record, metrics=some_metrics(), predictions=some_predictions())
    store.files.remove(f"runs/{record.id}/record.json")
    assert store.all_done() == set()
    assert list(store.records()) == []
    assert list(store.latest()) == []
    with pytest.raises(StoreError, match="is not in"):
        store.predictions(record.id)
    with pytest.raises(StoreError, match="no run"):
        store.resolve_id(record.id[:4])


@pytest.mark.parametrize("written", range(4))
def test_a_writer_killed_between_files_leaves_no_done_run(tmp_path, monkeypatch, written):
    store = Store.open(tmp_path)
    store.check_writable()
    calls = []
    for name, original in (("write", LocalFiles.write), ("create", LocalFiles.create)):

        def killed(self, path, data, original=original):
            if len(calls) == written:
                raise KeyboardInterrupt
            calls.append(path)
            return original(self, path, data)

        monkeypatch.setattr(LocalFiles, name, killed)
    arguments = {"metrics": some_metrics(), "predictions": some_predictions()}
    if written < 3:
        with pytest.raises(KeyboardInterrupt):
            store.write_run(a_record(), **arguments)
    else:
        store.write_run(a_record(), **arguments)
    assert store.all_done() == ({a_record().id} if written == 3 else set())


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    files = LocalFiles(tmp_path)
    files.write("a/b.json", b"old")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        files.write("a/b.json", b"new")
    assert files.read("a/b.json") == b"old"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.json"]


def test_leftovers_of_killed_writers_are_never_read(tmp_path):
    store = Store.open(tmp_path)
    store.write_run(a_record())
    folder = tmp_path / "runs" / a_record().id
    (folder / ".tmp-123-record.json").write_text("{")
    (folder / ".tmp-123-weights").mkdir()
    (folder / ".tmp-123-weights" / "model.safetensors").write_text("x")
    (folder / "trials").mkdir()
    (folder / "trials" / ".tmp-1-0.json").write_text("{")
    (tmp_path / "runs" / "half").mkdir()
    (tmp_path / "runs" / "half" / "metrics.parquet").write_text("not Parquet")
    assert store.all_done() == {a_record().id}
    assert store.trials(a_record().id) == []
    assert [record.id for record in store.latest()] == [a_record().id]


def test_the_run_of_the_first_of_two_writers_stays(store, tmp_path):
    counted = []
    for number, accuracy in enumerate((0.1, 0.9)):
        weights = tmp_path / str(number)
        weights.mkdir()
        (weights / f"{number}.safetensors").write_text(str(number))
        counted.append(store.write_run(a_record(accuracy=accuracy), weights=weights))
    assert counted[0] == counted[1] == store.record(a_record().id)
    assert counted[0].summary["test_accuracy"] == 0.1
    assert store.run_files()[a_record().id] == {"record.json", "weights/0.safetensors"}
    assert not list((tmp_path / "results").rglob(".tmp-*"))


def test_concurrent_writers_return_the_same_record(store):
    store.exists()

    def write(number):
        return store.write_run(a_record(accuracy=number / 10))

    with ThreadPoolExecutor(4) as pool:
        counted = list(pool.map(write, range(4)))
    assert counted == [store.record(a_record().id)] * 4


def test_concurrent_attempts_are_all_stored(store):
    store.exists()

    def write(number):
        store.write_attempt(a_record(status="failed", reason=str(number)))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(8)))
    assert sorted(a.reason for a in store.attempts(a_record().id)) == [str(n) for n in range(8)]


def test_a_fits_work_folder_is_measured_and_cleared(store):
    assert store.work.size("fit") == 0
    store.files.write("work/fit/a/b", b"123")
    store.files.write("work/fit-2/a", b"1")
    assert store.work.size("fit") == 3
    store.work.clear("fit")
    assert store.work.size("fit") == 0
    assert store.work.size("fit-2") == 1


def test_concurrent_writers_leave_one_complete_run(tmp_path):
    store = Store.open(tmp_path / "results")
    sources = []
    for number in range(4):
        sources.append(tmp_path / str(number))
        sources[-1].mkdir()
        for part in ("a", "b"):
            (sources[-1] / f"{part}.safetensors").write_text(str(number))

    def write(source):
        for _ in range(5):
            store.write_run(a_record(), predictions=some_predictions(), weights=source)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, sources))
    folder = tmp_path / "results" / "runs" / a_record().id
    assert store.predictions(a_record().id).num_rows == 3
    kept = [path.read_text() for path in (folder / "weights").iterdir()]
    assert len(kept) == 2
    assert len(set(kept)) == 1
    assert not list(folder.glob(".tmp-*"))


def test_attempts_are_stored_separately_and_a_result_takes_precedence(store):
    for number in range(1, 12):
        store.write_attempt(a_record(status="failed", reason=f"crash {number}", attempts=number))
    id_ = a_record().id
    assert [record.attempts for record in store.attempts(id_)] == list(range(1, 12))
    assert [record.reason for record in store.latest()] == ["crash 11"]
    assert store.all_done() == set()
    with pytest.raises(StoreError, match="not done but failed: crash 11"):
        store.record(id_)
    with pytest.raises(StoreError, match="crash 11"):
        store.metrics(id_)
    store.write_run(a_record())
    assert [record.status for record in store.latest([id_, an_id("other")])] == ["done"]
    assert len(store.attempts(id_)) == 11


def test_records_are_written_by_the_method_for_their_status(store):
    with pytest.raises(ValueError, match="write_attempt"):
        store.write_run(a_record(status="pruned"))
    with pytest.raises(ValueError, match="write_run"):
        store.write_attempt(a_record())


@pytest.mark.parametrize("names", [["model.bin"], ["model.safetensors", "state.pkl"], []])
def test_weights_that_could_be_pickles_are_refused(tmp_path, names):
    weights = tmp_path / "weights"
    weights.mkdir()
    for name in names:
        (weights / name).write_bytes(b"")
    store = Store.open(tmp_path / "results")
    with pytest.raises(ValueError, match="keep safetensors"):
        store.write_run(a_record(), weights=weights)
    assert not store.exists()


def test_tables_with_other_columns_are_refused(store):
    truth = some_predictions().append_column("label", pa.array([0, 1, 1]))
    with pytest.raises(ValueError, match=r"\['label'\] are unknown"):
        store.write_run(a_record(), predictions=truth)
    with pytest.raises(ValueError, match=r"\['value'\] are missing"):
        store.write_run(a_record(), metrics=some_metrics().drop_columns("value"))
    with pytest.raises(ValueError, match="missing values"):
        store.write_run(
            a_record(),
            predictions=pa.table(
                {
                    "example_id": ["a"],
                    "part": ["test"],
                    "probability": pa.array([None], pa.float64()),
                }
            ),
        )
    assert store.all_done() == set()


def test_a_split_is_stored_once_and_completely(store):
    assert not store.splits.exists("split-1")
    store.splits.write("split-1", some_rows(), {"task": "sciq"})
    store.splits.write("split-1", some_rows().slice(1), {"task": "other"})
    assert store.splits.rows("split-1").to_pylist() == some_rows().to_pylist()
    assert store.splits.about("split-1") == {"task": "sciq"}
    assert store.splits.fingerprints() == ["split-1"]
    store.files.remove("splits/split-1/about.json")
    assert not store.splits.exists("split-1")
    with pytest.raises(StoreError, match="split split-1 is not in"):
        store.splits.rows("split-1")


def test_trials_are_sorted_by_number(store):
    study = an_id("study")
    for number in (10, 2):
        store.write_trial(study, number, {"state": "complete", "value": number / 10})
    assert [trial["number"] for trial in store.trials(study)] == [2, 10]
    assert (
        store.trials(study)[0].items() >= {"state": "complete", "value": 0.2, "number": 2}.items()
    )
    with pytest.raises(ValueError, match="nan"):
        store.write_trial(study, 3, {"value": float("nan")})


def test_the_latest_manifest_is_the_newest_by_time(store):
    one, two = a_manifest(a_cell(), created_at=LATE), a_manifest(a_cell(seed=1), created_at=EARLY)
    store.manifests.write(one)
    store.manifests.write(two)
    store.manifests.write(a_manifest(name="other"))
    assert store.manifests.latest("sweep") == one
    assert store.manifests.all("sweep") == [two, one]
    assert store.manifests.sweeps() == ["other", "sweep"]
    with pytest.raises(StoreError, match="its sweeps are: other, sweep"):
        store.manifests.latest("swep")


FUTURE = "2130-01-01T00:00:00+00:00"


@pytest.mark.parametrize("future", [FUTURE, "9999-12-31T23:59:59+00:00"])
def test_a_manifest_from_a_wrong_clock_hides_no_newer_one(store, future):
    wrong = a_manifest(a_cell(seed=1), created_at=future)
    store.manifests.write(wrong)
    assert store.manifests.latest("sweep") == wrong
    for right in (a_manifest(a_cell(), created_at=EARLY), a_manifest(created_at=utc_now())):
        store.manifests.write(right)
        assert store.manifests.latest("sweep") == right
    assert store.manifests.all("sweep")[0] == wrong


def test_a_manifest_from_a_clock_that_is_a_little_fast_counts(store):
    soon = (datetime.now(UTC) + timedelta(minutes=2)).isoformat()
    store.manifests.write(a_manifest(a_cell(), created_at=EARLY))
    store.manifests.write(a_manifest(a_cell(seed=1), created_at=soon))
    assert store.manifests.latest("sweep").cells == (a_cell(seed=1),)


def test_an_equal_manifest_is_not_stored_again(store):
    store.manifests.write(a_manifest(a_cell(), created_at=EARLY))
    store.manifests.write(a_manifest(a_cell(), created_at=LATE))
    assert [manifest.created_at[:10] for manifest in store.manifests.all()] == ["2026-01-01"]


def test_a_unique_prefix_identifies_a_run(store):
    for id_ in ("abc1", "abc2", "abc22"):
        store.write_run(a_record(id=id_))
    store.write_attempt(a_record(id="def", status="failed", reason="x"))
    store.write_trial("study-at-work", 0, {})
    assert store.resolve_id("study") == "study-at-work"
    assert store.resolve_id("abc1") == "abc1"
    assert store.resolve_id("abc2") == "abc2"
    assert store.resolve_id("d") == "def"
    with pytest.raises(StoreError, match=r"'ab' begins 3 run ids \(abc1, abc2, abc22\)"):
        store.resolve_id("ab")
    for unknown in ("xyz", ""):
        with pytest.raises(StoreError, match=r"no run .* which holds 5 runs"):
            store.resolve_id(unknown)


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "a b"])
def test_names_that_are_paths_are_refused(store, name):
    with pytest.raises(StoreError, match="can't name a"):
        store.record(name)
    with pytest.raises(StoreError, match="can't name a"):
        store.splits.write(name, some_rows(), {})


def test_a_store_can_be_pickled(store):
    store.write_run(a_record())
    copy = pickle.loads(pickle.dumps(store))  # noqa: S301
    assert copy == store
    assert copy.record(a_record().id) == a_record()


def test_a_relative_folder_means_the_same_from_everywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = Store.open("results")
    monkeypatch.chdir("/")
    store.check_writable()
    assert (tmp_path / "results" / "store.json").exists()


def test_check_writable_makes_the_store_and_leaves_only_its_marker(tmp_path):
    store = Store.open(tmp_path / "a" / "b")
    store.check_writable()
    store.check_writable()
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["store.json"]


def test_the_error_for_an_unwritable_store_has_a_remedy(tmp_path):
    (tmp_path / "file").write_text("in the way")
    store = Store.open(tmp_path / "file" / "results")
    with pytest.raises(StoreError, match=r"can't write to the store .*/file/results .*`store`"):
        store.check_writable()


def test_a_store_that_ignores_conditions_is_refused(s3_store, monkeypatch):
    def ignoring(self, path, data):
        self.write(path, data)
        return True

    store = Store.open(s3_store)
    store.check_writable()
    monkeypatch.setattr(RemoteFiles, "create", ignoring)
    with pytest.raises(StoreError, match=f"{s3_store} ignores conditional writes"):
        store.check_writable()
    bucket = s3_store.removesuffix("/results")
    assert open_files(bucket).find("results") == ["results/store.json"]


@pytest.mark.parametrize("marker", ['{"format": 2}', "{}", "[", '{"format": "x"}'])
def test_a_store_of_another_format_is_refused(tmp_path, marker):
    (tmp_path / "store.json").write_text(marker)
    with pytest.raises(StoreError, match=str(tmp_path)):
        Store.open(tmp_path)


def test_the_error_for_a_damaged_record_has_its_path(tmp_path):
    store = Store.open(tmp_path)
    store.write_run(a_record())
    (tmp_path / "runs" / a_record().id / "record.json").write_text('{"id": "x"}')
    with pytest.raises(StoreError, match=r"record\.json is damaged .*: kind: Field required"):
        store.record(a_record().id)


def test_an_unknown_protocol_raises_an_error():
    with pytest.raises(StoreError, match="Protocol not known: nowhere"):
        Store.open("nowhere://bucket/results")


def test_weights_are_fetched_from_any_store_once(any_store, tmp_path):
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "model.safetensors").write_bytes(b"tensors")
    record = any_store.write_run(a_record(), weights=weights)
    folder = any_store.fetch_weights(record.id, tmp_path / "cache")
    assert folder is not None
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "model.safetensors": b"tensors"
    }
    assert any_store.fetch_weights(record.id, tmp_path / "cache") == folder
    other = any_store.write_run(a_record("other"))
    assert any_store.fetch_weights(other.id, tmp_path / "cache") is None
