"""A study of linear probes: backbones that are read once, against backbones read at every step.

Owns one paired measurement in one process, without Ray: the fits of 16 trials over a probe's loss
and learning rate on a model of 135 million weights (the shape of SmolLM2, random weights), or on
`--model FOLDER`. `every step` trains the probe through its backbone in every epoch, evaluation and
trial, as fits of other tuning do; `once` is what `w2s run` does. Every fit reads rows from a store
and writes its record. It prints JSON, with CPU seconds (of one thread) beside wall-clock seconds,
and the largest difference between the two sides' predictions.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from w2s_ray import plan_sweep
from w2s_ray.config import FullTuning, Sweep, parse_sweep
from w2s_ray.fits.forms import FIT_FORMS
from w2s_ray.fits.forms.classes import Classes
from w2s_ray.fits.labels import SplitRows
from w2s_ray.fits.train_fit import FitTraining
from w2s_ray.fits.training_data import TrainingData
from w2s_ray.plan import PlannedFit
from w2s_ray.prepare import materialize
from w2s_ray.store import Store

SEED = 20231214
WORDS = 1500
RATES = (1e-3, 3e-3, 1e-2, 3e-2)
LOSSES = (
    {"kind": "xent"},
    *({"kind": "confidence", "alpha": alpha} for alpha in (0.25, 0.5, 0.75)),
)
TRIALS = [{"training.lr": rate, "loss": loss} for rate in RATES for loss in LOSSES]
SIDES = ("every step", "once")
SMOLLM2: dict[str, Any] = {
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "vocab_size": 49152,
}
TOY = {**SMOLLM2, "hidden_size": 18, "intermediate_size": 48, "num_hidden_layers": 2}


class ReadAtEveryStep(Classes):
    """Probes get tokens, as fits of any other tuning do, so that each step reads the backbone."""

    def training_data(
        self, fit: PlannedFit, rows: SplitRows, store: Store, **more: Any
    ) -> TrainingData:
        training = fit.recipe.training.model_copy(update={"tuning": FullTuning()})
        recipe = fit.recipe.model_copy(update={"training": training})
        return super().training_data(replace(fit, recipe=recipe), rows, store, **more)


class NoCheckpoints:
    """Fits take seconds and are not resumed."""

    def due(self) -> bool:
        return False

    def latest(self) -> None:
        return None


def write_model(folder: Path, shape: dict[str, Any], *, seed: int) -> Path:
    """A Llama-shaped model with random weights and a word-level tokenizer."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
    from transformers.utils import logging

    logging.disable_progress_bar()
    vocabulary = {"<pad>": 0, "<unk>": 1} | {f"word{i}": i + 2 for i in range(WORDS)}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    torch.manual_seed(seed)
    config = LlamaConfig(
        **shape,
        tie_word_embeddings=True,
        max_position_embeddings=2048,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=None,
    )
    LlamaForCausalLM(config).bfloat16().save_pretrained(folder)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", unk_token="<unk>"
    )
    tokenizer.save_pretrained(folder)
    return folder


def write_texts(path: Path, *, rows: int, tokens: int) -> None:
    """Texts (text, label) of `tokens` words on average; each class uses some words more often."""
    generator = np.random.default_rng(SEED)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for row in range(rows):
            label = row % 2
            length = int(generator.integers(tokens // 2, tokens + tokens // 2 + 1))
            marked = generator.random(length) < 0.2
            words = np.where(
                marked,
                generator.integers(label * 50, label * 50 + 50, length),
                generator.integers(100, WORDS, length),
            )
            writer.writerow([" ".join(f"word{i}" for i in words), label])


def sweep_of(folder: Path, strong: str, *, rows: int) -> Sweep:
    """A sweep with one study of probes on the strong model."""
    sweep = {
        "name": "probes",
        "task": {
            "name": "generated",
            "path": str(folder / "texts.csv"),
            "columns": {"text": "text", "label": "label"},
            "train": 2 * rows,
            "validation": rows // 2,
            "test": rows,
        },
        "models": [str(folder / "weak"), strong],
        "seeds": [0],
        "training": {"batch_size": 16, "epochs": 2, "evaluations_per_epoch": 1, "max_tokens": 256},
        "methods": {
            "probe": {
                "training": {"tuning": {"kind": "probe"}},
                "search": {
                    "training.lr": {"choice": list(RATES)},
                    "loss": {"one_of": [{"kind": "xent"}, {"kind": "confidence"}]},
                },
            }
        },
        "search": {"trials": len(TRIALS), "objective": "weak_validation"},
        "execution": {"gpus_per_worker": 0},
        "store": str(folder / "results"),
    }
    return parse_sweep(json.dumps(sweep))  # JSON is YAML


def measure(sweep: Sweep, store: Store, *, side: str) -> dict[str, Any]:
    """Seconds of each trial's fit on one side, and what the fits predict."""
    plan = plan_sweep(sweep, store=store)
    materialize(plan, store)
    (study,) = plan.studies.values()
    for parent in study.parents:
        train(plan.fits[parent], store)
    seconds, predicted, used = [], [], time.process_time()
    form = Classes() if side == "once" else ReadAtEveryStep()
    with patch.dict(FIT_FORMS, classes=form):
        for settings in TRIALS:
            (fit,) = study.trial_fits(settings)
            began = time.perf_counter()
            train(fit, store)
            seconds.append(time.perf_counter() - began)
            print(f"{side}: {len(seconds)}, {seconds[-1]:.2f} s", file=sys.stderr, flush=True)
            predicted.append(store.predictions(fit.id, "test").column("probability").to_numpy())
    used = time.process_time() - used
    return {"seconds": seconds, "cpu_seconds": used, "predicted": np.stack(predicted)}


def train(fit: PlannedFit, store: Store) -> None:
    """Train a fit in this process, and keep its record."""
    record = FitTraining(fit).run(store, checkpoints=NoCheckpoints())
    if record.status != "done":
        raise RuntimeError(record.traceback or record.reason)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure both sides, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="a pretrained model in place of random weights")
    parser.add_argument("--rows", type=int, default=32, help="training rows of a fit")
    parser.add_argument("--tokens", type=int, default=16, help="mean tokens of a row")
    parser.add_argument("--toy", action="store_true", help="a tiny model, to try the program")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="w2s-probes-") as temporary:
        folder = Path(temporary)
        os.environ["W2S_CACHE"] = str(folder / "cache")
        write_texts(folder / "texts.csv", rows=5 * options.rows, tokens=options.tokens)
        write_model(folder / "weak", TOY, seed=SEED)
        strong = options.model or write_model(
            folder / "strong", TOY if options.toy else SMOLLM2, seed=SEED + 1
        )
        sweep = sweep_of(folder, str(strong.absolute()), rows=options.rows)
        found = {
            side: measure(sweep, Store.open(folder / f"results-{place}"), side=side)
            for place, side in enumerate(SIDES)
        }
    before, after = (found[side] for side in SIDES)
    result = {
        "trials": len(TRIALS),
        **{
            side: {
                "study_s": round(sum(each["seconds"]), 2),
                "cpu_s": round(each["cpu_seconds"], 2),
                "first_trial_s": round(each["seconds"][0], 2),
                "later_trial_median_s": round(statistics.median(each["seconds"][1:]), 3),
            }
            for side, each in found.items()
        },
        "ratio": round(sum(after["seconds"]) / sum(before["seconds"]), 4),
        "cpu_ratio": round(after["cpu_seconds"] / before["cpu_seconds"], 4),
        "largest_difference": float(np.abs(before["predicted"] - after["predicted"]).max()),
        "load": os.getloadavg(),
    }
    print(json.dumps(result, indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
