"""Prompts with examples before them: other rows of the training part, with their weak answers.

Owns the choice of the examples and their layout. A row is never an example of its own prompt, since
the model would then repeat the label. Of a prompt that is too long the first examples are omitted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from w2s_ray.fits.labels import TEXT, SplitRows
from w2s_ray.learn.chat import has_template, rendered
from w2s_ray.learn.prompting import with_examples
from w2s_ray.learn.tokens import TokenRows
from w2s_ray.plan import PlannedFit

BETWEEN = "\n\n"
"""Between an example and what follows it."""


@dataclass(frozen=True)
class Examples:
    """The rows that are shown, one more than a prompt has."""

    part: str
    places: tuple[int, ...]
    """Their places in the part, in the order in which they are shown."""
    answers: tuple[str, ...]
    """Their weak answers."""

    @classmethod
    def drawn(
        cls, part: str, places_N: np.ndarray, answers: Sequence[str], *, shots: int, seed: int
    ) -> Examples:
        """`shots` + 1 of the rows at `places_N`, or all if there are fewer, drawn by the seed."""
        order = np.random.default_rng([seed % 2**63, shots]).permutation(len(places_N))
        chosen = [int(i) for i in order[: shots + 1]]
        return cls(part, tuple(int(places_N[i]) for i in chosen), tuple(answers[i] for i in chosen))

    def before(self, part: str, place: int) -> list[int]:
        """The examples of the row at `place` of `part`: all but itself and the last one over."""
        others = [i for i, shown in enumerate(self.places) if (self.part, shown) != (part, place)]
        return others[: max(1, len(self.places) - 1)]


def prompts_with_examples(
    fit: PlannedFit, rows: SplitRows, part: str, examples: Examples, *, less: int
) -> tuple[TokenRows, np.ndarray]:
    """The prompts of a part after their examples, and the number of examples of each, int64 [M].

    A model with a chat template reads chat messages in it, each example as a turn of both sides.
    """
    in_turns = is_in_turns(fit, rows)
    layout = _turns if in_turns else _text

    def prompt(place: int, shots: int) -> str:
        every = examples.before(part, place)
        return layout(fit, rows, part, place, examples, every[len(every) - shots :])

    every_M = [len(examples.before(part, place)) for place in range(len(rows.ids.get(part, ())))]
    return with_examples(
        prompt,
        np.asarray(every_M, np.int64),
        source=fit.source,
        max_tokens=fit.recipe.training.max_tokens,
        less=less,
        special=not in_turns,
    )


def is_in_turns(fit: PlannedFit, rows: SplitRows) -> bool:
    """Whether examples are turns of a chat, and no running text."""
    return bool(rows.chats) and has_template(fit.source)


def _text(
    fit: PlannedFit, rows: SplitRows, part: str, place: int, examples: Examples, shown: list[int]
) -> str:
    texts = rows.texts[examples.part]
    before = (f"{texts[examples.places[i]]} {examples.answers[i]}{BETWEEN}" for i in shown)
    return "".join((*before, rows.texts[part][place]))


def _turns(
    fit: PlannedFit, rows: SplitRows, part: str, place: int, examples: Examples, shown: list[int]
) -> str:
    """The messages of the examples and of the row; the row's system message comes first."""
    own = rows.chats[part][place][TEXT]
    system = [message for message in own if message["role"] == "system"]
    turns = [message for message in own if message["role"] != "system"]
    before: list[dict[str, str]] = []
    for i in shown:
        messages = rows.chats[examples.part][examples.places[i]][TEXT]
        before += [message for message in messages if message["role"] != "system"]
        before.append({"role": "assistant", "content": examples.answers[i]})
    (made,) = rendered([[*system, *before, *turns]], source=fit.source, to_answer=True)
    return made
