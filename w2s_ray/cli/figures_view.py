"""What `w2s figures` writes: a sweep's figures as files, one folder for each sweep.

Owns names of files and what is said about them. It draws nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar, get_args

from w2s_ray.errors import InputError
from w2s_ray.plain_console import PlainConsole
from w2s_ray.report.figures import FORMATS, Format, Theme, XAxis, export, figures_of
from w2s_ray.report.results import Results
from w2s_ray.store import Store

T = TypeVar("T", bound=str)


def write_figures(
    store: Store,
    *,
    sweep: str | None,
    out: Path,
    formats: str,
    only: Sequence[str],
    x: str,
    theme: str,
    console: PlainConsole,
) -> None:
    """Write `OUT/SWEEP/NAME.FORMAT` for each figure of one sweep, or of all; or `only` some.

    `formats` are separated by commas.

    Raises:
        InputError: an option's value that there isn't, or a name that no sweep has a figure of.
    """
    wanted, axis = _formats(formats), _one_of(x, get_args(XAxis), "--x")
    look = _one_of(theme, get_args(Theme), "--theme")
    sweeps = store.sweep_names() if sweep is None else [sweep]
    made = {name: figures_of(Results(store), name, x=axis) for name in sweeps}
    known = dict.fromkeys(name for figures in made.values() for name in figures)
    unknown = [name for name in only if name not in known]
    if unknown:
        raise InputError(
            f"--only is {unknown[0]!r}; {', '.join(sweeps) or 'the store'} has the figures "
            f"{', '.join(known) or 'none: no run is done'}"
        )
    for of_sweep, figures in made.items():
        folder = out / of_sweep
        chosen = [figure for name, figure in figures.items() if not only or name in only]
        for figure in chosen:
            for format in wanted:
                path = folder / f"{figure.name}.{format}"
                _write(path, export(figure, format, theme=look))
            console.print(f"{folder / figure.name}: {figure.title}", soft_wrap=True)
        if not figures:
            console.print(f"{of_sweep}: no run is done, so there is nothing to draw")


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise InputError(f"--out: {path} can't be written ({error.strerror})") from error


def _one_of(value: str, known: Sequence[T], option: str) -> T:
    for each in known:
        if each == value:
            return each
    raise InputError(f"{option} is {value!r}; choose one of {', '.join(known)}")


def _formats(text: str) -> tuple[Format, ...]:
    """The formats in a comma-separated list.

    Raises:
        InputError: one that there isn't.
    """
    given = [word.strip() for word in text.split(",") if word.strip()]
    unknown = [word for word in given if word not in FORMATS]
    if unknown or not given:
        raise InputError(
            f"--format is {text!r}; choose among {', '.join(FORMATS)}, separated by commas"
        )
    return tuple(known for known in FORMATS if known in given)
