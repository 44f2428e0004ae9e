"""Chat messages as the text that a model reads: rendered in its tokenizer's template.

Owns the rendering alone. A model whose tokenizer has no template reads the plain form that the
split's texts already are. Splits, labels and token arrays are handled elsewhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from w2s_ray.config import ModelSource
from w2s_ray.errors import InputError
from w2s_ray.learn.tokens import tokenizer_of


def has_template(source: ModelSource) -> bool:
    """Whether the model's tokenizer brings a chat template."""
    return bool(tokenizer_of(source).chat_template)


def template_key(source: ModelSource) -> str:
    """What decides how messages are rendered."""
    content = json.dumps(tokenizer_of(source).chat_template, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def rendered(
    messages: Sequence[list[dict[str, str]]], *, source: ModelSource, to_answer: bool
) -> list[str]:
    """Conversations in the model's template, with its special tokens as text.

    `to_answer` ends each with the beginning of the assistant's turn.

    Raises:
        InputError: messages that the template refuses.
    """
    tokenizer = tokenizer_of(source)
    return [_rendered(tokenizer, each, source, to_answer) for each in messages]


def _rendered(
    tokenizer: Any, messages: list[dict[str, str]], source: ModelSource, to_answer: bool
) -> str:
    from jinja2 import TemplateError

    try:
        return tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=to_answer
        )
    except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        roles = ", ".join(message["role"] for message in messages)
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"the chat template of {source.name} refuses messages of the roles {roles} ({reason}); "
            "change the data, or name a model whose template takes them"
        ) from None
