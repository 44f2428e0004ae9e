"""`w2s serve`: who may read the page, and how it follows the store."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.request import HTTPCookieProcessor, build_opener

import pytest
from aiohttp.test_utils import TestClient, TestServer

from tests.report.stored import cells_of, write_run, write_sweep
from tests.store.builders import LATE, a_manifest, a_record, an_id
from w2s_ray.report.page import live
from w2s_ray.report.page.live import LivePage
from w2s_ray.report.page.server import application, is_own_host
from w2s_ray.report.results import Results
from w2s_ray.report.sealed import looks_text
from w2s_ray.store import Store

TOKEN = "a-token"
CELLS = cells_of(tasks=("a",), methods=("naive", "confidence"), seeds=1)
STUDENT = next(cell.student for cell in CELLS if cell.method == "confidence")


def light_content(results: Results, sweeps: Sequence[str], *, has_texts: bool) -> dict[str, Any]:
    """Some of a page's content, without the figures, which take seconds."""
    store = results.store
    shown = [{"name": name, "looks": looks_text(store, name)} for name in sweeps]
    return {"sweeps": shown, "runs": {record.id: {"status": "done"} for record in store.records()}}


@pytest.fixture(autouse=True)
def _light(monkeypatch) -> None:
    monkeypatch.setattr(live, "page_content", light_content)


def store_of(uri: str | Path) -> Store:
    """A sweep of which one student is not done."""
    store = Store.open(uri)
    write_sweep(store, CELLS, students={("a", "naive"): 0.7})
    return store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_of(tmp_path / "results")


def page_of(store: Store, sweep: str | None = "sweep") -> LivePage:
    return LivePage(store.uri, sweep=sweep, every_s=0)


def visit(
    page: LivePage, steps: Callable[[TestClient], Awaitable[None]], *, host: str = "127.0.0.1"
) -> None:
    """Run `steps` with a client of a server for `page`."""

    async def run() -> None:
        server = TestServer(application(page, host=host, token=TOKEN))
        async with TestClient(server) as client:
            await steps(client)

    asyncio.run(run())


async def enter(client: TestClient) -> None:
    """Give the token; the client keeps the cookie."""
    answer = await client.get(f"/?token={TOKEN}", allow_redirects=False)
    assert answer.status == 303
    assert answer.headers["Location"] == "/"


def content_of(html: str) -> dict:
    return json.loads(re.findall(r'<script [^>]*id="content">(.*?)</script>', html)[0])


@pytest.mark.parametrize("path", ["/", "/version", "/nothing", "/?token=wrong", "/?token="])
def test_nothing_is_read_without_the_token(store, path):
    async def steps(client: TestClient) -> None:
        for headers in ({}, {"Cookie": "w2s_0=a-token"}):
            answer = await client.get(path, headers=headers)
            assert answer.status == 403
            assert await answer.text() == "open the address that w2s serve has printed"
        answer = await client.post(path)
        assert answer.status == 403

    visit(page_of(store), steps)


def test_the_token_gives_a_cookie_and_leaves_the_address(store):
    async def steps(client: TestClient) -> None:
        first = await client.get(f"/?token={TOKEN}", allow_redirects=False)
        cookie = first.headers["Set-Cookie"]
        assert first.status == 303
        assert first.headers["Location"] == "/"
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        page = await client.get("/")
        assert page.status == 200
        assert (await page.text()).startswith("<!doctype html>")
        wrong = await client.get("/?token=wrong")
        assert wrong.status == 403

    visit(page_of(store), steps)


def test_the_page_is_read_only_and_stays_out_of_caches_and_frames(store):
    async def steps(client: TestClient) -> None:
        await enter(client)
        for method in ("POST", "PUT", "DELETE", "HEAD"):
            assert (await client.request(method, "/")).status == 405
        page, version, missing = [await client.get(p) for p in ("/", "/version", "/nothing")]
        assert [page.status, version.status, missing.status] == [200, 200, 404]
        for answer in (page, version, missing):
            assert answer.headers["Cache-Control"] == "no-store"
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
            assert "aiohttp" not in answer.headers["Server"]
        assert "default-src 'none'" in version.headers["Content-Security-Policy"]
        policy = (await page.text()).split('Content-Security-Policy" content="')[1].split('"')[0]
        assert "default-src &#x27;none&#x27;" in policy
        assert "connect-src &#x27;self&#x27;" in policy

    visit(page_of(store), steps)


@pytest.mark.parametrize(
    ("header", "host", "is_own"),
    [
        ("127.0.0.1:8000", "127.0.0.1", True),
        ("localhost:9000", "127.0.0.1", True),
        ("LOCALHOST", "127.0.0.1", True),
        ("[::1]:8000", "127.0.0.1", True),
        ("evil.example:8000", "127.0.0.1", False),
        ("127.0.0.1.evil.example", "127.0.0.1", False),
        ("user@localhost", "127.0.0.1", True),
        ("localhost@evil.example", "127.0.0.1", False),
        ("192.168.1.7:8000", "127.0.0.1", False),
        ("", "127.0.0.1", False),
        ("[", "127.0.0.1", False),
        ("192.168.1.7:8000", "192.168.1.7", True),
        ("node.example:80", "Node.Example", True),
        ("192.168.1.7:8000", "0.0.0.0", True),
        ("[fe80::1]:8000", "::", True),
        ("evil.example", "0.0.0.0", False),
    ],
)
def test_only_its_own_names_are_answered(header, host, is_own):
    assert is_own_host(header, host) is is_own


def test_a_foreign_host_name_is_refused_with_the_cookie_too(store):
    async def steps(client: TestClient) -> None:
        await enter(client)
        answer = await client.get("/", headers={"Host": "evil.example"})
        assert answer.status == 403
        assert await answer.text() == "this host name is not the server's"

    visit(page_of(store), steps)


def test_a_new_result_gives_a_new_page_and_an_unchanged_store_none(store):
    async def steps(client: TestClient) -> None:
        await enter(client)
        first = await client.get("/")
        tag, text = first.headers["ETag"], await first.text()
        content = content_of(text)
        assert f'"{content["live"]["version"]}"' == tag
        assert STUDENT not in content["runs"]
        for path in ("/version", "/"):
            same = await client.get(path, headers={"If-None-Match": tag})
            assert (same.status, await same.read(), same.headers["ETag"]) == (304, b"", tag)
        write_run(store, STUDENT, task="a", right=0.8)
        changed = await client.get("/version", headers={"If-None-Match": tag})
        assert changed.status == 200
        assert (await changed.json())["version"] == changed.headers["ETag"].strip('"')
        second = await client.get("/", headers={"If-None-Match": tag})
        assert second.headers["ETag"] == changed.headers["ETag"] != tag
        assert content_of(await second.text())["runs"][STUDENT]["status"] == "done"

    visit(page_of(store), steps)


def test_failures_trials_and_new_starts_are_new_versions_and_other_sweeps_are_not(store):
    page, seen = page_of(store), set[str | None]()
    changes: list[Callable[[], None]] = [
        lambda: None,
        lambda: store.write_attempt(
            a_record(id=STUDENT, status="failed", accuracy=None, reason="once")
        ),
        lambda: store.manifests.write(
            a_manifest(
                *(cell.model_copy(update={"study": an_id("study")}) for cell in CELLS),
                created_at=LATE,
            )
        ),
        lambda: store.write_trial(an_id("study"), 0, {"state": "complete", "value": 1, "fits": []}),
    ]
    for number, change in enumerate(changes, start=1):
        change()
        seen.add(page.version())
        assert len(seen) == number
    other = cells_of(tasks=("b",), methods=("naive",), seeds=1)
    write_sweep(store, other, students={("b", "naive"): 0.7}, name="other")
    assert page.version() in seen
    assert page_of(store, None).version() not in seen


def test_a_sealed_sweep_counts_one_look_for_each_version(store):
    store.manifests.write(a_manifest(*CELLS, sealed=True, created_at=LATE))
    page = page_of(store)
    assert store.looks.count("sweep") == 0
    for _ in range(3):
        assert page.version() is not None
        assert b"its figures were looked at once" in getattr(page.page(), "html", b"")
    assert store.looks.count("sweep") == 1
    write_run(store, STUDENT, task="a", right=0.8)
    for _ in range(3):
        page.version()
    assert store.looks.count("sweep") == 1
    for _ in range(3):
        page.page()
    assert store.looks.count("sweep") == 2


def test_it_can_start_before_the_sweep(tmp_path):
    page = LivePage(str(tmp_path / "<results>"), sweep="sweep", every_s=0)

    async def steps(client: TestClient) -> None:
        await enter(client)
        waiting = await client.get("/")
        assert waiting.status == 200
        text = await waiting.text()
        assert '<meta http-equiv="refresh" content="1">' in text
        assert "results of the sweep sweep in" in text
        assert "&lt;results&gt;" in text
        assert not (tmp_path / "<results>").exists()
        store_of(tmp_path / "<results>")
        assert CELLS[0].supervisor in content_of(await (await client.get("/")).text())["runs"]

    visit(page, steps)


def test_a_store_that_cant_be_read_is_one_line(store):
    page = page_of(store)

    async def steps(client: TestClient) -> None:
        await enter(client)
        Path(store.uri, "store.json").write_text('{"format": 999}')
        for path in ("/", "/version"):
            answer = await client.get(path)
            assert answer.status == 503
            assert store.uri in await answer.text()

    visit(page, steps)


def test_a_store_on_object_storage_is_followed(s3_store):
    store = store_of(s3_store)
    page = page_of(store)
    first = page.page()
    assert first is not None
    assert page.page() is first
    write_run(store, STUDENT, task="a", right=0.8)
    second = page.page()
    assert second is not None
    assert second.version != first.version


def test_the_command_prints_its_address_and_ctrl_c_ends_it(store):
    code = (
        "import sys\n"
        "from w2s_ray.cli import app\n"
        f"app(['serve', '--store', {store.uri!r}], standalone_mode=False)\n"
        "print('loaded:', *({'ray', 'torch', 'transformers'} & sys.modules.keys()))\n"
    )
    server = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:"), server.communicate()
        reader = build_opener(HTTPCookieProcessor())
        with reader.open(address, timeout=60) as answer:
            assert answer.geturl() == f"{address.partition('/?')[0]}/"
            assert content_of(answer.read().decode())["sweeps"][0]["name"] == "sweep"
        server.send_signal(signal.SIGINT)
        out, err = server.communicate(timeout=60)
    finally:
        server.kill()
    assert server.returncode == 0, err
    assert out == "loaded:\n"
    assert err == "open this address in a browser; Ctrl-C ends the server\n"
