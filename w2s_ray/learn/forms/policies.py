"""The form `policies`: pairs of texts that a language model scores by its implicit reward.

Owns the logits of a pair, and the pass that computes the reference's constants. The model is a
language model with its own head; step, losses, predictions and agreement are those of `classes`.
Shapes: N rows, B pairs of a batch, P = 2 B texts, C two classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from w2s_ray.config import Execution, ModelSource, Policy, Training
from w2s_ray.learn.activations import Activations
from w2s_ray.learn.engine import InferenceEngine
from w2s_ray.learn.engines import build_inference
from w2s_ray.learn.forms.classes import ClassData
from w2s_ray.learn.forms.language import span_nll
from w2s_ray.learn.forms.pairs import compared
from w2s_ray.learn.rows import SpanRows

BETA = Policy().beta


@dataclass(frozen=True)
class PolicyData(ClassData):
    """Pairs (`PolicyRows`) and labels of one fit."""

    beta: float = BETA
    """Scale of the implicit reward."""

    def logits(self, engine: InferenceEngine, inputs: tuple[Any, ...]) -> Tensor:
        """logits_BC: 0, and the implicit reward of the first text minus that of the second.

        Rafailov et al. 2023 (arXiv 2305.18290), equation 7: beta times the difference of both
        texts' log-probability ratios of the model to the reference. What both texts begin with has
        the same probability in both, and cancels.
        """
        *given, reference_B = inputs
        first_B, second_B = (-engine.forward(*given)).chunk(2)
        return compared(self.beta * (first_B - second_B - reference_B)[:, None])


def reference(
    parts: Mapping[str, SpanRows],
    *,
    source: ModelSource,
    training: Training,
    execution: Execution,
    on_pass: Callable[[], None] = lambda: None,
) -> Iterator[tuple[str, Activations]]:
    """Each part with the log-probabilities [N, 2] of both texts by the model at `source`.

    `parts` has 2 N texts each, as `PolicyRows.spans`. Computed when it is requested, with the model
    loaded once. Every worker of a fit calls it alike and gets the same. `on_pass` is called before
    each forward pass and may raise.
    """
    built = build_inference(training, source=source, execution=execution, seed=0, form="policies")
    try:
        for part, spans in parts.items():
            batch = execution.evaluation_batch
            log_p = -span_nll(built, spans, batch=2 * batch, on_pass=on_pass)
            yield part, Activations(log_p.reshape(2, -1).T.copy(), built.parameters)
    finally:
        built.close()
