"""Malformed sweep files: each gives its one line, exit code 2 and nothing else, before any data.

A table of inputs and of what their line must say, properties of the YAML loader under random text,
and that every number and text of a sweep file has bounds.
"""

from __future__ import annotations

import contextlib
import os
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.testing import CliRunner

from w2s_ray.cli import app
from w2s_ray.config import Sweep, parse_sweep
from w2s_ray.errors import LONGEST_LINE, MOST_LINES, InputError

TASK = """\
task:
  {name: birds, path: d.csv, columns: {text: text, label: label},
   train: 80, validation: 20, test: 40}
"""
METHODS = """\
methods:
  naive: {}
  other: {loss: {kind: confidence, alpha: 0.5}, stages: [], search: {}}
"""
SWEEP = f"""\
name: t
{TASK}\
models: [{{name: "embedded:xs", label: xs}}, {{name: "embedded:s", label: s}}]
pairs: weaker_to_stronger
seeds: [0]
training:
  {{batch_size: 16, epochs: 1, lr: 1.0e-3, max_tokens: 48, evaluations_per_epoch: 2}}
early_stopping: {{patience: 1}}
{METHODS}\
execution: {{engine: torch, cpus_per_worker: 1}}
limits: {{lease_s: 60}}
search: {{trials: 4, seed: 9}}
trackers: {{}}
store: results
"""
BIG = 10**30
LONG = "x" * 5000
ALIASES = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9)
)


def with_(old: str, new: str) -> str:
    assert old in SWEEP, old
    return SWEEP.replace(old, new, 1)


def stage(text: str) -> str:
    return with_("stages: []", f"stages: [{text}]")


def search(text: str) -> str:
    return with_("search: {}", f"search: {{{text}}}")


def training(text: str) -> str:
    return with_("batch_size: 16", text)


def execution(text: str) -> str:
    return with_("cpus_per_worker: 1", text)


def columns(text: str) -> str:
    return with_("{text: text, label: label}", text)


YAML = {
    "a NUL": (SWEEP.replace("name: t", "name: t\0"), r":1: not valid YAML: the character '\x00'"),
    "a control character": ("name: \x1b[31m", r"the character '\x1b' is not allowed; remove it"),
    "an escaped NUL": (with_("results", r'"a\0b"'), r"a text has the character '\x00'"),
    "half a pair": (with_("label: xs", r'label: "\ud800"'), r"has the character '\ud800'"),
    "an escape sequence": (with_("label: xs", r'label: "\e[31m"'), r"has the character '\x1b'"),
    "an escape in a key": (with_("naive: {}", r'"na\u001bive": {}'), r"has the character '\x1b'"),
    "deep lists": ("[" * 5000, "nested more than 40 deep"),
    "deep mappings": ("{a: " * 5000, "nested more than 40 deep"),
    "deep blocks": ("".join(f"{' ' * i}a:\n" for i in range(200)), "nested more than 40 deep"),
    "a day that isn't": (with_("seeds: [0]", "seeds: 2026-13-45"), "seeds: write a list"),
    "a day as a number": (with_("train: 80", "train: 2026-01-02"), "train: write a whole number"),
    "a template": (with_("results", "{{ results }}"), "an unrendered template; render it first"),
    "a template's block": ("{% for x in y %}\n" + SWEEP, "an unrendered template; render it first"),
    "a quoted template": (with_("results", '"{{ results }}"'), "an unrendered template"),
    "a list as a key": (SWEEP + "? [a]\n: b\n", "a key is a list or a mapping; a key is text"),
    "a mapping as a key": (SWEEP + "{a: b}: c\n", "a key is a list or a mapping"),
    "a long integer": (with_("80", "9" * 5000), "a number has more than 100 digits"),
    "a long hexadecimal": (with_("80", "0x" + "f" * 5000), "a number has more than 100 digits"),
    "a large integer": (with_("80", str(BIG)), "train: Input should be less than or equal to"),
    "no integer": (with_("80", "!!int abc"), "'abc' is not an integer"),
    "an empty integer": (with_("80", "!!int ''"), "'' is not an integer"),
    "no number": (with_("lr: 1.0e-3", "lr: !!float abc"), "'abc' is not a number"),
    "no bool": (with_("[0]", "!!bool abc"), "'abc' is not true or false"),
    "no list": (with_("[0]", "!!seq {a: b}"), "expected a sequence node"),
    "no mapping": (with_("trackers: {}", "trackers: !!map [a]"), "this is not a mapping; write {"),
    "a timestamp": (with_("[0]", "!!timestamp abc"), "'!!timestamp' is not an allowed type"),
    "bytes": (with_("name: t", "name: !!binary aGk="), "'!!binary' is not an allowed type"),
    "a set": (with_("[0]", "!!set {0}"), "'!!set' is not an allowed type"),
    "an object": (
        with_("name: t", "name: !!python/object/apply:os.system ['true']"),
        "python/object/apply:os.system' is not an allowed type",
    ),
    "a tag of one's own": (with_("name: t", "name: !mine t"), "'!mine' is not an allowed"),
    "a long tag": (with_("name: t", f"name: !{LONG} t"), "is not an allowed type; remove it"),
    "aliases of aliases": (ALIASES, "more than 100,000 values, aliases included"),
    "an alias in itself": (with_("[0]", "&a [*a]"), "an alias is inside the value"),
    "a merge of itself": ("a: &a {<<: *a}", "an alias is inside the value"),
    "an unknown alias": (with_("[0]", "*nowhere"), "found undefined alias 'nowhere'"),
    "a merge of a number": (with_("trackers: {}", "<<: 3"), "expected a mapping or list of mapp"),
    "two documents": (SWEEP + "---\nname: u\n", "but found another document"),
    "a tab": ("name: t\n\ttask: {}\n", r"found character '\t' that cannot start any token"),
    "a key twice": (SWEEP + "name: u\n", ":19: not valid YAML: the key 'name' occurs twice"),
    "a long key twice": (f"{LONG[:900]}: 1\n" * 2, "occurs twice; keep one"),
    "a wrong version": ("%YAML 9.9\n---\nname: t\n", "incompatible YAML document"),
    "an open bracket": ("name: [t\n", "not valid YAML: expected ',' or ']'"),
    "an open quote": ("name: 't\n", "found unexpected end of stream"),
    "no space after a colon": ("name:t\n", ":1: a sweep file is a mapping with name, task"),
    "nothing": ("", ":1: a sweep file is a mapping with name, task, models and methods"),
    "a comment alone": ("# a sweep\n", "a sweep file is a mapping"),
    "a number alone": ("3\n", "a sweep file is a mapping"),
    "a list alone": ("- a\n", "a sweep file is a mapping"),
    "null": ("null\n", "a sweep file is a mapping"),
    "JSON that is cut": ('{"name": "t", ', "not valid YAML"),
    "an HTML page": ("<!DOCTYPE html>\n<html><body>404</body></html>\n", "is a mapping with"),
    "UTF-16": ("name: t\n".encode("utf-16"), "byte 0 is not UTF-8; save the file as UTF-8"),
    "latin-1": ("name: café\n".encode("latin-1"), "byte 9 is not UTF-8"),
    "a program": (b"\x7fELF\x02\x01\x01\0\xff", "is not UTF-8"),
    "a large file": (b"#" * (1 << 20) + b"\n", "has 1,048,577 bytes, too many for a sweep file"),
}
TYPES = {
    "models as text": (
        with_('[{name: "embedded:xs", label: xs}, {name: "embedded:s", label: s}]', "embedded:xs"),
        ":5: models: write a list, [value, ...] (got 'embedded:xs')",
    ),
    "a task as text": (
        SWEEP.replace(TASK, "task: birds\n"),
        "task: write a mapping, {key: value, ...} (got 'birds')",
    ),
    "methods as a list": (
        SWEEP.replace(METHODS, "methods: [naive]\n"),
        "methods: write a mapping, {key: value, ...}",
    ),
    "a method of nothing": (with_("naive: {}", "naive:"), "methods.naive: write a mapping"),
    "seeds as a number": (with_("[0]", "0"), "seeds: write a list, [value, ...] (got 0)"),
    "no seeds": (with_("[0]", "[]"), "seeds: give at least 1"),
    "seeds as words": (with_("[0]", "[a, 0]"), "seeds.0: write a whole number (got 'a')"),
    "pairs as a mapping": (with_("weaker_to_stronger", "{xs: s}"), ":6: pairs: write"),
    "pairs as a word": (with_("weaker_to_stronger", "all"), "pairs: write 'weaker_to_stronger', "),
    "pairs of one": (with_("weaker_to_stronger", "[[xs]]"), ":6: pairs.0.1: missing; add it"),
    "pairs of a mapping": (with_("weaker_to_stronger", "[{xs: s}]"), "pairs.0: write a list"),
    "pairs of numbers": (with_("weaker_to_stronger", "[[1, s]]"), "pairs.0.0: write text"),
    "an unknown kind": (with_("kind: confidence", "kind: konfidence"), "did you mean 'confidence'"),
    "no kind": (with_("kind: confidence, ", ""), "methods.other.loss: its kind is missing; add it"),
    "a kind as a list": (
        with_("kind: confidence", "kind: [a]"),
        "methods.other.loss: unknown kind",
    ),
    "a stage as text": (stage("hard"), "methods.other.stages.0: write a mapping"),
    "gpus as a word": (execution("gpus_per_worker: many"), "write a number; or write 'auto' (got"),
    "micro_batch as a word": (execution("micro_batch: many"), "or write 'auto' (got"),
    "no micro_batch": (execution("micro_batch: 0"), "micro_batch: Input should be greater than"),
    "gpus as a mapping": (execution("gpus_per_worker: {a: 1}"), "gpus_per_worker: write a number"),
    "trackers as a number": (with_("trackers: {}", "trackers: 3"), "3 is not a list of trackers"),
    "trackers with number keys": (with_("trackers: {}", "trackers: [{1: 2}, {1: 2}]"), "twice"),
    "an unknown key": (training("batch: 16"), "unknown key 'batch'; did you mean"),
    "a long unknown key": (training(f"{LONG[:900]}: 16"), "(900 characters); known: batch_size"),
    "an override as a list": (with_("label: xs", "label: xs, training: [a]"), "write a mapping"),
    "an override's value": (
        with_("label: xs", "label: xs, training: {lr: fast}"),
        "models.xs.training.lr: write a number (got 'fast')",
    ),
    "an override's long value": (
        with_("label: xs", f"label: xs, training: {{lr: {LONG}}}"),
        "... (5,000 characters))",
    ),
    "a ladder as a number": (with_('{name: "embedded:xs"', "{ladder: 3"), "models."),
    "a model as a number": (
        with_('{name: "embedded:xs", label: xs}', "3"),
        "models.0: write a map",
    ),
    "text with category and label": (
        columns("{text: text, category: kind, label: label}"),
        "texts of one of several classes, which have no label; remove label, or category",
    ),
    "category with answer": (
        columns("{category: kind, answer: label}"),
        "images or features, which has no answer; give text as well for texts of several classes",
    ),
    "columns as a list": (columns("[text, label]"), "columns: write a mapping"),
    "one_of as text": (search("loss: {one_of: kl}"), "one_of: write a list"),
    "one_of of numbers": (search("loss: {one_of: [3]}"), "one_of.0: write a mapping"),
    "one_of without kinds": (
        search("loss: {one_of: [{alpha: 1}]}"),
        "entry 1 of one_of has no kind",
    ),
    "an unknown form of a space": (search("training.lr: {normal: [0, 1]}"), "unknown key 'normal'"),
    "a space as a number": (search("training.lr: 3"), "training.lr: write a mapping"),
    "a choice of mappings": (search("training.lr: {choice: [{a: 1}]}"), "{'a': 1} is not a value"),
    "no choices": (search("training.lr: {choice: []}"), "training.lr.choice: give at least 1"),
    "on as text": (with_("seed: 9", "seed: 9, on: xs"), "search.on: write a list"),
    "on as a pair": (with_("seed: 9", "seed: 9, on: [xs, s]"), "is not a list of pairs; write [["),
}
VALUES = {
    "many rows": (with_("train: 80", "train: 1000000000000"), "train: Input should be less than"),
    "no rows": (with_("test: 40", "test: 0"), "test: Input should be greater than or equal to 2"),
    "a negative split seed": (
        with_("test: 40", "test: 40, split_seed: -1"),
        "greater than or equal",
    ),
    "a large split seed": (
        with_("test: 40", f"test: 40, split_seed: {2**63}"),
        "less than or equal",
    ),
    "a negative seed": (
        with_("[0]", "[-1]"),
        "seeds.0: Input should be greater than or equal to 0",
    ),
    "a seed beyond 2^63": (with_("[0]", f"[{2**63}]"), "seeds.0: Input should be less than"),
    "a search seed beyond 2^63": (with_("seed: 9", f"seed: {2**63}"), "search.seed: Input should"),
    "seeds that repeat": (with_("[0]", f"[{', '.join(['0'] * 5000)}]"), "repeat a seed"),
    "infinity": (with_("lr: 1.0e-3", "lr: .inf"), "training.lr: write a finite number (got inf)"),
    "not a number": (with_("lr: 1.0e-3", "lr: .nan"), "training.lr: "),
    "a large lr": (with_("lr: 1.0e-3", "lr: 1e300"), "training.lr: Input should be less than"),
    "a large batch": (training(f"batch_size: {10**12}"), "batch_size: Input should be less than"),
    "many epochs": (with_("epochs: 1", f"epochs: {10**11}"), "epochs: Input should be less than"),
    "many evaluations": (
        with_("evaluations_per_epoch: 2", "evaluations_per_epoch: 1000000000"),
        "evaluations_per_epoch: Input should be less than or equal to 10000 (got 1000000000)",
    ),
    "betas of one": (
        training("betas: [0.9, 1.0]"),
        "betas.1: Input should be less than 1 (got 1.0)",
    ),
    "negative betas": (training("betas: [-0.1, 0.9]"), "betas.0: Input should be greater than"),
    "three betas": (training("betas: [0.9, 0.9, 0.9]"), "training.betas: give at most 2"),
    "one beta": (training("betas: [0.9]"), "betas.1: missing; add it"),
    "long contexts": (with_("max_tokens: 48", f"max_tokens: {10**12}"), "less than or equal to"),
    "a wide adapter": (training(f"tuning: {{kind: lora, rank: {10**9}}}"), "rank: Input should be"),
    "no adapters": (training("tuning: {kind: lora, targets: []}"), "targets: give at least 1"),
    "an unnamed adapter": (training("tuning: {kind: lora, targets: ['']}"), "targets.0: String"),
    "many layers": (training(f"tuning: {{kind: last_layers, layers: {10**6}}}"), "layers: Input"),
    "many iterations": (
        stage("{kind: iterate, times: 1000000}"),
        "methods.other.stages.0.times: Input should be less than or equal to 100 (got 1000000)",
    ),
    "a long bootstrap": (stage(f"{{kind: bootstrap, between: {10**9}}}"), "between: Input should"),
    "words alike": (
        stage("{kind: elicit, words: [' no', no]}"),
        "words: write two or more different words, one for each class (got [' no', 'no'])",
    ),
    "no word": (stage("{kind: prompt, words: ['', yes]}"), "words: write two or more different"),
    "controls whose words are alike": (
        SWEEP + "controls: {question: 'Q:', words: [a, a]}\n",
        "controls.words: write two or more different words, one for each class",
    ),
    "a temperature near 0": (
        with_("kind: confidence, alpha: 0.5", "kind: adaptive_confidence, temperature: 1.0e-300"),
        "loss.temperature: Input should be greater than or equal to 0.000001",
    ),
    "smoothing near 0": (
        stage("{kind: ensemble, seeds: [7]}, {kind: dawid_skene, smoothing: 5.0e-324}"),
        "smoothing: Input should be greater than or equal to 0.000001",
    ),
    "samples at temperature 0": (
        stage("{kind: self_consistency, samples: 4, temperature: 0}"),
        "samples is 4 at temperature 0, at which all of them are the same; raise temperature, or",
    ),
    "no samples": (stage("{kind: self_consistency, samples: 0}"), "samples: Input should be great"),
    "a share above 1": (stage("{kind: self_consistency, share: 60}"), "share: Input should be les"),
    "an unknown completion": (
        stage("{kind: agreed_answers, learn: all}"),
        "learn: write 'both', 'weak' or 'strong' (got 'all')",
    ),
    "agreed answers after bootstrapping": (
        stage("{kind: agreed_answers}, {kind: bootstrap}"),
        "stages has agreed_answers and bootstrap, and agreed_answers is about the supervisor's own",
    ),
    "a search of the supervisor's samples": (
        with_(
            "stages: [], search: {}",
            "stages: [{kind: self_consistency}], "
            "search: {stages.self_consistency.samples: {choice: [3, 5]}}",
        ),
        "belongs to the supervisor, which a search of a method's students does not train; set it",
    ),
    "an unknown extractor": (with_("test: 40", "test: 40, extract: last_nubmer"), "extract"),
    "an extractor as a list": (with_("test: 40", "test: 40, extract: [exact]"), "extract"),
    "no pattern": (with_("test: 40", "test: 40, extract: regex"), "pattern: missing; add it"),
    "a pattern without a group": (
        with_("test: 40", "test: 40, extract: {kind: regex, pattern: '[0-9]+'}"),
        "'[0-9]+' has 0 groups, and the answer is what one group matches; write one (...)",
    ),
    "a pattern that never ends": (
        with_("test: 40", "test: 40, extract: {kind: regex, pattern: '(([0-9]+,?)+)'}"),
        "has 2 groups",
    ),
    "a pattern of repeats": (
        with_("test: 40", "test: 40, extract: {kind: regex, pattern: '((?:[0-9]+,?)+)'}"),
        "repeats a repeat or alternatives, for which some completions take forever; write one set",
    ),
    "a wrong pattern": (
        with_("test: 40", "test: 40, extract: {kind: regex, pattern: '('}"),
        "'(' is no regular expression: missing ), unterminated subpattern at position 0; correct",
    ),
    "letters of a choice in lower case": (
        with_("test: 40", "test: 40, extract: {kind: choice_letter, letters: abcd}"),
        "letters: 'abcd' has other signs than capital letters; write ABCD",
    ),
    "many shots": (stage("{kind: prompt, shots: 1000}"), "shots: Input should be less than"),
    "an unknown calibration": (
        stage("{kind: prompt, calibration: platt}"),
        "calibration: write 'none', 'rows' or 'content_free' (got 'platt')",
    ),
    "an unknown dedupe": (with_("test: 40", "test: 40, dedupe: far"), "dedupe: write 'near'"),
    "no bucket batches": (
        with_("batch_size: 16", "batch_size: 16, bucket_batches: 0"),
        "bucket_batches: Input should be greater than or equal to 1",
    ),
    "a long question": (
        stage(f"{{kind: prompt, question: {LONG * 3}}}"),
        "question: String should",
    ),
    "a stage twice": (stage("{kind: hard}, {kind: hard}"), "stages has 'hard' more than once"),
    "a hot temperature": (stage("{kind: temperature, by: 1e300}"), "by: Input should be less than"),
    "cold": (stage("{kind: temperature, by: 0}"), "by: Input should be greater than 0"),
    "many neighbours": (
        stage(f"{{kind: filter, by: {{kind: knn, k: {10**12}}}}}"),
        "k: Input should be less than",
    ),
    "a long patience": (with_("patience: 1", f"patience: {10**12}"), "patience: Input should be"),
    "more patience than evaluations": (with_("patience: 1", "patience: 9"), "only 2 times"),
    "many workers": (execution(f"workers: {10**9}"), "workers: Input should be less than"),
    "many GPUs": (execution("gpus_per_worker: 1e9"), "gpus_per_worker: Input should be less than"),
    "no CPUs": (execution("cpus_per_worker: 0"), "cpus_per_worker: Input should be greater than"),
    "many retries": (execution(f"retries: {10**9}"), "retries: Input should be less than"),
    "a long lease": (with_("lease_s: 60", "lease_s: 1e300"), "lease_s: Input should be less than"),
    "no lease": (with_("lease_s: 60", "lease_s: 0"), "lease_s: Input should be greater than 0"),
    "many trials": (with_("trials: 4", f"trials: {10**9}"), "trials: Input should be less than"),
    "a large grid": (
        search(f"training.epochs: {{integer: [1, {10**11}]}}").replace("seed: 9", "sampler: grid"),
        "training.epochs = 100000000000: training.epochs: Input should be less than or equal to",
    ),
    "a larger grid": (
        search(
            "training.epochs: {integer: [1, 90000]}, training.batch_size: {integer: [1, 90000]}"
        ).replace("seed: 9", "sampler: grid"),
        "the grid has 8,100,000,000 points, and at most 100,000 are possible",
    ),
    "a wide integer": (
        search(f"training.epochs: {{integer: [1, {BIG}]}}"),
        "less than or equal to",
    ),
    "a range backwards": (search("training.lr: {uniform: [1, 0]}"), "[1.0, 0.0] is not a range"),
    "an infinite range": (search("training.lr: {uniform: [0, .inf]}"), "write a finite number"),
    "a choice of infinity": (search("training.lr: {choice: [.inf]}"), "inf is not a finite number"),
    "betas to choose from": (
        search("training.betas: {choice: [[0.9, 0.999], [0.9, 1.5]]}"),
        "training.betas = (0.9, 1.5): training.betas.1: Input should be less than 1 (got 1.5)",
    ),
    "many settings at once": (
        search(
            ", ".join(
                f"{name}: {{choice: [1, 2]}}"
                for name in (
                    *("training.batch_size", "training.epochs", "training.bucket_batches"),
                    *("training.evaluations_per_epoch", "training.weight_decay", "loss.window"),
                    *("training.clip_norm", "early_stopping.patience", "training.lr"),
                    *("early_stopping.min_delta", "training.answer_tokens", "training.a"),
                    *("training.b", "training.c"),
                )
            )
        ),
        "searches 14 settings, whose bounds and kinds have 16,384 combinations",
    ),
    "many cells": (
        with_("[0]", f"[{', '.join(map(str, range(2000)))}]").replace(
            "  naive: {}\n", "".join(f"  m{i}: {{}}\n" for i in range(600))
        ),
        "the sweep has 1,202,000 cells",
    ),
    "many methods of one name": (with_("naive: {}", "naive: {}\n  naive: {}"), "occurs twice"),
    "a name of 300": (
        with_("name: t", f"name: {'t' * 300}"),
        "name: String should have at most 120",
    ),
    "a name with a slash": (with_("name: t", "name: a/b"), "name: write letters, digits, '.', '_'"),
    "a name of a number": (with_("name: t", "name: 3"), "name: write text (got 3)"),
    "a task's name of 300": (
        with_("birds", "b" * 300),
        "task.name: String should have at most 120",
    ),
    "a task's empty name": (with_("birds", "''"), "task.name: String should have at least 1"),
    "a label of 300": (
        with_("label: xs", f"label: {'x' * 300}"),
        "label: String should have at mo",
    ),
    "a label of lines": (with_("label: xs", r'label: "a\nb"'), r"'a\nb' is not a name"),
    "a blank label": (with_("label: xs", "label: ' '"), "' ' is not a name; use letters"),
    "a method's name of 300": (
        with_("naive: {}", f"{'n' * 300}: {{}}"),
        "String should have at most",
    ),
    "a method's name of lines": (with_("naive: {}", r'"a\nb": {}'), "is not a name; use letters"),
    "a path of 5,000": (
        with_("d.csv", LONG),
        "is too long for a path (4,096 characters, 255 bytes",
    ),
    "a path's part of 300": (with_("d.csv", f"a/{'b' * 300}/d.csv"), "is too long for a path"),
    "an empty path": (
        with_("path: d.csv", "path: ''"),
        "task.path: '' is an empty path; give a file",
    ),
    "a path of a user": (
        with_("d.csv", "~nosuchuser/d.csv"),
        "home of a user who doesn't exist here",
    ),
    "a path of lines": (with_("d.csv", r'"a\nb"'), r"'a\nb' has control characters"),
    "a URL": (with_("d.csv", "https://example.org/d.csv"), "is a URL; download it, and give the"),
    "ftp": (with_("d.csv", "ftp://example.org/d.csv"), "is a URL; download it, and give the path"),
    "an empty store": (with_("store: results", 'store: ""'), "store: '' is an empty path"),
    "a store of blanks": (with_("store: results", 'store: "  "'), "store: '  ' is an empty path"),
    "a store by ftp": (
        with_("results", "ftp://example.org/r"),
        "store: 'ftp://example.org/r' can't be",
    ),
    "a store on the web": (with_("results", "https://example.org"), "can't be written to; give a"),
    "a store of 5,000": (with_("store: results", f"store: {LONG}"), "store: 'xxx"),
    "a store of a user": (
        with_("results", "~nosuchuser/r"),
        "store: '~nosuchuser/r' is in the home",
    ),
    "a store of null": (with_("store: results", "store: null"), "store: write text"),
    "a model of a user": (
        with_("embedded:xs", "~nosuchuser/m"),
        "home of a user who doesn't exist here",
    ),
    "a model by ftp": (with_("embedded:xs", "ftp://x/m"), "is a URL; download it, and give the"),
    "a model of 5,000": (with_("embedded:xs", LONG), "is too long for a path"),
    "a model without a name": (
        with_('name: "embedded:xs", ', ""),
        "models.0.name: missing; add it",
    ),
    "a model's empty name": (
        with_("embedded:xs", ""),
        "'' is an empty path; give a file or folder",
    ),
    "an unknown model of ours": (with_("embedded:xs", "embedded:zzz"), "zzz"),
    "a model twice": (with_("label: xs", "label: s"), "models has 's' more than once"),
    "a step that isn't": (
        with_("label: xs", "label: xs, checkpoint: 's@²'"),
        "checkpoint: 's@²' is not kept by a pretraining",
    ),
    "a long step": (with_("label: xs", f"label: xs, checkpoint: s@{'9' * 5000}"), "at most 300"),
    "an unknown model in pairs": (
        with_("weaker_to_stronger", f"[[xs, {LONG[:100]}]]"),
        "unknown model",
    ),
    "a column of 5,000": (
        columns(f"{{text: {LONG}, label: label}}"),
        "columns.text: String should",
    ),
    "difficulty backwards": (
        with_("test: 40", "test: 40, difficulty: [9, 1]"),
        "the lower bound 9 is above the upper bound 1; swap them",
    ),
    "large difficulty": (
        with_("test: 40", "test: 40, difficulty: [0, 1e300]"),
        "less than or equal",
    ),
    "many generated rows": (
        SWEEP.replace(
            "birds, path: d.csv, columns: {text: text, label: label}", "embedded"
        ).replace("train: 80", "train: 900000"),
        "task embedded: it needs 900,060 rows, and at most 200,000 can be generated",
    ),
    "a wide architecture": (
        with_(
            "label: xs",
            "label: xs, pretrain: {architecture: {width: 1000000, layers: 1, heads: 2}, corpus: "
            "{name: texts, path: x, train: 8, validation: 2, test: 2}}",
        ),
        "width: Input should be less than or equal to 100000",
    ),
    "chess with the confidence loss": (
        SWEEP.replace(
            "birds, path: d.csv, columns: {text: text, label: label}",
            "chess_puzzles, path: nowhere",
        ),
        "methods.other: loss confidence needs two classes, but task chess_puzzles has answers",
    ),
    "full finetuning in 4 bits": (
        training("batch_size: 16, tuning: {kind: full, base: nf4}"),
        "training.tuning.base: unknown key 'base'; known: kind",
    ),
    "the last layers in 4 bits": (
        training("batch_size: 16, tuning: {kind: last_layers, base: nf4}"),
        "training.tuning.base: unknown key 'base'; known: kind, layers",
    ),
    "an unknown base": (
        training("batch_size: 16, tuning: {kind: lora, base: int8}"),
        "training.tuning.base: write 'nf4' (got 'int8')",
    ),
    "a base in 4 bits with DeepSpeed": (
        training("batch_size: 16, tuning: {kind: probe, base: nf4}").replace(
            "engine: torch", "engine: deepspeed"
        ),
        "training.tuning.base is nf4, which the DeepSpeed engine doesn't support",
    ),
    "a searched base in 4 bits with DeepSpeed": (
        training("batch_size: 16, tuning: {kind: lora}")
        .replace("engine: torch", "engine: deepspeed")
        .replace("search: {}", "search: {training.tuning.base: {choice: [null, nf4]}}"),
        "methods.other: training.tuning.base is nf4, which the DeepSpeed engine doesn't support",
    ),
    "controls of a task with answers": (
        SWEEP.replace(
            "birds, path: d.csv, columns: {text: text, label: label}",
            "chess_puzzles, path: nowhere",
        )
        + "controls: true\n",
        "controls need classes, but task chess_puzzles has answers of many tokens; remove",
    ),
    "a sealed test of a task with answers": (
        SWEEP.replace(
            "birds, path: d.csv, columns: {text: text, label: label}",
            "chess_puzzles, path: nowhere",
        )
        + "seal: true\n",
        "seal needs two classes, but task chess_puzzles has answers of many tokens; remove seal",
    ),
    "a method with a control's name": (
        SWEEP.replace("  other:", '  "control: mine":') + "controls: true\n",
        "names that begin with 'control: ' are those of controls; rename it, or remove controls",
    ),
    "a price of nothing": (
        SWEEP + "controls: {truth_price: 0}\n",
        "controls.truth_price: Input should be greater than or equal to 1",
    ),
    "controls in words": (SWEEP + "controls: some\n", "controls"),
    "two kinds of labels": (
        SWEEP.replace("stages: []", "stages: [{kind: truth}, {kind: hard}]"),
        "stages has truth and 1 more, and truth uses no weak labels; keep it alone",
    ),
    "layers without supervisors": (
        stage("{kind: cosupervised, layers: [1, 2, 4]}, {kind: ensemble, seeds: [7, 8]}"),
        "layers is [1, 2, 4] and needs 7 supervisors, but there are 3, the pair's own and those of "
        "ensemble; change layers or ensemble",
    ),
    "layers that begin with two": (
        stage("{kind: cosupervised, layers: [2, 2]}, {kind: ensemble, seeds: [7, 8, 9]}"),
        "layers is [2, 2], and the first layer is the pair's own supervisor; begin with 1",
    ),
    "the pair's own supervisor in a layer": (
        stage("{kind: cosupervised}, {kind: ensemble, supervisors: [xs], seeds: [7]}"),
        "methods.other.stages: the layers of cosupervised need 3 supervisors, and pair [xs, s] has "
        "2 with seed 0, because ensemble repeats one, or the pair's own; name another",
    ),
    "boosting of an ensemble": (
        stage("{kind: ensemble, seeds: [7]}, {kind: boosting}"),
        "stages has ensemble and boosting, and each chooses the supervisors; keep one",
    ),
    "no rounds of boosting": (stage("{kind: boosting, rounds: 0}"), "equal to 1 (got 0)"),
    "a certainty that can't be": (stage("{kind: two_stage, above: 1}"), "less than 1 (got 1)"),
    "two series of students": (
        stage("{kind: two_stage}, {kind: iterate}"),
        "stages has iterate and two_stage, and each is a series of students; keep one",
    ),
    "true rows and a probe": (
        stage("{kind: true_rows}, {kind: linear_probe}"),
        "stages has linear_probe and true_rows, and each replaces the reported student; keep one",
    ),
    "boosting of answers": (
        SWEEP.replace(
            "birds, path: d.csv, columns: {text: text, label: label}",
            "chess_puzzles, path: nowhere",
        ).replace("stages: []", "stages: [{kind: boosting}]"),
        "methods.other.stages has boosting, which averages probabilities, but task chess_puzzles",
    ),
    "running text as a task": (
        SWEEP.replace(
            "path: d.csv, columns: {text: text, label: label}", "path: no, columns: {text: t}"
        ),
        "task birds is running text",
    ),
}
CASES = {**YAML, **TYPES, **VALUES}


def refused(file: str, *options: str) -> str:
    """The line that `w2s plan` prints."""
    run = CliRunner().invoke(app, ["plan", file, *options])
    assert run.exit_code == 2, run.output
    assert "Traceback" not in run.output
    assert "Aborted" not in run.output
    lines = run.output.splitlines()
    assert len(lines) == 1, run.output
    assert lines[0].startswith("error: ")
    assert len(lines[0]) <= LONGEST_LINE + len("error: ")
    return lines[0]


@pytest.mark.parametrize(("content", "line"), CASES.values(), ids=CASES)
def test_a_malformed_sweep_gives_its_line(content, line, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    assert line in refused("s.yaml")


def test_the_table_has_at_least_100_cases():
    assert len(CASES) >= 100


def test_a_path_that_is_not_a_file_gives_its_line(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    os.mkfifo("pipe")
    assert "folder is a folder; give the path of the sweep file" in refused("folder")
    assert "pipe is not a regular file; give the path of the sweep file" in refused("pipe")
    assert "no sweep file at nowhere.yaml; give the path of a YAML file" in refused("nowhere.yaml")
    assert "no sweep file at s/t.yaml" in refused("s/t.yaml")
    assert "can't be read: File name too long; give the path of" in refused(LONG)
    assert "/dev/zero is not a regular file" in refused("/dev/zero")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_that_cant_be_read_gives_its_line(tmp_path: Path):
    file = tmp_path / "s.yaml"
    file.touch(mode=0)
    assert "can't be read: Permission denied" in refused(str(file))


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_bytes(b"\xef\xbb\xbf" + SWEEP.replace("\n", "\r\n").encode())
    run = CliRunner().invoke(app, ["plan", "s.yaml"])
    assert run.exit_code == 0
    assert "task birds (no such file or folder: d.csv" in run.output


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--price-per-hour", "-1", "--currency", "USD"), "--price-per-hour is -1; give the price"),
        (("--price-per-hour", "nan", "--currency", "USD"), "--price-per-hour is nan; give"),
        (("--price-per-hour", "inf", "--currency", "USD"), "--price-per-hour is inf; give"),
        (("--price-per-hour", "2"), "--price-per-hour is 2 without a currency; add --currency"),
        (("--currency", "USD"), "--currency is 'USD' without a price; add --price-per-hour"),
        (("--price-per-hour", "2", "--currency", "$"), "give its name in letters"),
        (("--price-per-hour", "2", "--currency", "USD"), "add --accelerator NAME"),
    ],
)
def test_an_invalid_price_is_refused(options, line, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text(SWEEP)
    assert line in refused("s.yaml", *options)


def test_files_of_accelerators_and_clusters_are_read_alike(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text(
        SWEEP.replace("birds, path: d.csv, columns: {text: text, label: label}", "embedded")
    )
    for content, line in (
        (b"{{ devices }}", "an unrendered template; render it first"),
        (b"[" * 5000, "nested more than 40 deep"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"a: \0", "is not allowed; remove it"),
        (b"a: !!int abc", "'abc' is not an integer"),
    ):
        Path("f.yaml").write_bytes(content)
        assert line in refused("s.yaml", "--accelerator", "L4", "--accelerators", "f.yaml")
        assert line in refused("s.yaml", "--cluster", "f.yaml")
    for content in (
        b"available_node_types: {h: {resources: {CPU: many}}}\nhead_node_type: h",
        b"kind: RayCluster\nspec: {headGroupSpec: {template: {spec: {containers: []}}}}",
        b"kind: RayCluster\nspec: 3",
        b"provider: {type: local, worker_ips: []}\nhead_start_ray_commands: []",
    ):
        Path("f.yaml").write_bytes(content)
        assert "cluster file f.yaml: missing or invalid" in refused("s.yaml", "--cluster", "f.yaml")
    Path("f.yaml").write_text("#!/bin/bash\n#SBATCH --cpus-per-task=many\n")
    assert "cluster file f.yaml: missing or invalid" in refused("s.yaml", "--cluster", "f.yaml")


def test_many_problems_are_as_many_lines_up_to_a_bound():
    with pytest.raises(InputError) as raised:
        parse_sweep(with_("[0]", f"[{', '.join(['a'] * 5000)}]"))
    lines = str(raised.value).splitlines()
    assert len(lines) == MOST_LINES
    assert lines[-1] == f"... and {5000 - MOST_LINES + 1} more problems"


def is_sweep_or_line(text: str) -> None:
    """Assert that `text` is a valid sweep, or gives lines of bounded length."""
    try:
        assert isinstance(parse_sweep(text), Sweep)
    except InputError as error:
        lines = str(error).splitlines()
        assert 1 <= len(lines) <= MOST_LINES
        assert all(0 < len(line) <= LONGEST_LINE for line in lines)


PIECES = st.sampled_from(
    [
        *"[]{}:,-?&*!|>'\"%@`#\n\t \\~.<",
        "- ",
        ": ",
        "a",
        "1",
        "&a ",
        "*a",
        "<<: ",
        "!!int ",
        "---\n",
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=200), st.lists(PIECES, max_size=40).map("".join)))
def test_any_text_is_a_sweep_or_gives_lines(text: str):
    is_sweep_or_line(text)
    is_sweep_or_line(SWEEP + text)


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=-3, max_value=3),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["auto", "xs", "kind", "one_of", "choice", "hard", "confidence", "xs@3"]),
)
KEYS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["kind", "one_of", "choice", "integer", "name", "label", "training", "task"]),
)
VALUES_OF_ANY_KIND = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=6,
)


def test_the_sweep_for_the_mutations_is_valid():
    assert parse_sweep(RICH).cells()


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value inside a value."""
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield (*path, key)
            yield from places(value[key], (*path, key))


RICH = """\
name: rich
tasks:
  - {name: birds, path: d.csv, columns: {first: a, second: b, preferred: c, positive: 1},
     train: 80, validation: 20, test: 40, difficulty: {train: [1, 2], test: [3, null]}}
models:
  - {ladder: pythia, from: 14m, to: 160m, tuning: lora, training: {epochs: 3}}
  - {name: ./m, label: m, execution: {retries: 1}, pretrain: {checkpoints: [4],
     architecture: {width: 8, layers: 1, heads: 2},
     corpus: {name: texts, path: x, train: 8, validation: 2, test: 2}}}
  - {name: m4, checkpoint: m@4}
pairs: [[pythia-14m, m], [m, m4]]
methods:
  one:
    loss: {kind: window, radius: median_weak}
    stages: [{kind: ensemble, seeds: [3]}, {kind: filter, by: {kind: topofilter}}]
    search:
      loss: {one_of: [{kind: xent}, {kind: confidence, alpha: {uniform: [0, 0.9]}}]}
      training.betas: {choice: [[0.9, 0.99], [0.8, 0.9]]}
      stages.filter.share: {loguniform: [0.1, 0.5]}
      training.epochs: {integer: [1, 3]}
  two: {stages: [{kind: prompt, words: [a, b]}], training: {tuning: {kind: lp_ft}}}
search: {on: [{task: birds, pair: [pythia-14m, m]}], sampler: gp, cost: true}
execution: {gpus_per_worker: auto, accelerator_type: L4}
trackers: [tensorboard, {mlflow: {experiment: e}}]
"""
PLACES = sorted(places(yaml.safe_load(RICH)), key=str)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(PLACES), KEYS, VALUES_OF_ANY_KIND), min_size=1, max_size=2)
)
def test_any_value_in_any_place_is_a_sweep_or_gives_lines(changes):
    data = yaml.safe_load(RICH)
    for path, key, value in changes:
        at = data
        with contextlib.suppress(LookupError, TypeError):  # an earlier change removed this path
            for part in path[:-1]:
                at = at[part]
            at[path[-1]] = value
            if isinstance(at, dict):
                at.setdefault(key, value)
    is_sweep_or_line(yaml.safe_dump(data, allow_unicode=False))


def declared_models(model: type[BaseModel], seen: set[type[BaseModel]]) -> None:
    """Add `model` and the models of all its fields to `seen`."""
    if model in seen:
        return
    seen.add(model)
    for field in model.model_fields.values():
        for part in types_in(field.annotation):
            if isinstance(part, type) and issubclass(part, BaseModel):
                declared_models(part, seen)


def types_in(annotation: Any) -> Iterator[Any]:
    yield annotation
    for part in typing.get_args(annotation):
        yield from types_in(part)


def unbounded(annotation: Any, metadata: list[Any]) -> bool:
    """Whether a number or text in `annotation` has no upper bound."""
    if typing.get_origin(annotation) is typing.Literal:
        return False
    if typing.get_origin(annotation) is typing.Annotated:
        inner, *more = typing.get_args(annotation)
        return unbounded(inner, [*metadata, *flat(more)])
    parts = typing.get_args(annotation)
    if annotation == dict[str, Any]:
        return False  # settings of another model, whose fields are checked there
    if parts:
        is_union = typing.get_origin(annotation) not in (tuple, dict, list)
        return any(unbounded(part, metadata if is_union else []) for part in parts)
    names = {name for one in metadata for name in dir(one)}
    checked = {getattr(getattr(one, "func", None), "__name__", "") for one in metadata}
    if annotation in (int, float):
        return not names & {"le", "lt"}
    return annotation is str and "max_length" not in names and not checked & CHECKED


CHECKED = {"checked_path", "checked_folder_or_uri"}
"""Validators that bound the length of a text."""


def flat(metadata: list[Any]) -> list[Any]:
    return [
        part for one in metadata for part in (one.metadata if isinstance(one, FieldInfo) else [one])
    ]


def test_every_number_and_text_of_a_sweep_file_has_bounds():
    seen: set[type[BaseModel]] = set()
    declared_models(Sweep, seen)
    assert len(seen) > 30
    open_ended = [
        f"{model.__name__}.{name}"
        for model in seen
        for name, field in model.model_fields.items()
        if unbounded(field.annotation, field.metadata)
    ]
    assert open_ended == []
