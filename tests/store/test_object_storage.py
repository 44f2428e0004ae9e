"""Queries and commands on a store on S3, and conditional writes on an imitation of GCS."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from email.parser import BytesParser
from urllib.parse import parse_qs, unquote

import pytest

from tests.faulty_s3 import Faults
from tests.store.builders import (
    a_cell,
    a_manifest,
    a_record,
    an_id,
    some_metrics,
    some_predictions,
    some_rows,
)
from tests.support import w2s
from w2s_ray.store import Store
from w2s_ray.store.files import open_files
from w2s_ray.store.leases import Leases
from w2s_ray.store.sql_query import query


def a_small_sweep(store: Store) -> Store:
    """One cell, with all its runs done."""
    cell = a_cell()
    store.splits.write("split-1", some_rows(), {"task": "sciq"})
    for name, accuracy in (("supervisor", 0.6), ("ceiling", 0.9), ("student", 0.75)):
        store.write_run(
            a_record(name, id=getattr(cell, name), accuracy=accuracy),
            metrics=some_metrics(getattr(cell, name)),
            predictions=some_predictions(),
        )
    store.write_attempt(a_record("bad", accuracy=None, status="failed", reason="out of memory"))
    store.manifests.write(a_manifest(cell))
    return store


def test_a_query_reads_a_store_on_s3(s3_store):
    store = a_small_sweep(Store.open(s3_store))
    found = query(store, "select count(*) n, sum(label) ones from predictions").to_pylist()
    assert found == [{"n": 9, "ones": 3}]
    found = query(store, "select count(*) n from metrics").to_pylist()
    assert found == [{"n": 9}]
    found = query(store, "select count(*) n, sum(bytes) > 0 sized from runs").to_pylist()
    assert found == [{"n": 4, "sized": True}]


def test_a_query_succeeds_despite_transient_errors(s3_server, s3_store):
    store = a_small_sweep(Store.open(s3_store))
    with s3_server.faulty(Faults(seed=4, refused=0.1, slow=0.1, delay_s=0.05)) as met:
        found = query(store, "select sum(label) ones from predictions").to_pylist()
    assert found == [{"ones": 3}]
    assert met["refused"] > 0


def test_the_commands_read_a_store_on_s3(s3_store):
    a_small_sweep(Store.open(s3_store))
    ended = w2s("table", "--store", s3_store, "--format", "json")
    assert ended.returncode == 0, ended.stderr
    assert "0.5" in ended.stdout
    ended = w2s("query", "select count(*) n from runs", "--store", s3_store, "--format", "csv")
    assert (ended.returncode, ended.stdout.split()) == (0, ["n", "4"]), ended.stderr
    ended = w2s("explain", an_id("bad")[:6], "--store", s3_store)
    assert ended.returncode == 0, ended.stderr
    assert "out of memory" in ended.stdout
    ended = w2s("status", "--store", s3_store)
    assert ended.returncode == 0, ended.stderr


def test_an_unreachable_store_gives_a_one_line_error(s3_store, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "")
    ended = w2s("query", "from runs", "--store", s3_store)
    assert ended.returncode != 0
    assert s3_store in ended.stderr
    assert "credentials" in ended.stderr
    assert "Traceback" not in ended.stderr


class Gcs:
    """The part of the JSON API that conditional writes use: one bucket, with generations."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[int, bytes, dict]] = {}
        self.failures: list[int] = []
        """Statuses of the next responses; the requests themselves are carried out."""
        self._generation = 100
        self._lock = threading.Lock()

    def __call__(self, environ, start_response):
        parameters = {k: v[0] for k, v in parse_qs(environ.get("QUERY_STRING", "")).items()}
        with self._lock:
            status, headers, body = self._served(environ, parameters)
            if self.failures and environ["REQUEST_METHOD"] == "POST":
                status, headers = self.failures.pop(), []
                body = json.dumps({"error": {"code": status, "message": "lost"}}).encode()
        start_response(f"{status} OK", [*headers, ("Content-Length", str(len(body)))])
        return [body]

    def _served(self, environ, parameters):
        size = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(size)
        name = unquote(environ["PATH_INFO"].partition("/o/")[2])
        if environ["REQUEST_METHOD"] == "POST":
            whole = f"Content-Type: {environ['CONTENT_TYPE']}\n\n".encode() + body
            about, data = BytesParser().parsebytes(whole).get_payload()
            about = json.loads(about.get_payload())
            name, content = about["name"], data.get_payload(decode=True)
        generation, there, metadata = self.objects.get(name, (0, b"", {}))
        wanted = parameters.get("ifGenerationMatch")
        if environ["REQUEST_METHOD"] != "POST" and not generation:
            return 404, [], b"{}"
        if wanted is not None and int(wanted) != generation:
            return 412, [], json.dumps({"error": {"code": 412, "message": "condition"}}).encode()
        match environ["REQUEST_METHOD"]:
            case "POST":
                self._generation += 1
                self.objects[name] = (self._generation, content, about.get("metadata", {}))
                return 200, [], json.dumps({"generation": str(self._generation)}).encode()
            case "DELETE":
                del self.objects[name]
                return 204, [], b""
        if parameters.get("alt") == "media":
            return 200, [("X-Goog-Generation", str(generation))], there
        return 200, [], json.dumps({"generation": str(generation), "metadata": metadata}).encode()


@pytest.fixture
def gcs(monkeypatch):
    import fsspec
    import gcsfs
    from werkzeug.serving import make_server

    imitation = Gcs()
    server = make_server("127.0.0.1", 0, imitation, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server.server_port}")
    for protocol in ("gs", "gcs"):
        monkeypatch.setitem(fsspec.config.conf, protocol, {"token": "anon"})
    gcsfs.GCSFileSystem.clear_instance_cache()
    yield imitation
    server.shutdown()
    thread.join()
    server.server_close()


def test_conditional_writes_on_gcs_use_generations(gcs):
    files = open_files("gs://bucket/results")
    assert files.create("a/b", b"one\n\x00")
    assert not files.create("a/b", b"two")
    data, version = files.read_versioned("a/b")
    assert data == b"one\n\x00"
    assert files.replace_if("a/b", b"three", version=version)
    assert not files.replace_if("a/b", b"four", version=version)
    assert not files.remove_if("a/b", version=version)
    data, version = files.read_versioned("a/b")
    assert data == b"three"
    assert files.remove_if("a/b", version=version)
    assert not files.replace_if("a/b", b"five", version=version)
    assert gcs.objects == {}


def test_exactly_one_of_many_writers_to_gcs_succeeds(gcs):
    files = open_files("gs://bucket/results")
    files.create("first", b"")
    with ThreadPoolExecutor(4) as pool:
        created = list(pool.map(lambda n: files.create("race", b"%d" % n), range(4)))
    assert created.count(True) == 1
    assert gcs.objects["results/race"][1] == b"%d" % created.index(True)


def test_a_write_to_gcs_with_a_lost_response_counts_as_done(gcs):
    files = open_files("gs://bucket/results")
    gcs.failures.append(503)
    assert files.create("a", b"one")
    assert not files.create("a", b"one")


def test_leases_on_gcs(gcs):
    leases = Leases(open_files("gs://bucket/results"))
    lease = leases.acquire("fit")
    assert leases.acquire("fit") is None
    lease.renew()
    assert not lease.lost
    lease.release()
    assert leases.holder("fit") is None
