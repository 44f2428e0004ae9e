"""The notebook of the documents, executed with an interrupt of its longest cell."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

FILE = Path(__file__).parents[1] / "docs" / "notebook.ipynb"
RUN = "outcome"
"""The cell that runs the sweep."""


def text_of(output: Any) -> str:
    return output["data"]["text/plain"]


def counts_of(outcome: Any) -> dict[str, int]:
    """The first word of each line of an outcome's table -> its count."""
    lines = [line.split() for line in text_of(outcome).splitlines()[2:]]
    return {words[0]: int(words[-1]) for words in lines if words[-1].isdigit()}


async def run_cell(client: NotebookClient, number: int) -> list[Any]:
    """The outputs of a cell; none is an error, a warning or a line of a log."""
    cell = client.nb.cells[number]
    cell.outputs = []
    await client.async_execute_cell(cell, number)
    kinds = {output["output_type"] for output in cell.outputs}
    assert kinds <= {"display_data", "execute_result"}, cell.outputs
    return cell.outputs


async def interrupted(client: NotebookClient, number: int, store: Path) -> list[Any]:
    """The outputs of a cell that is interrupted once the store has a result."""
    running = asyncio.create_task(run_cell(client, number))
    while not running.done() and not list(store.glob("runs/*/record.json")):
        await asyncio.sleep(0.05)
    assert client.km is not None
    await client.km.interrupt_kernel()  # type: ignore[misc]  # the manager is asynchronous
    return await running


@pytest.mark.ray
@pytest.mark.slow
def test_the_notebook_runs_and_an_interrupt_is_a_clean_stop(tmp_path, monkeypatch):
    for variable in ("JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(variable, str(tmp_path / "jupyter"))
    notebook = nbformat.read(FILE, as_version=4)
    folder = tmp_path / "work"
    folder.mkdir()
    client = NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    found: dict[str, list[Any]] = {}

    async def run() -> None:
        async with client.async_setup_kernel():
            for number, cell in enumerate(notebook.cells):
                if cell.cell_type != "code":
                    continue
                if cell.id == RUN:
                    found["interrupted"] = await interrupted(client, number, folder / "results")
                found[cell.id] = await run_cell(client, number)

    asyncio.run(run())
    (plan,) = found["plan"]
    assert text_of(plan).startswith("Plan of reviews: 1 task x 1 pair x 2 methods x 3 seeds = 6 ")
    assert "<table>" in plan["data"]["text/html"]

    progress, stopped = found["interrupted"]
    assert len(text_of(progress).splitlines()) == 1
    assert text_of(stopped).startswith("reviews: stopped by Ctrl-C")
    progress, outcome = found["outcome"]
    assert len(text_of(progress).splitlines()) == 1
    assert text_of(outcome).startswith("reviews: complete")
    first, second = counts_of(stopped), counts_of(outcome)
    assert 1 <= first["done"] < first["planned"] == second["done"] == 12
    assert second["fits"] <= 12 - first["done"]

    (table,) = found["pgr"]
    assert "s → m" in table["data"]["text/html"]
    (figure,) = found["figure"]
    assert figure["data"]["image/svg+xml"].startswith("<svg")
    for name in ("frame", "predictions"):
        (frame,) = found[name]
        assert "<table" in frame["data"]["text/html"]
