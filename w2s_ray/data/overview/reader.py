"""Texts as a model's tokenizer reads them, by the tokenizers library.

Owns the rendering of chat messages, the tokens of a text with special tokens and truncation, and
the cache of lengths. It follows `w2s_ray.learn.tokens`, which trains, without transformers, whose
import takes seconds. A model whose tokenizer.json is not on this machine has no reader.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from w2s_ray.config import FORMS, ModelSource
from w2s_ray.data.cache import read_note, write_note
from w2s_ray.data.example import Example, normal_answer
from w2s_ray.data.folders import TOKENIZER, folder_of
from w2s_ray.data.overview.rows import TaskRows
from w2s_ray.data.templates import ChatTemplate, chat_template, special_tokens
from w2s_ray.data.tokenizer_files import open_tokenizer
from w2s_ray.identity import digest

VERSION = 1
"""Incremented whenever lengths are counted differently, so that old notes are ignored."""
_AT_ONCE = 4096
"""Texts per call of the tokenizer."""


@dataclass(frozen=True)
class ModelUse:
    """A model of a sweep, and how it is trained to read texts."""

    source: ModelSource
    max_tokens: int
    answer_tokens: int
    positions: int | None
    """Most tokens that its positions allow; None where there is no limit or it is not known."""

    @property
    def limit(self) -> int:
        """Most tokens of a text."""
        return min(self.max_tokens, self.positions or self.max_tokens)


_CHOICES = ("choice", "right choice")
"""Names of a question's choices: wrong, right."""


@dataclass(frozen=True)
class Text:
    """A text of a row as a model reads it."""

    name: str
    """text, prompt, answer, first, second, choice or right choice."""
    text: str
    is_rendered: bool = False
    """Whether a chat template rendered it, with its special tokens."""


@dataclass(frozen=True)
class Reader:
    """A model's tokenizer with its chat template."""

    tokenizer: Any
    template: ChatTemplate | None
    end: str | None
    """The token that ends an answer."""
    key: str
    """A digest of all that decides the tokens of a text."""

    def texts(self, row: Example, form: str) -> list[Text]:
        """The texts of a row, rendered in the chat template where there are messages."""
        plain = plain_texts(row, form)
        template = self.template
        if row.chat is None or template is None:
            return plain
        messages, to_answer = json.loads(row.chat), FORMS[form].has_prompts

        def rendered(text: Text) -> Text:
            if text.name in ("answer", *_CHOICES):
                return text
            side = messages["second" if text.name == "second" else "text"]
            return Text(text.name, template.render(side, to_answer=to_answer), True)

        return [rendered(text) for text in plain]

    def tokens(self, text: Text, *, limit: int) -> tuple[tuple[str, ...], int]:
        """The tokens of a text after truncation, and its length before."""
        self.tokenizer.no_truncation()
        length = len(self._encoded([text])[0].ids) or 1
        self.tokenizer.enable_truncation(max_length=limit, direction="left")
        tokens = tuple(self._encoded([text])[0].tokens)
        self.tokenizer.no_truncation()
        if text.name == "answer":
            return (*tokens, *([self.end] if self.end else []))[:limit], length + 1
        return tokens, length

    def counts(self, texts: Sequence[Text]) -> TokenCounts:
        """Lengths of texts of one kind without truncation, special tokens included."""
        self.tokenizer.no_truncation()
        unknown_id, unknown, lengths = self._unknown_id(), 0, Counter[int]()
        for start in range(0, len(texts), _AT_ONCE):
            chunk = texts[start : start + _AT_ONCE]
            for text, encoding in zip(chunk, self._encoded(chunk), strict=True):
                lengths[(len(encoding.ids) or 1) + (text.name == "answer")] += 1
                unknown += encoding.ids.count(unknown_id)
        return TokenCounts(lengths, unknown)

    def _unknown_id(self) -> int | None:
        """The token for text that the tokenizer doesn't have; None if it has all text."""
        token = getattr(self.tokenizer.model, "unk_token", None)
        return None if token is None else self.tokenizer.token_to_id(token)

    def _encoded(self, texts: Sequence[Text]) -> list[Any]:
        """Encodings of texts that are all answers, all rendered, or neither.

        An answer follows a space, as in training.
        """
        is_answer = texts[0].name in ("answer", *_CHOICES)
        special = not (is_answer or texts[0].is_rendered)
        given = [f" {normal_answer(t.text)}" if is_answer else t.text for t in texts]
        return self.tokenizer.encode_batch(given, add_special_tokens=special)


def plain_texts(row: Example, form: str) -> list[Text]:
    """The texts of a row as they are in the split."""
    if not FORMS[form].has_texts:
        return []
    if row.second is not None:
        return [Text("first", row.text), Text("second", row.second)]
    if row.choices is not None:
        names = [_CHOICES[choice == row.answer] for choice in row.choices]
        return [Text("text", row.text), *map(Text, names, row.choices)]
    if FORMS[form].is_completed and row.answer is not None:
        return [Text("prompt", row.text), Text("answer", row.answer)]
    return [Text("text", row.text)]


class Readers:
    """The readers of a sweep's models; models that read alike share one."""

    def __init__(self) -> None:
        self._by_key: dict[str, Reader] = {}
        self._of: dict[str, Reader | None] = {}

    def of(self, source: ModelSource) -> Reader | None:
        """The reader of a model; None if its tokenizer.json is not on this machine."""
        name = f"{source.location}@{source.revision}"
        if name not in self._of:
            self._of[name] = self._load(source)
        return self._of[name]

    def _load(self, source: ModelSource) -> Reader | None:
        folder = folder_of(source)
        if folder is None or not (folder / TOKENIZER).is_file():
            return None
        if source.trust_remote_code and any(folder.glob("*.py")):
            return None
        rules = (folder / TOKENIZER).read_text(encoding="utf-8", errors="replace")
        template, special = chat_template(folder), special_tokens(folder)
        written = template.text if template is not None else None
        key = digest([VERSION, rules, written, special])
        if key not in self._by_key:
            tokenizer = open_tokenizer(folder / TOKENIZER)
            tokenizer.add_special_tokens(sorted({token for token in special.values() if token}))
            end = special["eos_token"] or None
            self._by_key[key] = Reader(tokenizer, template, end, key)
        return self._by_key[key]


@dataclass(frozen=True)
class TokenCounts:
    """Lengths of a task's texts of one kind."""

    lengths: Counter[int]
    """Tokens -> number of texts."""
    unknown: int = 0
    """Tokens that stand for text which the tokenizer doesn't have."""


def token_counts(rows: TaskRows, reader: Reader, *, what: str) -> TokenCounts:
    """The lengths of a task's texts; `what` is texts, prompts or answers."""
    key = [VERSION, rows.fingerprint, what, reader.key]
    match read_note("token_counts", key=key):
        case {"lengths": dict(lengths), "unknown": int(unknown)}:
            return TokenCounts(Counter({int(n): texts for n, texts in lengths.items()}), unknown)
    texts = [t for row in rows.all() for t in reader.texts(row, rows.form) if kind(t) == what]
    found = reader.counts(texts)
    lengths = {str(tokens): count for tokens, count in found.lengths.items()}
    write_note("token_counts", key=key, note={"lengths": lengths, "unknown": found.unknown})
    return found


def kind(text: Text) -> str:
    """texts, prompts, answers or choices: the texts whose lengths have one limit."""
    kinds = {"prompt": "prompts", "answer": "answers", **dict.fromkeys(_CHOICES, "choices")}
    return kinds.get(text.name, "texts")
