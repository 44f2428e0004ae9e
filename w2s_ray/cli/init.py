"""`w2s init`: a sweep file from a template, with the columns of a table of one's own.

Owns the templates, which are files of the package, and how a guessed task is written into one.
"""

from __future__ import annotations

import json
import re
import shlex
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from w2s_ray.cli.inputs import output_console
from w2s_ray.errors import InputError
from w2s_ray.printable import cut, is_printable, shown

if TYPE_CHECKING:
    from w2s_ray.data.guess import Guess

SCHEMA = "sweep.schema.json"
TEMPLATES = ("quickstart", "csv", "pairs", "chess", "choices", "figure")
OF_TABLES = ("csv", "pairs")
"""Templates of a table of one's own."""


def init(
    template: Annotated[
        str | None,
        typer.Argument(
            help=f"One of {', '.join(TEMPLATES)}; none: list them.",
            show_default=False,
            autocompletion=lambda incomplete: [t for t in TEMPLATES if t.startswith(incomplete)],
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("sweep.yaml"),
    path: Annotated[
        str | None,
        typer.Option(help="A table of your own, for csv and pairs.", show_default=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file.")] = False,
) -> None:
    """Write a commented sweep file for a start, and the JSON schema for editors beside it."""
    console = output_console()
    if template is None:
        for name in TEMPLATES:
            console.print(f"{name:<11} {_template(name).partition(chr(10))[0][2:]}", soft_wrap=True)
        return
    if template not in TEMPLATES:
        from w2s_ray.validation import unknown_key

        raise InputError(unknown_key(template, TEMPLATES, what="template"))
    if path is not None and template not in OF_TABLES:
        raise InputError(f"--path is for the templates {' and '.join(OF_TABLES)}, not {template}")
    _check_out(out, force=force)
    text = _template(template)
    if path is not None:
        from w2s_ray.data.guess import guess_task

        guess = guess_task(path, name=_name(path), pairs=template == "pairs")
        text = _with_guess(text, guess)
    try:
        out.write_text(f"# yaml-language-server: $schema={SCHEMA}\n{text}", encoding="utf-8")
        wrote_schema = _write_schema(out.parent / SCHEMA)
    except OSError as error:
        raise InputError(f"--out {out} can't be written ({error.strerror}); name a file") from error
    console.print(f"{out}: template {template}{f', with {SCHEMA} beside it' * wrote_schema}")
    if path is not None:
        console.print("columns and counts are guesses, marked so; read them before you run it")
    console.print(f"next: w2s plan {shlex.quote(str(out))}", soft_wrap=True)


def _template(name: str) -> str:
    return (files("w2s_ray.cli") / "templates" / f"{name}.yaml").read_text(encoding="utf-8")


def _check_out(out: Path, *, force: bool) -> None:
    if (out.exists() and not out.is_file()) or not out.parent.is_dir():
        raise InputError(f"--out {out} is not a file in an existing folder; name one")
    if out.exists() and not force:
        raise InputError(f"{out} is there already; name another file (--out), or add --force")


def _write_schema(path: Path) -> bool:
    """Write the schema unless there is one; whether it was written."""
    from w2s_ray.config.json_schema import sweep_schema

    if path.exists():
        return False
    path.write_text(json.dumps(sweep_schema(), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return True


def _name(path: str) -> str:
    """A name for the sweep and its task, from a file's."""
    stem = Path(path).name.partition(".")[0]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[:60] or "mine"


def _with_guess(text: str, guess: Guess) -> str:
    """A template's text with the guessed task in place of its own."""
    text = re.sub(r"^name: .*$", f"name: {guess.task.name}", text, count=1, flags=re.MULTILINE)
    text = re.sub(r"^task:\n(?:  .*\n)+", lambda _: _task(guess), text, count=1, flags=re.MULTILINE)
    tokens = next((n for n in (64, 128, 256, 512) if n >= 1.5 * guess.words), 512)
    why = f"# guess: 95 % of the texts have at most {guess.words} words"
    return re.sub(
        r"^  max_tokens: .*$", f"  max_tokens: {tokens:<16} {why}", text, flags=re.MULTILINE
    )


def _task(guess: Guess) -> str:
    """The guessed task in YAML, with the reasons as comments."""
    task, columns = guess.task, guess.task.columns
    assert columns is not None
    of = "" if guess.is_whole else "first "
    counts = [f"{count:,} of {shown(label)}" for label, count in guess.classes.items()]
    classes = (" and " if len(counts) == 2 else ", ").join(counts)
    lines = [("task:", ""), (f"  name: {task.name}", ""), (f"  path: {_scalar(task.path)}", "")]
    lines.append(("  columns:", f"guesses from the {of}{guess.rows:,} rows"))
    for key, value in columns.model_dump(exclude_none=True).items():
        lines.append((f"    {key}: {_scalar(value)}", f"guess: {guess.reasons[key]}"))
    if guess.group is not None:
        lines.append((f"    #group: {_scalar(guess.group)}", "if its rows must be in one part"))
    lines.append((f"  train: {task.train}", "counts that the file has enough rows for"))
    lines += [(f"  validation: {task.validation}", ""), (f"  test: {task.test}", "")]
    if columns.category is None:
        rows = f"as many rows of each class{f': {classes}' * bool(classes)}"
        lines.append(("  balance: true", rows))
    else:
        lines.append((f"  # classes: {cut(classes, most=90)}", ""))
    lines.append(("  #dedupe: near", "leave near copies out"))
    return "".join(f"{code:<30} # {why}\n" if why else f"{code}\n" for code, why in lines)


def _scalar(value: object) -> str:
    """A value in YAML; text in quotes unless it is plain."""
    is_word = isinstance(value, str) and re.fullmatch(r"[A-Za-z_][\w./-]*", value, re.ASCII)
    if is_word and str(value).lower() not in ("true", "false", "null", "yes", "no", "on", "off"):
        return str(value)
    return json.dumps(value, ensure_ascii=not is_printable(str(value)))
