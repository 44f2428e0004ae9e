"""Architectures of a sweep's models and lengths of its rows, without loading either.

Owns the look-ups that estimates need; each is made once. It computes no estimates.
"""

from __future__ import annotations

from dataclasses import replace

from w2s_ray.config import ModelSource, Part
from w2s_ray.data.architecture import Architecture
from w2s_ray.data.descriptions import (
    architecture_from_config,
    architecture_of,
    load_architectures,
)
from w2s_ray.data.inputs import Inputs
from w2s_ray.data.lengths import Lengths, token_lengths


class InputSizes:
    """The architectures of a sweep's models and the lengths of its splits' rows."""

    def __init__(self, inputs: Inputs) -> None:
        splits = (*inputs.splits.values(), *inputs.corpora.values())
        self._splits = {split.fingerprint: split for split in splits}
        new = {name: new.config(new.most_tokens) for name, new in inputs.architectures.items()}
        load_architectures(new.values())
        self._models = {
            identity: architecture_from_config(config) for identity, config in new.items()
        }
        self._lengths: dict[tuple[str, Part, str, int], Lengths] = {}

    def architecture(self, source: ModelSource) -> Architecture | str:
        """The architecture of a model, or the reason why it is unknown."""
        if source.identity not in self._models:
            self._models[source.identity] = architecture_of(source)
        return self._models[source.identity]

    def lengths(self, split: str, part: Part, source: ModelSource, *, max_tokens: int) -> Lengths:
        """The lengths of a part's rows in tokens of a model."""
        key = (split, part, source.identity, max_tokens)
        if key not in self._lengths:
            reference = self._splits[split]
            model = self.architecture(source)
            found = token_lengths(
                split=split,
                part=part,
                rows=reference.counts[part],
                words=reference.words.get(part),
                source=source,
                max_tokens=max_tokens,
                longest=None if isinstance(model, str) else model.longest,
            )
            self._lengths[key] = replace(
                found, choices=reference.choices, classes=len(reference.classes) or found.classes
            )
        return self._lengths[key]
