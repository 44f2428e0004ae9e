"""Chat messages in a cell: `[{role, content}, ...]`, and their plain text.

Owns the checks of messages, the joining of a prompt and a completion, and the plain form
(`Human: ...`, blank line, `Assistant: ...`) for models without a chat template. A row has its
messages as canonical JSON besides the plain text; `w2s_ray.learn` applies the tokenizer's chat
template. It reads no files and imports no tokenizer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from w2s_ray.data.cells import is_missing, text_of, type_name
from w2s_ray.errors import InputError
from w2s_ray.identity import canonical_json

Messages = list[dict[str, str]]
"""Turns of a conversation, each with `role` and `content`."""

ROLES = ("system", "user", "assistant")
_PLAIN_NAMES = {"user": "Human", "assistant": "Assistant", "system": "System"}
_FORM = "write messages as [{role: system, user or assistant, content: text}, ...]"


def is_chat(value: Any) -> bool:
    """Whether a cell has messages, valid or not: a list with a mapping with role or content."""
    return isinstance(value, list) and any(
        isinstance(item, dict) and ("role" in item or "content" in item) for item in value
    )


def messages_of(value: Any, *, where: str, text_role: str = "user") -> Messages:
    """The messages of a cell; a text is one message of `text_role`.

    Raises:
        InputError: a message with an unknown role, without text, or with a tool call.
    """
    if not is_chat(value):
        return [{"role": text_role, "content": text_of(value, where=where)}]
    items = (_message(item, f"{where}, message {i}") for i, item in enumerate(value, start=1))
    messages = [message for message in items if message is not None]
    if not messages:
        raise InputError(f"{where} has no message with text; fill it in or remove the row")
    return messages


def conversation(prompt: Messages, completion: Messages) -> Messages:
    """Prompt and completion joined; a completion that repeats the prompt is returned alone."""
    return completion if prompt and prompt[-1] in completion else prompt + completion


def plain_text(messages: Messages) -> str:
    """Messages as text: each turn begins with the speaker's name; blank lines separate turns."""
    turns = (f"{_PLAIN_NAMES[m['role']]}: {m['content'].strip()}" for m in messages)
    return "\n\n".join(turns).strip()


def to_json(text: Messages, second: Messages | None = None) -> str:
    """The messages of a row, and of the second text of a pair, as canonical JSON."""
    return canonical_json({"text": text} if second is None else {"text": text, "second": second})


def _message(item: Any, where: str) -> dict[str, str] | None:
    """One message; None for a system message without text."""
    if not isinstance(item, dict):
        raise InputError(f"{where} is {type_name(item)}; {_FORM}")
    role, content = item.get("role"), item.get("content")
    if role not in ROLES:
        raise InputError(f"{where} has the role {role!r}; {_FORM}")
    if any(item.get(name) for name in ("tool_calls", "function_call")):
        raise InputError(f"{where} has a tool call, which is not text; remove the row")
    text = _content(content, where)
    if not text:
        if role == "system":
            return None
        raise InputError(f"{where} has no content; fill it in or remove the row")
    return {"role": role, "content": text}


def _content(content: Any, where: str) -> str:
    """The text of a message, or of its parts of type text."""
    if is_missing(content):
        return ""
    if isinstance(content, Sequence) and not isinstance(content, str | bytes):
        for part in content:
            if not isinstance(part, Mapping) or part.get("type") != "text":
                raise InputError(f"{where} has a part that is not text; remove the row")
        return "".join(text_of(part.get("text"), where=where) for part in content)
    return text_of(content, where=where)
