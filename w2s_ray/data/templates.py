"""A model's chat template, tried on a task's messages before anything runs.

Owns where a folder keeps its template, the rendering with Jinja in the sandbox that transformers
uses, and the note of what has been tried. One row is tried of each sequence of roles, since roles
are what templates refuse. Texts for training are rendered by the tokenizer itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from w2s_ray.config import FORMS, ModelSource
from w2s_ray.data.cache import read_note, write_note
from w2s_ray.data.chat import Messages
from w2s_ray.data.example import Example
from w2s_ray.data.files import stamp
from w2s_ray.data.folders import TOKENIZER_CONFIG, folder_of
from w2s_ray.data.headers import read_object
from w2s_ray.data.split import Split
from w2s_ray.errors import InputError

_TEMPLATE = "chat_template.jinja"
_SPECIAL = "special_tokens_map.json"
_TOKENS = tuple(f"{name}_token" for name in ("bos", "eos", "unk", "sep", "pad", "cls", "mask"))
_LONGEST_REASON = 200


def check_template(
    source: ModelSource, *, task: str, fingerprint: str, split: Callable[[], Split]
) -> None:
    """Refuse a model on this machine whose chat template can't render the messages of a split.

    `split` gives the rows, if no note says that they have been tried.

    Raises:
        InputError: names the task, the row, the template and what it says.
    """
    folder = folder_of(source)
    if folder is None or (source.trust_remote_code and any(folder.glob("*.py"))):
        return
    files = [
        folder / name
        for name in (_TEMPLATE, TOKENIZER_CONFIG, _SPECIAL)
        if (folder / name).is_file()
    ]
    key = [fingerprint, [list(stamp(path.resolve())) for path in files]]
    if read_note("chat_templates", key=key) is not None:
        return
    found = _template(folder)
    if found is not None:
        where, text = found
        _try(text, where, _special_tokens(folder), split(), task)
    write_note("chat_templates", key=key, note={})


def _template(folder: Path) -> tuple[Path, str] | None:
    """The template that the tokenizer in `folder` uses, and its file."""
    path = folder / _TEMPLATE
    if path.is_file():
        try:
            return path, path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise InputError(f"{path} is not UTF-8; fetch or write the file again") from None
    path = folder / TOKENIZER_CONFIG
    match read_object(path).get("chat_template") if path.is_file() else None:
        case str(text):
            return path, text
        case [*named] if named:
            by_name = {each.get("name"): each for each in named if isinstance(each, dict)}
            text = by_name.get("default", {}).get("template")
            if not isinstance(text, str):
                raise InputError(f"{path} has chat templates and none named default; name one so")
            return path, text
    return None


def _special_tokens(folder: Path) -> dict[str, str]:
    """What a template may name: tokens that no file names are empty."""
    found = dict.fromkeys(_TOKENS, "")
    for path in (folder / _SPECIAL, folder / TOKENIZER_CONFIG):
        for name, token in (read_object(path) if path.is_file() else {}).items():
            text = token.get("content") if isinstance(token, dict) else token
            if name.endswith("_token") and isinstance(text, str):
                found[name] = text
    return found


def _try(text: str, where: Path, tokens: dict[str, str], split: Split, task: str) -> None:
    """Render one row of each sequence of roles."""
    from jinja2 import TemplateError, TemplateSyntaxError

    try:
        template = _environment().from_string(text)
    except TemplateSyntaxError as error:
        raise InputError(
            f"the chat template in {where} is no Jinja template (line {error.lineno}: "
            f"{_said(error)}); correct it, or fetch the file again"
        ) from None
    to_answer = FORMS[split.form].is_completed
    given = {"tools": None, "documents": None, **tokens}
    for row, messages in _each_of_roles(split):
        try:
            template.render(messages=messages, add_generation_prompt=to_answer, **given)
        except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            roles = ", ".join(message["role"] for message in messages)
            raise InputError(
                f"task {task}: the chat template in {where} refuses the messages of example "
                f"{row.id}, of the roles {roles} ({_said(error)}); change the data, or name a "
                "model whose template takes them"
            ) from None


def _each_of_roles(split: Split) -> Iterator[tuple[Example, Messages]]:
    """The first row of each sequence of roles, with its messages."""
    seen = set[tuple[str, ...]]()
    for row in (row for rows in split.parts.values() for row in rows):
        for messages in json.loads(row.chat).values() if row.chat is not None else ():
            roles = tuple(message["role"] for message in messages)
            if roles not in seen:
                seen.add(roles)
                yield row, messages


def _environment() -> Any:
    """Jinja as transformers sets it up for chat templates."""
    from jinja2 import TemplateError, nodes
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """`{% generation %}`, which marks what the assistant said and changes no text."""

        tags = {"generation"}

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.Scope(body, lineno=line)

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    def to_json(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, **options)

    made = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    made.filters["tojson"] = to_json
    made.globals["raise_exception"] = raise_exception
    made.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return made


def _said(error: Exception) -> str:
    said = " ".join(str(error).split()) or type(error).__name__
    return said if len(said) <= _LONGEST_REASON else f"{said[:_LONGEST_REASON]}..."
