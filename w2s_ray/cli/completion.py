"""Completion of a command's arguments in the shell: files, names of a sweep, run ids, columns.

Owns what is offered for each kind of argument. It reads local files alone, and imports no part of
the package: a key press must be answered at once. What can't be read gives no offers.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

FIGURES = (
    *("accuracy", "pgr-by-size", "pgr-grid", "pgr-grid-median", "methods", "methods-pgr"),
    *("methods-accuracy", "ranks", "training", "training-loss", "agreement", "agreement-by-size"),
    *("four-cells", "similarity", "misfit", "reliability", "study-history", "importance"),
)
"""Names of figures that don't depend on the sweep."""
MOST = 500
"""Offers for one argument, at most."""
DEEPEST = 2
"""Folders below the current one in which sweep files are looked for."""
_NAMED = ("label", "name", "kind", "ladder")


def complete_sweep_file(incomplete: str) -> list[str]:
    """YAML files, also in folders below."""
    folder = incomplete[: incomplete.rfind("/") + 1]
    found = _yaml_files(Path(folder or "."), DEEPEST)
    return [name for path in found if (name := f"{folder}{path}").startswith(incomplete)][:MOST]


def complete_override(ctx: Any, incomplete: str) -> list[str]:
    """`KEY=VALUE` for each value of the sweep file, by the names of its models and methods."""
    values = _flat(_sweep(ctx), "")
    return _offers((f"{key}={_plain(value)}" for key, value in values), incomplete)


def complete_method(ctx: Any, incomplete: str) -> list[str]:
    """The methods of the sweep file, or of the sweeps in the store."""
    given = _sweep(ctx).get("methods")
    methods = given if isinstance(given, dict) else dict.fromkeys(_stored_methods(ctx))
    return _offers(methods, incomplete)


def complete_run(ctx: Any, incomplete: str) -> list[str]:
    """Ids of the runs in a local store."""
    with contextlib.suppress(OSError):
        return _offers(sorted(os.listdir(_store(ctx) / "runs")), incomplete)
    return []


def complete_figure(incomplete: str) -> list[str]:
    """Names of figures."""
    return _offers(FIGURES, incomplete)


def complete_sql(incomplete: str) -> list[str]:
    """The SQL with its last word completed to a table, or to a column of a table that it names."""
    known = json.loads((files("w2s_ray.cli") / "sql_names.json").read_text(encoding="utf-8"))
    start = max(map(incomplete.rfind, " ,(.=<>+-*/\n\t")) + 1
    begun, last = incomplete[:start], incomplete[start:]
    words = set(incomplete.replace(",", " ").replace("(", " ").replace(")", " ").split())
    tables = [table for table in known if table in words] or list(known)
    names = dict.fromkeys((*known, *(column for table in tables for column in known[table])))
    return [begun + name for name in names if last and name.startswith(last)][:MOST]


def _offers(names: Any, incomplete: str) -> list[str]:
    found = (str(name) for name in names)
    return [name for name in dict.fromkeys(found) if name.startswith(incomplete)][:MOST]


def _yaml_files(folder: Path, depth: int) -> Iterator[str]:
    """YAML files in a folder and, up to `depth`, below it, relative to it."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: (entry.is_dir(), entry.name))
    except OSError:
        return
    for entry in entries[: 10 * MOST]:
        if entry.name.startswith("."):
            continue
        if entry.name.endswith((".yaml", ".yml")) and entry.is_file():
            yield entry.name
        elif depth and entry.is_dir():
            yield from (f"{entry.name}/{name}" for name in _yaml_files(Path(entry), depth - 1))


def _sweep(ctx: Any) -> dict[str, Any]:
    """The values of the sweep file that is given before, without what it includes."""
    import yaml

    path = ctx.params.get("sweep_file") or ctx.params.get("target")
    with contextlib.suppress(OSError, UnicodeDecodeError, yaml.YAMLError, TypeError):
        data = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        return data if isinstance(data, dict) else {}
    return {}


def _store(ctx: Any) -> Path:
    """The folder of the store that is given, or of the sweep file's, or else `results`."""
    return Path(str(ctx.params.get("store") or _sweep(ctx).get("store") or "results")).expanduser()


def _stored_methods(ctx: Any) -> Iterator[str]:
    """The methods of the sweeps in a local store, by their newest manifests."""
    for folder in sorted((_store(ctx) / "sweeps").glob("*")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            newest = max(folder.glob("*.json"), key=lambda path: path.stat().st_mtime)
            cells = json.loads(newest.read_text(encoding="utf-8"))["cells"]
            yield from (cell["method"] for cell in cells)


def _flat(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Every value below `value` with its dotted key; an entry of a list by its name."""
    entries: dict[Any, Any] = value if isinstance(value, dict) else {}
    if isinstance(value, list) and all(isinstance(entry, dict) for entry in value):
        named = ((next((e[k] for k in _NAMED if k in e), i), e) for i, e in enumerate(value))
        entries = dict(named)
    if not entries and key:
        yield key, value
    for name, below in entries.items():
        yield from _flat(below, f"{key}.{name}" if key else str(name))


def _plain(value: Any) -> str:
    """A value as it is written without quotes in a shell; empty for lists and texts with spaces."""
    text = (
        "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    )
    return text if text.replace(".", "").replace("-", "").replace("_", "").isalnum() else ""
