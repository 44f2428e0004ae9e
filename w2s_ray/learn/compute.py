"""Floating-point operations of a fit, estimated from its parameters and tokens.

Owns the two formulas, which make fits of different models and lengths comparable. What depends
on execution alone (recomputed activations, a loss's first pass under accumulation, padding) is not
counted, so that equal recipes cost the same. It measures nothing.
"""

from __future__ import annotations


def training_flops(
    *, parameters: int, passed_parameters: int, trained_parameters: int, tokens: int
) -> float:
    """Operations of training on `tokens` real tokens, by parameters alone.

    Kaplan et al. 2020 (arXiv 2001.08361, section 2.1): per token and parameter 2 forward and 4
    backward, of which 2 are for the gradients of activations and 2 for those of weights. Weights
    that aren't trained (LoRA) need no gradient of their own, and none pass those that stand before
    all that is trained (a linear probe's backbone), so that full finetuning is the paper's
    6 x parameters x tokens. The paper leaves embeddings out and neglects attention over the
    context; here all parameters are counted.
    """
    return float(2 * (parameters + passed_parameters + trained_parameters) * tokens)


def evaluation_flops(*, parameters: int, tokens: int) -> float:
    """What predicting `tokens` real tokens takes: the forward pass of the same source."""
    return float(2 * parameters * tokens)
