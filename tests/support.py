"""Tiny models and tasks that the tests make for themselves, and small sweeps over them."""

from __future__ import annotations

import csv
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

WORDS = [f"w{i}" for i in range(60)]
GOOD, BAD = WORDS[:20], WORDS[20:40]
SEARCHED = """naive: {}
  confidence:
    loss: {kind: confidence}
    search: {loss.alpha: {uniform: [0.0, 0.9]}, early_stopping.patience: {choice: [1, 2]}}"""
"""Methods for `sweep_text`: 22 fits with `SEARCH`."""
SEARCH = "search: {trials: 6, scheduler: asha, grace_evaluations: 1, concurrent_trials: 2}"


def make_model(
    folder: Path,
    *,
    width: int = 16,
    layers: int = 1,
    seed: int = 0,
    eos: bool = False,
    tied: bool = True,
    vocabulary: int | None = None,
) -> Path:
    """A GPT-2-shaped model with random weights and a word-level tokenizer, as a local folder.

    With `eos` its tokenizer has a token that ends a text; `tied`: its head is its embedding;
    `vocabulary`: its size, where it is larger than the tokenizer's.
    """
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    words = {word: i for i, word in enumerate([*WORDS, "[UNK]", "[PAD]", "[EOS]"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        **({"eos_token": "[EOS]"} if eos else {}),
    )
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=vocabulary or len(words),
        n_positions=64,
        n_embd=width,
        n_layer=layers,
        n_head=2,
        bos_token_id=None,
        eos_token_id=None,
        tie_word_embeddings=tied,
    )
    GPT2LMHeadModel(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def make_task(path: Path, *, rows: int = 400, seed: int = 0) -> Path:
    """A CSV (text, label): texts of 5-15 words, more good words than bad ones in class 1."""
    rng = random.Random(seed)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for i in range(rows):
            label = i % 2
            share = 0.75 if label else 0.25
            words = [
                rng.choice(GOOD if rng.random() < share else BAD) for _ in range(rng.randint(5, 15))
            ]
            writer.writerow([" ".join(words), label])
    return path


class NoCheckpoints:
    """A fit that can't be resumed."""

    def due(self) -> bool:
        return False

    def save(self, step: int, write: object) -> None:
        raise AssertionError("not due")

    def latest(self) -> None:
        return None


def sweep_text(
    folder: Path,
    *,
    methods: str = "naive: {}",
    extra: str = "",
    execution: str = "{}",
    name: str = "tiny",
) -> str:
    """A sweep over three tiny models and a generated task in `folder`, made there if need be."""
    for i, label in enumerate(("a", "b", "c")):
        if not (folder / label).exists():
            make_model(folder / label, width=8 * (i + 1), seed=i)
    if not (folder / "task.csv").exists():
        make_task(folder / "task.csv")
    return f"""
name: {name}
task:
  {{name: words, path: {folder}/task.csv, columns: {{text: text, label: label}},
   train: 128, validation: 32, test: 64}}
models: [{folder}/a, {folder}/b, {folder}/c]
pairs: [[a, b], [b, c]]
seeds: [0, 1]
training: {{batch_size: 16, epochs: 2, lr: 3.0e-3, max_tokens: 32, evaluations_per_epoch: 2}}
methods:
  {methods}
execution: {execution}
store: {folder}/results
{extra}
"""


def w2s(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The `w2s` command in a process of its own, as a user runs it; the exit code is unchecked."""
    return subprocess.run(
        [sys.executable, "-m", "w2s_ray", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=550,
    )


def loaded_by(arguments: Sequence[str], *heavy: str) -> list[str]:
    """Which of the modules `heavy` the command has imported when it ends."""
    code = (
        "import sys\n"
        "from w2s_ray.cli import app\n"
        f"app({list(arguments)!r}, standalone_mode=False)\n"
        f"print('loaded:', *(name for name in {heavy!r} if name in sys.modules))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    label, *names = run.stdout.splitlines()[-1].split()
    assert label == "loaded:"
    return names
