"""Pretrains three small English models: the ladder of `sweeps/ethics_justice.yaml`.

    python benchmarks/text_models.py --corpus BOOKS --out models

Owns the sizes and the recipe: one byte-pair tokenizer for all, then causal language models of GPT-2's
shape that read the same paragraphs in the same order, the larger ones more of them. Each becomes an
ordinary Hugging Face folder with a record, `pretraining.json`. `--corpus` is a folder with plain
text in it: `.txt` and `.md` files, also inside `.tar.xz` archives. It knows no task: what the models
are finetuned on later is nowhere read. Shapes: B windows, L tokens, D width, V vocabulary.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import re
import tarfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast


@dataclass(frozen=True)
class Size:
    """A rung of the ladder."""

    width: int
    layers: int
    heads: int
    learning_rate: float
    """At the peak."""
    steps: int
    """Batches of `BATCH` windows; no window is read twice."""


SIZES = {
    "text-s": Size(width=32, layers=2, heads=2, learning_rate=7e-3, steps=1000),
    "text-m": Size(width=64, layers=3, heads=4, learning_rate=4e-3, steps=1500),
    "text-l": Size(width=128, layers=4, heads=4, learning_rate=2.5e-3, steps=2000),
}
SEED = 0
VOCABULARY = 4096
WINDOW = 128
"""Tokens of a window, and the models' position limit."""
BATCH = 8
WARMUP = 0.05
"""Share of the steps in which the learning rate rises; a cosine then takes it to 0."""
BETAS, WEIGHT_DECAY, CLIP = (0.9, 0.98), 0.01, 1.0
CHARACTERS = 12_000_000
"""Read from the corpus, in paragraphs drawn at random."""
SHORTEST = 40
"""Characters of a paragraph; what is shorter is mostly headings."""
HELD_OUT = 256
"""Windows on which the reached loss is measured; no model trains on them."""

_PAD, _END = "[pad]", "[end]"
_CHUNK = 256  # predicted tokens whose logits lie in memory together


def texts(corpus: Path) -> Iterator[str]:
    """Every .txt and .md file under `corpus`, archives included, in the order of their names."""
    for path in sorted(corpus.rglob("*")):
        if path.suffix in (".txt", ".md"):
            yield path.read_text(encoding="utf-8", errors="replace")
        elif path.name.endswith(".tar.xz"):
            with tarfile.open(path, "r:xz") as archive:
                inside = {m.name: m for m in archive if m.name.endswith((".txt", ".md"))}
                for name in sorted(inside):
                    file = archive.extractfile(inside[name])
                    if file is not None:
                        yield file.read().decode("utf-8", errors="replace")


def paragraphs(corpus: Path) -> list[str]:
    """About `CHARACTERS` of the corpus's paragraphs, shuffled, each on one line.

    Raises:
        ValueError: there is no text, or too little of it.
    """
    found = [
        " ".join(part.split())
        for text in texts(corpus)
        for part in re.split(r"\n\s*\n", text)
        if len(part) >= SHORTEST
    ]
    random.Random(SEED).shuffle(found)
    drawn, total = [], 0
    for paragraph in found:
        drawn.append(paragraph)
        total += len(paragraph)
        if total >= CHARACTERS:
            return drawn
    raise ValueError(
        f"{corpus} has {total:,} characters of text in .txt, .md and .tar.xz files; "
        f"{CHARACTERS:,} are needed: add texts, or lower CHARACTERS and the steps"
    )


def new_tokenizer(drawn: Sequence[str]) -> PreTrainedTokenizerFast:
    """Lower-cased byte-level pairs learned from `drawn`; padding is a token of its own."""
    pairs = Tokenizer(models.BPE())
    pairs.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])  # pyright: ignore[reportAttributeAccessIssue]
    pairs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)  # pyright: ignore[reportAttributeAccessIssue]
    pairs.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[_PAD, _END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    pairs.train_from_iterator(drawn, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=pairs, pad_token=_PAD, eos_token=_END, model_max_length=WINDOW
    )


def windows(drawn: Sequence[str], *, tokenizer: PreTrainedTokenizerFast) -> torch.Tensor:
    """The paragraphs' tokens, an end after each, cut into windows: int64 [windows, WINDOW]."""
    ids: list[int] = []
    for encoded in tokenizer.backend_tokenizer.encode_batch_fast(list(drawn)):
        ids.extend(encoded.ids)
        ids.append(tokenizer.convert_tokens_to_ids(_END))
    whole = len(ids) - len(ids) % WINDOW
    return torch.tensor(ids[:whole]).view(-1, WINDOW)


def new_model(size: Size) -> GPT2LMHeadModel:
    """A GPT-2 of that size without dropout, drawn from the global random state."""
    return GPT2LMHeadModel(GPT2Config(
        vocab_size=VOCABULARY, n_positions=WINDOW,
        n_embd=size.width, n_layer=size.layers, n_head=size.heads,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
        pad_token_id=0, bos_token_id=1, eos_token_id=1,
    ))  # fmt: skip


def loss_of(model: GPT2LMHeadModel, ids_BL: torch.Tensor, *, learn: bool) -> float:
    """Mean cross-entropy of each token after a window's first, in nats; its gradients if `learn`.

    Logits are made a chunk at a time: on a processor, writing out B x L x V of them costs more than
    the rest of the model.
    """
    states = model.transformer(input_ids=ids_BL).last_hidden_state[:, :-1].flatten(0, 1)
    leaf = states.detach().requires_grad_(learn)
    targets, total = ids_BL[:, 1:].flatten(), 0.0
    for chunk, target in zip(leaf.split(_CHUNK), targets.split(_CHUNK), strict=True):
        logits = model.lm_head(chunk)
        loss = nn.functional.cross_entropy(logits, target, reduction="sum") / len(targets)
        if learn:
            loss.backward()
        total += loss.item()
    if learn:
        states.backward(leaf.grad)
    return total


def rate(step: int, *, size: Size) -> float:
    """Learning rate at `step`: a linear rise, then a cosine to 0."""
    rise = WARMUP * size.steps
    fall = max(0.0, (step - rise) / (size.steps - rise))
    return size.learning_rate * min(1.0, (step + 1) / rise) * 0.5 * (1 + math.cos(math.pi * fall))


def pretrain(
    model: GPT2LMHeadModel, read: torch.Tensor, *, size: Size, name: str, seconds: float
) -> int:
    """Next-token prediction on windows in their order; the steps done before time was up."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=size.learning_rate, betas=BETAS, weight_decay=WEIGHT_DECAY
    )
    started = time.perf_counter()
    for step, ids_BL in enumerate(read.split(BATCH)[: size.steps]):
        if time.perf_counter() - started > seconds:
            return step
        for group in optimizer.param_groups:
            group["lr"] = rate(step, size=size)
        optimizer.zero_grad()
        loss = loss_of(model, ids_BL, learn=True)
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        if (step + 1) % 100 == 0:
            print(f"{name}: step {step + 1} of {size.steps}, loss {loss:.3f}", flush=True)
    return size.steps


def make(
    name: str, *, read: torch.Tensor, tokenizer: PreTrainedTokenizerFast, out: Path, seconds: float
) -> None:
    """Pretrain the model `name` on `read` and write its folder under `out`."""
    size, started = SIZES[name], time.perf_counter()
    training, held_out = read[:-HELD_OUT], read[-HELD_OUT:]
    assert len(training) >= size.steps * BATCH, "CHARACTERS are too few for the steps"
    torch.manual_seed(SEED)
    model = new_model(size)
    done = pretrain(model, training, size=size, name=name, seconds=seconds)
    with torch.no_grad():
        losses = [loss_of(model, ids_BL, learn=False) for ids_BL in held_out.split(BATCH)]
    record = {
        "seed": SEED, **asdict(size), "steps_done": done, "tokens_read": done * BATCH * WINDOW,
        "parameters": sum(p.numel() for p in model.parameters()),
        "parameters_without_embeddings": sum(p.numel() for p in model.transformer.h.parameters()),
        "held_out_loss": round(sum(losses) / len(losses), 4),
        "seconds": round(time.perf_counter() - started, 1), "torch": torch.__version__,
    }  # fmt: skip
    model.save_pretrained(out / name)
    tokenizer.save_pretrained(out / name)
    (out / name / "pretraining.json").write_text(json.dumps(record, indent=2) + "\n")
    print(f"{name}: {json.dumps(record)}", flush=True)


def main() -> None:
    """Make the tokenizer, then every model or those named by --only, on one thread."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--corpus", type=Path, required=True, help="folder with English texts")
    parser.add_argument("--out", type=Path, required=True, help="folder of the models' folders")
    parser.add_argument("--only", choices=SIZES, action="append", help="may be given repeatedly")
    parser.add_argument(
        "--seconds-per-model", type=float, default=math.inf,
        help="stop a model early, for a trial; what it reaches then depends on the machine",
    )  # fmt: skip
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # sums in one order: the same weights every time
    drawn = paragraphs(arguments.corpus)
    tokenizer = new_tokenizer(drawn)
    read = windows(drawn, tokenizer=tokenizer)
    print(f"{len(drawn):,} paragraphs, {read.numel():,} tokens", flush=True)
    for name in arguments.only or SIZES:
        make(
            name, read=read, tokenizer=tokenizer,
            out=arguments.out, seconds=arguments.seconds_per_model,
        )  # fmt: skip


if __name__ == "__main__":
    main()
