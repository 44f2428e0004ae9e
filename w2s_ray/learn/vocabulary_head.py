"""The head of a language model on chosen tokens alone, and their cross-entropy in chunks.

Owns finding a model's decoder and head, and the arithmetic after the head (scaled or capped
logits), which is the model's own. No tensor of all tokens by the vocabulary is made: the head reads
the tokens whose loss is wanted, some rows of logits at a time, and the backward pass computes them
once more. It picks no tokens. Shapes: B rows, L tokens, N chosen tokens, D width, V vocabulary.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from w2s_ray.config import LOGITS_AT_ONCE

_PROBED = 3
"""Features of the values that find out what comes after the head; no model is so narrow."""


@dataclass(frozen=True)
class VocabularyHead:
    """The parts of a causal language model."""

    decoder: nn.Module
    head: nn.Module
    """Its call with targets gives losses in place of logits. It is one call however many chunks
    there are, so that workers that share its weights gather them equally often."""
    after: Callable[[Tensor], Tensor] | None
    """What the model does to logits_NV; None for nothing."""

    @classmethod
    def of(cls, backbone: Any) -> VocabularyHead | None:
        """The parts of `backbone`; None where it isn't a decoder with a head after it."""
        inner = backbone.get_base_model() if hasattr(backbone, "get_base_model") else backbone
        decoder, head = inner.get_decoder(), inner.get_output_embeddings()
        names = {module: name for name, module in inner.named_modules()}
        if decoder is inner or not {decoder, head} <= names.keys():
            return None
        shell = _replaced(inner, names[decoder], _Given())
        shell = _replaced(shell, names[head], nn.Identity())

        def after(logits_NV: Tensor) -> Tensor:
            return shell.forward(inputs_embeds=logits_NV[None], use_cache=False).logits[0]

        probe = 100 * torch.linspace(-1, 1, 2 * _PROBED).reshape(2, _PROBED)
        try:
            unchanged = torch.equal(after(probe), probe)
        except Exception:  # noqa: BLE001 - a model of another build: its own forward pass is used
            return None
        found = cls(decoder, head, None if unchanged else after)
        head.forward = _with_losses(head.forward, found, inner.config.get_text_config().vocab_size)
        return found

    def hidden(self, input_ids_BL: Tensor) -> Tensor:
        """What the head reads, hidden_BLD."""
        return self.decoder(input_ids=input_ids_BL, use_cache=False)[0]

    def logits(self, hidden_ND: Tensor) -> Tensor:
        """logits_NV."""
        return self.finished(self.head(hidden_ND))

    def losses(self, hidden_ND: Tensor, targets_N: Tensor) -> Tensor:
        """Minus the log-probability of each target, in fp32."""
        return self.head(hidden_ND, targets_N)

    def finished(self, logits_NV: Tensor) -> Tensor:
        """The logits as the model gives them."""
        return logits_NV if self.after is None else self.after(logits_NV)


def _with_losses(
    plain: Callable[[Tensor], Tensor], parts: VocabularyHead, vocabulary: int
) -> Callable[..., Tensor]:
    """A head's forward pass that gives losses where it gets targets, and logits where not."""

    def losses(hidden_ND: Tensor, targets_N: Tensor) -> Tensor:
        logits_NV = parts.finished(plain(hidden_ND)).float()
        return nn.functional.cross_entropy(logits_NV, targets_N, reduction="none")

    def forward(hidden: Tensor, targets_N: Tensor | None = None) -> Tensor:
        if targets_N is None:
            return plain(hidden)
        rows = max(1, LOGITS_AT_ONCE // vocabulary)
        chunks = list(zip(hidden.split(rows), targets_N.split(rows), strict=True))
        if len(chunks) == 1 or not torch.is_grad_enabled():
            return torch.cat([losses(*chunk) for chunk in chunks])
        again: dict[str, Any] = {"use_reentrant": False, "preserve_rng_state": False}
        return torch.cat([checkpoint(losses, *chunk, **again) for chunk in chunks])

    return forward


class _Outputs(tuple[Tensor]):
    """A decoder's outputs, of which only the first is there."""

    @property
    def last_hidden_state(self) -> Tensor:
        return self[0]

    def __getattr__(self, name: str) -> None:
        return None


class _Given(nn.Module):
    """Stands for a decoder, and gives back its inputs."""

    def forward(self, *_: Any, inputs_embeds: Tensor, **__: Any) -> _Outputs:
        return _Outputs((inputs_embeds,))


def _replaced(module: nn.Module, path: str, child: nn.Module) -> nn.Module:
    """`module` with `child` at `path`, sharing all else with the original, which stays as it is."""
    shell = copy.copy(module)
    name, _, rest = path.partition(".")
    inside: Any = module._modules[name]
    shell._modules = {**module._modules, name: _replaced(inside, rest, child) if rest else child}
    return shell
