"""Shapes of models and lengths of rows, from this machine's files, without loading the models.

Owns the look-ups that estimates need, each made once. It computes no estimates.
"""

from __future__ import annotations

from w2s_ray.config import ModelSource, Part
from w2s_ray.data.architecture import Architecture
from w2s_ray.data.descriptions import architecture_of, describe, described
from w2s_ray.data.inputs import Inputs
from w2s_ray.data.lengths import Lengths, token_lengths


class Shapes:
    """The shapes of a sweep's models and the lengths of its splits' rows."""

    def __init__(self, inputs: Inputs) -> None:
        splits = (*inputs.splits.values(), *inputs.corpora.values())
        self._splits = {split.fingerprint: split for split in splits}
        made = {name: new.config(new.most_tokens) for name, new in inputs.architectures.items()}
        describe(made.values())
        self._models = {identity: described(config) for identity, config in made.items()}
        self._lengths: dict[tuple[str, Part, str, int], Lengths] = {}

    def model(self, source: ModelSource) -> Architecture | str:
        """The shape of a model, or why it isn't known."""
        if source.identity not in self._models:
            self._models[source.identity] = architecture_of(source)
        return self._models[source.identity]

    def lengths(self, split: str, part: Part, source: ModelSource, *, max_tokens: int) -> Lengths:
        """The lengths of a part's rows as a model reads them."""
        key = (split, part, source.identity, max_tokens)
        if key not in self._lengths:
            known = self._splits[split]
            model = self.model(source)
            self._lengths[key] = token_lengths(
                split=split,
                part=part,
                rows=known.counts[part],
                words=known.words.get(part),
                source=source,
                max_tokens=max_tokens,
                longest=None if isinstance(model, str) else model.longest,
            )
        return self._lengths[key]
