"""Pretrains the embedded ladder: `python -m w2s_ray.ladder.pretrain --out DIR [--only m]`.

Owns the sizes and the training settings of these models, and writes each model as a Hugging Face
folder with a record of its pretraining. It is a separate program that nothing imports. It trains on
running text only, without rows or labels of the task that the models are finetuned on.
Shapes: B texts, L words, V vocabulary, D width, N predicted words, C words of one chunk.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from w2s_ray.data.embedded import LONGEST, pretraining_ids, vocabulary
from w2s_ray.ladder import MODELS


@dataclass(frozen=True)
class Size:
    """A rung of the ladder."""

    width: int
    layers: int
    heads: int
    learning_rate: float
    """Peak learning rate; chosen for each size by the final loss."""
    steps: int
    """Batches of `BATCH` new texts: no text is repeated."""


SIZES = {
    "xs": Size(width=6, layers=1, heads=1, learning_rate=2e-2, steps=600),
    "s": Size(width=8, layers=1, heads=1, learning_rate=2e-2, steps=600),
    "m": Size(width=16, layers=2, heads=2, learning_rate=1e-2, steps=1200),
    "l": Size(width=32, layers=2, heads=4, learning_rate=7e-3, steps=1200),
}
SEED = 0
BATCH = 64
WARMUP = 0.05
"""Share of the steps in which the learning rate rises; a cosine then takes it to 0."""
BETAS, WEIGHT_DECAY, CLIP = (0.9, 0.98), 0.01, 1.0
HELD_OUT = 2_000
"""Texts for measuring the final loss."""

_PAD, _UNK = "[pad]", "[unk]"
_SPECIAL = 2  # word i of the vocabulary is token i + 2
_MEASURING = 1_000_000_000  # parts of the texts from this number on are not used for training
_CHUNK = 64  # predicted words per chunk; their logits fit in the processor's cache
_DRAWN = 50  # batches drawn at once


class TiedCrossEntropy(torch.autograd.Function):
    """Mean cross-entropy of states_ND @ embedding_VD.T, without all logits in memory.

    Gradients are computed chunk by chunk in the forward pass, which is several times faster on a
    CPU than writing and reading N x V logits.
    """

    @staticmethod
    def forward(
        ctx: Any, states_ND: torch.Tensor, embedding_VD: torch.Tensor, words_N: torch.Tensor
    ) -> torch.Tensor:
        total = states_ND.new_zeros(())
        by_state_ND, by_embedding_VD = torch.empty_like(states_ND), torch.zeros_like(embedding_VD)
        for start in range(0, len(states_ND), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            states_CD, target_C1 = states_ND[chunk], words_N[chunk, None]
            logits_CV = states_CD @ embedding_VD.T
            norm_C1 = logits_CV.logsumexp(-1, keepdim=True)
            total += (norm_C1 - logits_CV.gather(1, target_C1)).sum()
            by_logit_CV = logits_CV.sub_(norm_C1).exp_()
            by_logit_CV.scatter_add_(1, target_C1, -torch.ones_like(norm_C1))
            by_state_ND[chunk] = by_logit_CV @ embedding_VD
            by_embedding_VD.addmm_(by_logit_CV.T, states_CD)
        ctx.save_for_backward(by_state_ND / len(states_ND), by_embedding_VD / len(states_ND))
        return total / len(states_ND)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        (gradient,), (by_state_ND, by_embedding_VD) = grad_outputs, ctx.saved_tensors
        return gradient * by_state_ND, gradient * by_embedding_VD, None


def new_model(size: Size) -> GPT2LMHeadModel:
    """A GPT-2 of that size without dropout, drawn from the global random state."""
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=_SPECIAL + len(vocabulary()),
            n_positions=LONGEST,
            n_embd=size.width,
            n_layer=size.layers,
            n_head=size.heads,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            pad_token_id=0,
            bos_token_id=None,
            eos_token_id=None,
        )
    )


def new_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer with one token per word, split at white space, and tokens for padding and unknown
    words.
    """
    words = {word: i for i, word in enumerate([_PAD, _UNK, *vocabulary()])}
    splitter = Tokenizer(WordLevel(words, unk_token=_UNK))
    splitter.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=splitter, pad_token=_PAD, unk_token=_UNK, model_max_length=LONGEST
    )


def texts(n: int, *, part: int) -> torch.Tensor:
    """Token ids, int64 [n, LONGEST]."""
    return torch.from_numpy(pretraining_ids(texts=n, seed=SEED, part=part) + _SPECIAL)


def batches(steps: int) -> Iterator[torch.Tensor]:
    """Token ids, int64 [BATCH, LONGEST], for each step; the same for every size."""
    for start in range(0, steps, _DRAWN):
        yield from texts(BATCH * _DRAWN, part=start).split(BATCH)[: steps - start]


def loss_of(model: GPT2LMHeadModel, ids_BL: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of each word after the first, in nats."""
    states_BLD = model.transformer(input_ids=ids_BL).last_hidden_state[:, :-1]
    embedding_VD = model.transformer.wte.weight
    return TiedCrossEntropy.apply(states_BLD.flatten(0, 1), embedding_VD, ids_BL[:, 1:].flatten())


def rate(step: int, *, size: Size) -> float:
    """Learning rate at `step`: linear warm-up, then cosine decay to 0."""
    rise = WARMUP * size.steps
    fall = max(0.0, (step - rise) / (size.steps - rise))
    return size.learning_rate * min(1.0, (step + 1) / rise) * 0.5 * (1 + math.cos(math.pi * fall))


def pretrain(model: GPT2LMHeadModel, *, size: Size, name: str) -> None:
    """Train next-word prediction on `size.steps` batches of new texts."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=size.learning_rate, betas=BETAS, weight_decay=WEIGHT_DECAY
    )
    for step, ids_BL in enumerate(batches(size.steps)):
        for group in optimizer.param_groups:
            group["lr"] = rate(step, size=size)
        loss = loss_of(model, ids_BL)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        if (step + 1) % 100 == 0:
            print(f"{name}: step {step + 1} of {size.steps}, loss {loss.item():.3f}", flush=True)


def measure(model: GPT2LMHeadModel) -> dict[str, float]:
    """The loss on held-out texts, and the loss of predicting words by their frequencies."""
    ids_BL = texts(HELD_OUT, part=_MEASURING)
    with torch.no_grad():
        reached = np.mean([loss_of(model, part).item() for part in ids_BL.split(100)])
    seen = (
        texts(10 * HELD_OUT, part=_MEASURING + 1)
        .flatten()
        .bincount(minlength=model.config.vocab_size)
    )
    chances = (seen + 1) / (seen + 1).sum()
    frequencies = -chances[ids_BL[:, 1:].flatten()].log().mean().item()
    return {
        "held_out_loss": round(float(reached), 4),
        "held_out_loss_of_word_frequencies": round(frequencies, 4),
    }


def make(name: str, *, out: Path) -> None:
    """Pretrain the model `name` and write its folder under `out`."""
    size, started = SIZES[name], time.perf_counter()
    torch.manual_seed(SEED)
    model = new_model(size)
    pretrain(model, size=size, name=name)
    seconds = time.perf_counter() - started
    record = {
        "seed": SEED,
        **asdict(size),
        "batch": BATCH,
        "words_read": size.steps * BATCH * LONGEST,
        "parameters": sum(p.numel() for p in model.parameters()),
        "parameters_without_embeddings": sum(p.numel() for p in model.transformer.h.parameters()),
        **measure(model),
        "seconds": round(seconds, 1),
        "torch": torch.__version__,
    }
    model.save_pretrained(out / name)
    (out / name / "model.safetensors").chmod(0o644)  # readable for all users of the package
    new_tokenizer().save_pretrained(out / name)
    (out / name / "pretraining.json").write_text(json.dumps(record, indent=2) + "\n")
    print(f"{name}: {json.dumps(record)}", flush=True)


def main() -> None:
    """Pretrain the whole ladder, or the models named by --only, on one thread."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the models' folders")
    parser.add_argument("--only", choices=MODELS, action="append", help="may be given repeatedly")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # a fixed order of sums gives the same weights every time
    for name in arguments.only or MODELS:
        make(name, out=arguments.out)


if __name__ == "__main__":
    main()
