"""Generalized cross-entropy (Zhang & Sabuncu 2018, arXiv 1805.07836): a loss of one's own."""

from typing import Annotated

from pydantic import Field

import w2s_ray as w2s


@w2s.loss
def generalized(logits_BC, labels_BC, *, q: Annotated[float, Field(gt=0, le=1)] = 0.7):
    """Between cross-entropy (q near 0) and the error rate (q = 1), for labels that may be wrong."""
    log_p_BC = logits_BC.float().log_softmax(dim=1)
    return (labels_BC * (1 - (q * log_p_BC).exp()) / q).sum(dim=1)
