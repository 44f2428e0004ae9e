"""Pretrains three small English models: the ladder of `sweeps/ethics_justice.yaml`.

    python benchmarks/text_models.py --corpus FOLDER --out models

Owns the sizes and the recipe: one byte-pair tokenizer, then causal language models with GPT-2's
architecture, trained on the same paragraphs in the same order, the larger ones on more of them.
Each is written as a Hugging Face folder with a record, `pretraining.json`. `--corpus` is a folder
with .txt and .md files, or .tar.xz archives of them. It reads no data of the tasks that the models
are finetuned on later. Shapes: B windows, L tokens, D width, V vocabulary, N targets.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import re
import tarfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast
from transformers.utils.logging import disable_progress_bar


@dataclass(frozen=True)
class Size:
    """A rung of the ladder."""

    width: int
    layers: int
    heads: int
    learning_rate: float  # at the peak
    steps: int  # batches of `BATCH` windows; no window is read twice


SIZES = {
    "text-s": Size(width=32, layers=2, heads=2, learning_rate=7e-3, steps=1000),
    "text-m": Size(width=64, layers=3, heads=4, learning_rate=4e-3, steps=1500),
    "text-l": Size(width=128, layers=4, heads=4, learning_rate=2.5e-3, steps=2000),
}
SEED = 0
VOCABULARY = 4096
WINDOW = 128  # tokens, and the models' position limit
BATCH = 8
WARMUP = 0.05  # share of the steps in which the rate rises; a cosine then takes it to 0
BETAS, WEIGHT_DECAY, CLIP = (0.9, 0.98), 0.01, 1.0
CHARACTERS = 12_000_000  # read from the corpus, in paragraphs drawn at random
SHORTEST = 40  # characters of a paragraph; shorter ones are mostly headings
HELD_OUT = 256  # windows that no model trains on, for the reached loss
CHUNK = 256  # predicted tokens whose logits lie in memory together
PAD, END = "[pad]", "[end]"  # tokens 0 and 1


def texts(corpus: Path) -> Iterator[str]:
    """Every text under `corpus`, archives' included, in the order of their names."""
    for path in sorted(corpus.rglob("*")):
        if path.suffix in (".txt", ".md"):
            yield path.read_text(encoding="utf-8", errors="replace")
        elif path.name.endswith(".tar.xz"):
            with tarfile.open(path, "r:xz") as archive:
                for member in sorted(archive.getmembers(), key=lambda found: found.name):
                    file = archive.extractfile(member)
                    if file is not None and member.name.endswith((".txt", ".md")):
                        yield file.read().decode("utf-8", errors="replace")


def paragraphs(corpus: Path) -> list[str]:
    """`CHARACTERS` of the corpus in paragraphs, shuffled, each on one line."""
    parts = (part for text in texts(corpus) for part in re.split(r"\n\s*\n", text))
    found = [" ".join(part.split()) for part in parts if len(part) >= SHORTEST]
    random.Random(SEED).shuffle(found)
    total = 0
    for count, paragraph in enumerate(found, start=1):
        total += len(paragraph)
        if total >= CHARACTERS:
            return found[:count]
    raise ValueError(
        f"{corpus} has {total:,} characters in paragraphs of .txt, .md and .tar.xz files, but "
        f"{CHARACTERS:,} are needed; add texts, or lower CHARACTERS and the steps"
    )


def new_tokenizer(drawn: list[str]) -> PreTrainedTokenizerFast:
    """Lower-cased byte-level pairs learned from `drawn`; padding is a token of its own."""
    pairs = Tokenizer(models.BPE())
    pairs.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    pairs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    pairs.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PAD, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    pairs.train_from_iterator(drawn, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=pairs, pad_token=PAD, eos_token=END, model_max_length=WINDOW
    )


def windows(drawn: list[str], *, tokenizer: PreTrainedTokenizerFast) -> torch.Tensor:
    """The paragraphs' tokens, an end after each, cut into windows: int64 [windows, L]."""
    encoded = tokenizer.backend_tokenizer.encode_batch_fast(drawn)
    ids = torch.tensor([token for paragraph in encoded for token in (*paragraph.ids, 1)])
    return ids[: len(ids) - len(ids) % WINDOW].view(-1, WINDOW)


def new_model(size: Size) -> GPT2LMHeadModel:
    """A GPT-2 of that size without dropout, drawn from the global random state."""
    shape = {"n_embd": size.width, "n_layer": size.layers, "n_head": size.heads}
    tokens = {"vocab_size": VOCABULARY, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1}
    dropout = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    return GPT2LMHeadModel(GPT2Config(n_positions=WINDOW, **shape, **tokens, **dropout))


def loss_of(model: GPT2LMHeadModel, ids_BL: torch.Tensor, *, learn: bool) -> float:
    """Mean cross-entropy of each token after a window's first, in nats; its gradients if `learn`.

    Logits are made a chunk at a time: on a processor, writing all N x V of them out and reading
    them back costs a small model more than its layers do.
    """
    states_BLD = model.transformer(input_ids=ids_BL).last_hidden_state
    states_ND, targets_N = states_BLD[:, :-1].flatten(0, 1), ids_BL[:, 1:].flatten()
    leaf_ND, total = states_ND.detach().requires_grad_(learn), 0.0
    for chunk, target in zip(leaf_ND.split(CHUNK), targets_N.split(CHUNK), strict=True):
        loss = cross_entropy(model.lm_head(chunk), target, reduction="sum") / len(targets_N)
        if learn:
            loss.backward()
        total += loss.item()
    if learn:
        states_ND.backward(leaf_ND.grad)
    return total


def pretrain(model: GPT2LMHeadModel, read: torch.Tensor, *, size: Size, seconds: float) -> int:
    """Train next-token prediction on windows in order; the number of steps within the time."""
    optimizer = torch.optim.AdamW(model.parameters(), betas=BETAS, weight_decay=WEIGHT_DECAY)
    rise, started = WARMUP * size.steps, time.perf_counter()
    for step, ids_BL in enumerate(read.split(BATCH)[: size.steps]):
        if time.perf_counter() - started > seconds:
            return step
        fall = 0.5 + 0.5 * math.cos(math.pi * max(0.0, (step - rise) / (size.steps - rise)))
        optimizer.param_groups[0]["lr"] = size.learning_rate * min(fall, (step + 1) / rise)
        optimizer.zero_grad()
        loss = loss_of(model, ids_BL, learn=True)
        clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        if (step + 1) % 100 == 0:
            print(f"step {step + 1} of {size.steps}, loss {loss:.3f}", flush=True)
    return size.steps


def make(name: str, *, read: torch.Tensor, folder: Path, seconds: float) -> None:
    """Pretrain the model `name` on `read` and write it to `folder`, with its record."""
    size, started = SIZES[name], time.perf_counter()
    assert len(read) >= size.steps * BATCH + HELD_OUT, "CHARACTERS are too few for the steps"
    torch.manual_seed(SEED)
    model = new_model(size)
    done = pretrain(model, read[:-HELD_OUT], size=size, seconds=seconds)
    with torch.no_grad():
        losses = [loss_of(model, part, learn=False) for part in read[-HELD_OUT:].split(BATCH)]
    record = {"seed": SEED, **asdict(size), "steps_done": done, "tokens": done * BATCH * WINDOW}
    loss, seconds = round(sum(losses) / len(losses), 4), round(time.perf_counter() - started, 1)
    record |= {"parameters": model.num_parameters(), "held_out_loss": loss, "seconds": seconds}
    model.save_pretrained(folder)
    (folder / "pretraining.json").write_text(json.dumps(record, indent=2) + "\n")
    print(f"{name}: {json.dumps(record)}", flush=True)


def main() -> None:
    """Make the tokenizer, then every model or those named by --only, on one thread."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--corpus", type=Path, required=True, help="folder with English texts")
    parser.add_argument("--out", type=Path, required=True, help="folder of the models' folders")
    parser.add_argument("--only", choices=SIZES, action="append", help="may be given repeatedly")
    parser.add_argument("--seconds-per-model", type=float, default=math.inf, help="for a short try")
    arguments = parser.parse_args()
    disable_progress_bar()
    torch.set_num_threads(1)  # sums in one order: the same weights every time
    drawn = paragraphs(arguments.corpus)
    tokenizer = new_tokenizer(drawn)
    read = windows(drawn, tokenizer=tokenizer)
    print(f"{len(drawn):,} paragraphs, {read.numel():,} tokens", flush=True)
    for name in arguments.only or SIZES:
        folder = arguments.out / name
        make(name, read=read, folder=folder, seconds=arguments.seconds_per_model)
        tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    main()
