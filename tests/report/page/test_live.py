"""The live page in a browser: new results appear, and what the reader has chosen stays."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator

import pytest
from aiohttp import web

from tests.report.stored import cells_of, write_run, write_sweep
from tests.store.builders import LATE, a_manifest
from w2s_ray.report.page.live import LivePage
from w2s_ray.report.page.server import application
from w2s_ray.store import Store

pytest.importorskip("selenium", reason="needs selenium, of the dev dependencies")
from tests.report.page import browser

TOKEN = "a-token"
CELLS = cells_of(tasks=("a", "b"), methods=("naive", "confidence"), seeds=1)
STUDENTS = {("a", "naive"): 0.7, ("b", "naive"): 0.7, ("a", "confidence"): 0.7}
LAST = next(c.student for c in CELLS if (c.task, c.method) == ("b", "confidence"))


@contextlib.contextmanager
def served(store: Store) -> Iterator[str]:
    """The address of a server for the store's sweep, with the token."""
    page = LivePage(store.uri, sweep="sweep", every_s=1)
    loop, started = asyncio.new_event_loop(), threading.Event()
    runner = web.AppRunner(application(page, host="127.0.0.1", token=TOKEN), shutdown_timeout=1)

    async def start() -> None:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        started.set()

    def run() -> None:
        loop.run_until_complete(start())
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert started.wait(30)
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/?token={TOKEN}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


@pytest.fixture(scope="module")
def driver() -> Iterator[browser.webdriver.Chrome]:
    driver = browser.start()
    yield driver
    driver.quit()


def test_new_results_appear_and_choices_stay(driver, tmp_path):
    store = Store.open(tmp_path / "results")
    write_sweep(store, CELLS, students=STUDENTS)
    with served(store) as address:
        page = browser.Page(driver, address)
        assert driver.current_url == f"{address.partition('?')[0]}"
        page.wait(lambda: page.one("#live").text == "live")
        page.run(
            "const task = document.querySelector('#filters [name=task]'); task.value = 'b';"
            "task.dispatchEvent(new Event('input', {bubbles: true}))"
        )
        page.wait(lambda: len(page.all("#pgr tr.row")) == 2)
        page.run("window.isOld = true")
        write_run(store, LAST, task="b", right=0.8)
        page.wait(lambda: page.run("return !window.isOld && !!document.body.dataset.drawn"))
        assert page.run("return CONTENT.runs[arguments[0]].status", LAST) == "done"
        assert page.run("return document.querySelector('#filters [name=task]').value") == "b"
        assert len(page.all("#pgr tr.row")) == 2
        assert not page.errors()
    page.wait(lambda: page.one("#live").text == "w2s serve has ended")


def test_new_results_of_a_sealed_sweep_are_shown_on_request(driver, tmp_path):
    store = Store.open(tmp_path / "results")
    write_sweep(store, CELLS, students=STUDENTS)
    store.manifests.write(a_manifest(*CELLS, sealed=True, created_at=LATE))
    with served(store) as address:
        page = browser.Page(driver, address)
        page.run("window.isOld = true")
        write_run(store, LAST, task="b", right=0.8)
        page.wait(lambda: page.one("#live").text == "New results: show them (counts as a look)")
        assert store.looks.count("sweep") == 1
        assert page.run("return window.isOld")
        page.one("#live button").click()
        page.wait(lambda: page.run("return !window.isOld && !!document.body.dataset.drawn"))
        assert store.looks.count("sweep") == 2
