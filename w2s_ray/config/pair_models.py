"""The key `training.pair_model`: a pair is scored by a reward model or by a policy.

Owns the settings. The forms `pairs` and `policies` in `w2s_ray.learn` compute the scores.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from w2s_ray.frozen import Frozen


class RewardModel(Frozen):
    """A linear head gives each text a number. The first text is better with the sigmoid of the
    difference as probability (Bradley and Terry).
    """

    kind: Literal["reward"] = "reward"


class Policy(Frozen):
    """A language model, judged by its implicit reward (DPO, Rafailov et al. 2023, arXiv
    2305.18290).

    Two texts begin with the same tokens x and go on as y1 and y2. The logit of "the first is
    better" is beta [(log p(y1|x) - log r(y1|x)) - (log p(y2|x) - log r(y2|x))], where p is the
    model, and r, the reference, is the model before training. With cross-entropy a hard label gives
    the loss of DPO, a soft label that of conservative DPO. Needs a causal language model and the
    tuning `full`, `lora` or `last_layers`. Over `max_tokens` x is truncated from the left, alike
    for both texts; where that isn't enough, a text loses its end.
    """

    kind: Literal["policy"] = "policy"
    beta: float = Field(default=0.1, gt=0, le=1e6)
    """Scale of the implicit reward. The larger it is, the less the model must move away from the
    reference for the same loss."""


PairModel = Annotated[RewardModel | Policy, Field(discriminator="kind")]
