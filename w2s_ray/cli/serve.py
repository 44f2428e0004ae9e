"""`w2s serve`."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated

import typer

from w2s_ray.cli.inputs import optional_sweep
from w2s_ray.cli.options import NoTextsOption, OptionalSweepFile, Overrides, StoreOption
from w2s_ray.errors import InputError
from w2s_ray.paths import checked_folder_or_uri
from w2s_ray.plain_console import PlainConsole


def serve(
    sweep_file: OptionalSweepFile = None,
    overrides: Overrides = None,
    store: StoreOption = None,
    port: Annotated[int, typer.Option(help="The port; 0 is a free one.")] = 0,
    host: Annotated[
        str, typer.Option(help="The address to listen at; another one is open to the network.")
    ] = "127.0.0.1",
    every: Annotated[
        float, typer.Option(help="Seconds between two looks for new results.", metavar="SECONDS")
    ] = 5.0,
    no_texts: NoTextsOption = False,
) -> None:
    """Serve the report as a live page for this machine's browser, until Ctrl-C."""
    if find_spec("aiohttp") is None:
        raise InputError('aiohttp is missing: pip install "w2s_ray[serve]"')
    if not 0 <= port <= 65535:
        raise InputError(f"--port is {port}; give 0 for a free one, or a number up to 65535")
    if not 0.5 <= every < float("inf"):
        raise InputError(f"--every is {every:g}; give 0.5 seconds or more")
    from w2s_ray.report.page.live import LivePage
    from w2s_ray.report.page.server import LOOPBACK
    from w2s_ray.report.page.server import serve as serve_page
    from w2s_ray.store import Store

    sweep = optional_sweep(sweep_file, overrides)
    uri = store or (sweep.store if sweep is not None else "results")
    results = Store.open(checked_folder_or_uri(uri))
    if sweep is None:
        results.check_readable()
    console = PlainConsole(stderr=True, soft_wrap=True)

    def announce(address: str) -> None:
        typer.echo(address)
        console.print("open this address in a browser; Ctrl-C ends the server")
        if host not in LOOPBACK:
            console.print(
                "others in this network can reach it, and what they read is not encrypted"
            )

    page = LivePage(
        results.uri, sweep=sweep.name if sweep else None, every_s=every, texts=not no_texts
    )
    serve_page(page, host=host, port=port, announce=announce)
