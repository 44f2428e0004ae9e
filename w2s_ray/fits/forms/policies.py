"""The form `policies` in a fit: pairs of tokens with the reference's log-probabilities.

The reference is the model that the fit starts from. Its log-probabilities are read from the store,
or computed for all fits that need them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from w2s_ray.config import Policy
from w2s_ray.data.cache import cache_folder
from w2s_ray.fits.forms.pairs import Pairs
from w2s_ray.fits.labels import SECOND, TEXT, SplitRows
from w2s_ray.fits.training_data import (
    TrainingData,
    column_texts,
    parts_of,
    read_as,
    reference_log_probabilities,
)
from w2s_ray.learn.forms.policies import PolicyData
from w2s_ray.learn.policies import pair_spans, tokenize_pairs
from w2s_ray.learn.rows import PolicyRows, SpanRows
from w2s_ray.learn.tokens import TokenRows, cached_tokens, stop_token
from w2s_ray.plan import PlannedFit
from w2s_ray.store import Store

if TYPE_CHECKING:
    from w2s_ray.fits.train_fit import Reporter
    from w2s_ray.learn.activations import Activations


class Policies(Pairs):
    """Pairs of texts, labelled as `classes` are."""

    def data_of(self, rows: SplitRows, **given: Any) -> PolicyData:
        return PolicyData(**given)

    def training_data(
        self, fit: PlannedFit, rows: SplitRows, store: Store, *, control: Reporter | None = None
    ) -> TrainingData:
        policy = fit.recipe.training.pair_model
        assert isinstance(policy, Policy), "the form of a reward model is `pairs`"
        spans = {part: _spans(fit, rows, part) for part in parts_of(fit.recipe)}
        found = reference_log_probabilities(store, fit, rows, spans, control=control)

        return self.labelled(
            fit,
            rows,
            store,
            _with_reference(spans, found),
            control=control,
            beta=policy.beta,
        )


def _with_reference(
    spans: Mapping[str, SpanRows], found: Mapping[str, Activations]
) -> dict[str, PolicyRows]:
    parts: dict[str, PolicyRows] = {}
    for part, of_part in spans.items():
        first_N, second_N = found[part].values_ND.T
        parts[part] = PolicyRows(of_part, first_N - second_N)
    return parts


def _spans(fit: PlannedFit, rows: SplitRows, part: str) -> SpanRows:
    """The texts of a part's pairs, tokenized once per machine and tokenizer."""
    source = fit.source

    def make() -> TokenRows:
        (first, special), (second, _) = (
            column_texts(source, rows, part, column) for column in (TEXT, SECOND)
        )
        return tokenize_pairs(
            [text or "" for text in first],
            [text or "" for text in second],
            source=source,
            max_tokens=fit.recipe.training.max_tokens,
            special=special,
        )

    key = [fit.recipe.split, f"{part} pairs", *read_as(fit, rows), str(stop_token(source))]
    return pair_spans(cached_tokens(cache_folder() / "tokens", key, make))
