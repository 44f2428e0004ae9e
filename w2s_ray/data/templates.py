"""Chat templates in a model's folder: their digest, and a check that they can render a task.

Owns the names of the files, the lookup of the template in a folder, the rendering with Jinja in the
sandbox that transformers uses, and the cache of finished checks. One row of each sequence of roles
is rendered, because templates fail on roles. For training, the tokenizer renders the messages.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
from w2s_ray.identity import ID_LENGTH, digest
from w2s_ray.printable import one_line

_TEMPLATE = "chat_template.jinja"
_FILES = (_TEMPLATE, "chat_template.json", "additional_chat_templates/*")
"""Files with chat templates that are not part of the model's identity."""
_SPECIAL = "special_tokens_map.json"
_TOKENS = tuple(f"{name}_token" for name in ("bos", "eos", "unk", "sep", "pad", "cls", "mask"))
_LONGEST_REASON = 200


def template_digest(folder: Path) -> str | None:
    """A digest of a folder's chat template files; None if it has none."""
    files = sorted(path for pattern in _FILES for path in folder.glob(pattern))
    contents = [[path.name, path.read_text("utf-8", "replace")] for path in files if path.is_file()]
    return digest(contents)[:ID_LENGTH] if contents else None


def check_template(
    source: ModelSource, *, task: str, fingerprint: str, split: Callable[[], Split]
) -> None:
    """Refuse a model on this machine whose chat template can't render the messages of a split.

    `split` returns the rows; it is called if the check is not in the cache.

    Raises:
        InputError: names the task, the row, the template and the template's error.
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
    template = chat_template(folder)
    if template is not None:
        _check_rendering(template, split(), task)
    write_note("chat_templates", key=key, note={})


@dataclass(frozen=True)
class ChatTemplate:
    """A compiled chat template."""

    path: Path
    text: str
    compiled: Any
    tokens: dict[str, str]
    """The special tokens that it may use."""

    def render(self, messages: Messages, *, to_answer: bool) -> str:
        """A conversation as text; `to_answer` adds the beginning of the assistant's turn."""
        variables = {"tools": None, "documents": None, **self.tokens}
        return self.compiled.render(messages=messages, add_generation_prompt=to_answer, **variables)


def chat_template(folder: Path) -> ChatTemplate | None:
    """The chat template that the tokenizer in `folder` uses; None if it has none.

    Raises:
        InputError: it is not a Jinja template.
    """
    from jinja2 import TemplateSyntaxError

    found = _template(folder)
    if found is None:
        return None
    path, text = found
    try:
        compiled = _environment().from_string(text)
    except TemplateSyntaxError as error:
        raise InputError(
            f"the chat template in {path} is not a Jinja template (line {error.lineno}: "
            f"{_described(error)}); correct it, or download the file again"
        ) from None
    return ChatTemplate(path, text, compiled, special_tokens(folder))


def _template(folder: Path) -> tuple[Path, str] | None:
    """The file and the text of the template that the tokenizer in `folder` uses."""
    path = folder / _TEMPLATE
    if path.is_file():
        try:
            return path, path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise InputError(f"{path} is not UTF-8; download or write the file again") from None
    path = folder / TOKENIZER_CONFIG
    match read_object(path).get("chat_template") if path.is_file() else None:
        case str(text):
            return path, text
        case [*templates] if templates:
            by_name = {each.get("name"): each for each in templates if isinstance(each, dict)}
            text = by_name.get("default", {}).get("template")
            if not isinstance(text, str):
                raise InputError(
                    f"{path} has several chat templates, but none with the name default; rename one"
                )
            return path, text
    return None


def special_tokens(folder: Path) -> dict[str, str]:
    """Special token -> its text, for the template's variables; empty if no file has it."""
    tokens = dict.fromkeys(_TOKENS, "")
    for path in (folder / _SPECIAL, folder / TOKENIZER_CONFIG):
        for name, token in (read_object(path) if path.is_file() else {}).items():
            text = token.get("content") if isinstance(token, dict) else token
            if name.endswith("_token") and isinstance(text, str):
                tokens[name] = text
    return tokens


def _check_rendering(template: ChatTemplate, split: Split, task: str) -> None:
    """Render one row of each sequence of roles."""
    from jinja2 import TemplateError

    to_answer = FORMS[split.form].has_prompts
    for row, messages in _one_row_per_roles(split):
        try:
            template.render(messages, to_answer=to_answer)
        except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            roles = ", ".join(message["role"] for message in messages)
            raise InputError(
                f"task {task}: the chat template in {template.path} can't render the messages of "
                f"example {row.id} with the roles {roles} ({_described(error)}); change the data, "
                "or give a model whose template can"
            ) from None


def _one_row_per_roles(split: Split) -> Iterator[tuple[Example, Messages]]:
    """The first row of each sequence of roles, with its messages."""
    seen = set[tuple[str, ...]]()
    for row in (row for rows in split.parts.values() for row in rows):
        for messages in json.loads(row.chat).values() if row.chat is not None else ():
            roles = tuple(message["role"] for message in messages)
            if roles not in seen:
                seen.add(roles)
                yield row, messages


def _environment() -> Any:
    """The Jinja environment of transformers for chat templates."""
    from jinja2 import TemplateError, nodes
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """`{% generation %}`, which marks the assistant's text and doesn't change the output."""

        tags = {"generation"}

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.Scope(body, lineno=line)

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    def to_json(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
        return json.dumps(value, ensure_ascii=ensure_ascii, **options)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = to_json
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment


def _described(error: Exception) -> str:
    return one_line(str(error), most=_LONGEST_REASON) or type(error).__name__
