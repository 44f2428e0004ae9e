from __future__ import annotations

import errno
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faulty_s3 import Faults
from w2s_ray.store import StoreError, StoreUnavailable, retries
from w2s_ray.store.files import LocalFiles, open_files


@pytest.fixture
def quick_retries(monkeypatch):
    monkeypatch.setattr(retries, "FIRST_DELAY_S", 0.001)


def test_a_file_is_created_once(any_files):
    assert any_files.create("a/b.json", b"first")
    assert not any_files.create("a/b.json", b"second")
    assert any_files.read("a/b.json") == b"first"
    assert any_files.find("a") == ["a/b.json"]


def test_a_file_is_replaced_only_if_its_version_is_unchanged(any_files):
    any_files.write("a/b", b"one")
    data, version = any_files.read_versioned("a/b")
    assert data == b"one"
    assert any_files.replace_if("a/b", b"two", version=version)
    assert not any_files.replace_if("a/b", b"three", version=version)
    assert any_files.read("a/b") == b"two"
    assert not any_files.replace_if("a/none", b"new", version=version)
    assert not any_files.exists("a/none")
    with pytest.raises(FileNotFoundError):
        any_files.read_versioned("a/none")


def test_a_file_is_removed_only_if_its_version_is_unchanged(any_files):
    any_files.write("a/b", b"one")
    _, version = any_files.read_versioned("a/b")
    any_files.write("a/b", b"two")
    assert not any_files.remove_if("a/b", version=version)
    assert any_files.read("a/b") == b"two"
    assert any_files.remove_if("a/b", version=any_files.read_versioned("a/b")[1])
    assert not any_files.exists("a/b")
    assert not any_files.remove_if("a/b", version=version)


def test_exactly_one_of_many_concurrent_writes_succeeds(any_files):
    any_files.exists("x")  # opened once, before there are threads
    with ThreadPoolExecutor(4) as pool:
        for turn in range(5):
            path = f"race/{turn}"
            created = list(pool.map(lambda n, p=path: any_files.create(p, b"%d" % n), range(4)))
            assert created.count(True) == 1
            data, version = any_files.read_versioned(path)
            assert data == b"%d" % created.index(True)
            replaced = list(
                pool.map(
                    lambda n, p=path, v=version: any_files.replace_if(p, b"r%d" % n, version=v),
                    range(4),
                )
            )
            assert replaced.count(True) == 1
            assert any_files.read(path) == b"r%d" % replaced.index(True)


def test_folders_are_measured_and_removed(any_files, tmp_path):
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    (source / "a").write_bytes(b"12")
    (source / "deep" / "b").write_bytes(b"345")
    any_files.write_folder("one/two", source)
    any_files.write("other", b"x")
    assert any_files.sizes("one") == {"one/two/a": 2, "one/two/deep/b": 3}
    any_files.remove_folder("one")
    any_files.remove_folder("one")
    assert any_files.sizes("one") == {}
    assert any_files.exists("other")


def test_files_are_uploaded_and_downloaded(any_files, tmp_path):
    (tmp_path / "up").write_bytes(b"content")
    any_files.put_file("a/b", tmp_path / "up")
    any_files.get_file("a/b", tmp_path / "down")
    assert (tmp_path / "down").read_bytes() == b"content"


def test_transient_errors_are_retried(s3_server, s3_store, quick_retries, tmp_path):
    files = open_files(s3_store)
    with s3_server.faulty(Faults(seed=1, refused=0.1, lost=0.1, slow=0.1, delay_s=0.01)) as met:
        for number in range(20):
            files.write(f"a/{number}", b"%d" % number)
        assert list(files.read_many([f"a/{n}" for n in range(20)])) == [
            b"%d" % n for n in range(20)
        ]
        assert len(files.find("a")) == 20
        files.remove_folder("a")
        assert files.find("a") == []
    assert min(met["refused"], met["lost"], met["slow"]) > 0


def test_a_write_with_a_lost_response_counts_as_done(s3_server, s3_store, quick_retries):
    files = open_files(s3_store)
    with s3_server.faulty(Faults(seed=2, lost=0.25, methods=("PUT",))) as met:
        for number in range(15):
            assert files.create(f"a/{number}", b"same")
            assert not files.create(f"a/{number}", b"same")
            _, version = files.read_versioned(f"a/{number}")
            assert files.replace_if(f"a/{number}", b"new", version=version)
    assert met["lost"] > 3


def test_the_error_of_an_unreachable_store_has_its_uri(s3_server, s3_store, quick_retries):
    files = open_files(s3_store)
    with (
        s3_server.faulty(Faults(refused=1.0, named=f"{s3_store[5:]}/a")) as met,
        pytest.raises(StoreUnavailable, match=rf"can't write {s3_store}/a: tried 7 times") as e,
    ):
        files.write("a", b"")
    assert met["refused"] == 7
    assert isinstance(e.value, OSError)
    assert isinstance(e.value, StoreError)


def test_errors_are_classified_as_transient_or_not():
    from aiohttp import ClientPayloadError
    from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError
    from gcsfs.retry import HttpError

    def an_answer(status: int, code: str) -> Exception:
        answer = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
        error = OSError(errno.EIO, "as s3fs raises it")
        error.__cause__ = ClientError(answer, "PutObject")
        return error

    passing = [
        an_answer(503, "SlowDown"),
        an_answer(409, "ConditionalRequestConflict"),
        an_answer(400, "RequestTimeout"),
        EndpointConnectionError(endpoint_url="http://x"),
        ReadTimeoutError(endpoint_url="http://x"),
        ClientPayloadError(),
        ConnectionResetError(),
        HttpError({"code": 429}),
    ]
    others = [an_answer(403, "AccessDenied"), an_answer(412, "PreconditionFailed")]
    others += [PermissionError(), HttpError({"code": 400}), KeyError("x")]
    assert [error for error in passing if not retries.is_transient(error)] == []
    assert [error for error in others if retries.is_transient(error)] == []


def test_a_refusal_is_not_retried(s3_server, s3_store):
    bucket = s3_store.removesuffix("/results")
    with (
        s3_server.faulty(Faults()) as met,
        pytest.raises((StoreError, FileNotFoundError)),
    ):
        open_files(f"{bucket}-that-is-not-there/results").read("a")
    assert met["served"] < retries.TRIES


@pytest.mark.parametrize(
    ("uri", "package", "extra"), [("s3://b", "s3fs", "s3"), ("gs://b", "gcsfs", "gcs")]
)
def test_a_missing_package_is_named_by_its_extra(monkeypatch, uri, package, extra):
    from fsspec.registry import _registry

    monkeypatch.setitem(sys.modules, package, None)
    for name in ("s3", "gs", "gcs"):
        monkeypatch.delitem(_registry, name, raising=False)
    with pytest.raises(StoreError, match=rf'pip install "w2s_ray\[{extra}\]"') as caught:
        open_files(f"{uri}/results").read("a")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("operation", ["write", "create", "replace_if", "put_file", "write_folder"])
def test_a_full_disk_leaves_no_partial_file_and_raises_an_error(tmp_path, monkeypatch, operation):
    files = LocalFiles(tmp_path / "store")
    files.write("a/old", b"old")
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "file").write_bytes(b"new")

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    path = "a/old" if operation == "replace_if" else "a/new"
    arguments = {
        "replace_if": {"data": b"new", "version": files.read_versioned("a/old")[1]},
        "put_file": {"source": tmp_path / "source" / "file"},
        "write_folder": {"source": tmp_path / "source"},
    }
    with pytest.raises(OSError, match=str(tmp_path / "store" / path)) as caught:
        getattr(files, operation)(path, **arguments.get(operation, {"data": b"new"}))
    assert caught.value.errno == errno.ENOSPC
    names = {p.name for p in (tmp_path / "store" / "a").iterdir()}
    assert names - {".tmp-lock"} == {"old"}
    assert files.read("a/old") == b"old"


def test_creation_needs_no_hard_links(tmp_path, monkeypatch):
    def refused(*_):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr("os.link", refused)
    files = LocalFiles(tmp_path)
    assert files.create("a/b", b"one")
    assert not files.create("a/b", b"two")
    assert files.read("a/b") == b"one"
