"""`w2s schema`."""

from __future__ import annotations

import json

import typer


def schema() -> None:
    """Print the JSON schema of sweep files, with which editors complete and check them."""
    from w2s_ray.config.json_schema import sweep_schema

    typer.echo(json.dumps(sweep_schema(), indent=1, allow_nan=False))
