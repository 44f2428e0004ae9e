"""Pairs of texts in the language of the embedded models: a task of one's own."""

from collections.abc import Iterator

import w2s_ray as w2s
from w2s_ray.data.embedded import task_rows

PAIRS = 3500
SEED = 0


@w2s.task(form="pairs")
def preferred() -> Iterator[dict[str, str]]:
    """Two texts, of which the one with side 1 on the rarest theme is better."""
    rows = task_rows(rows=3 * PAIRS, seed=SEED)
    better, worse = ([text for text, side in rows if side == label] for label in (1, 0))
    for chosen, rejected in list(zip(better, worse, strict=False))[:PAIRS]:
        yield {"chosen": chosen, "rejected": rejected}
