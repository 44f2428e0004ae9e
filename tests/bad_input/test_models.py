"""Malformed model folders: each is one line and exit code 2 at plan, or an error line at load."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.support import make_task
from w2s_ray.ladder import folder as embedded

BASE = embedded("m")
"""GPT-2-shaped: 2 layers, width 16, 2,090 tokens, the head tied to the embedding."""
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"

Change = Callable[[Path], object]


def header_of(path: Path) -> tuple[dict[str, Any], bytes]:
    """The header of a safetensors file, and the values after it."""
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    return json.loads(data[8:end]), data[end:]


def with_header(change: Callable[[dict[str, Any]], object]) -> Change:
    """Another header over the same values."""

    def changed(folder: Path) -> None:
        header, values = header_of(folder / WEIGHTS)
        change(header)
        encoded = json.dumps(header).encode()
        (folder / WEIGHTS).write_bytes(len(encoded).to_bytes(8, "little") + encoded + values)

    return changed


def with_tensors(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Change:
    """Other tensors in a sound file."""

    def changed(folder: Path) -> None:
        from safetensors.numpy import load_file, save_file

        save_file(change(load_file(folder / WEIGHTS)), folder / WEIGHTS, {"format": "pt"})

    return changed


def config(**changed: Any) -> Change:
    """Other settings in config.json; None removes one."""

    def change(folder: Path) -> None:
        made = {**json.loads((BASE / "config.json").read_text()), **changed}
        kept = {key: value for key, value in made.items() if value is not None}
        (folder / "config.json").write_text(json.dumps(kept))

    return change


def text(name: str, content: str | bytes) -> Change:
    def change(folder: Path) -> None:
        data = content.encode() if isinstance(content, str) else content
        (folder / name).write_bytes(data)

    return change


def cut(name: str, keep: float) -> Change:
    def change(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(len(data) * keep)])

    return change


def without(*names: str) -> Change:
    return lambda folder: [path.unlink() for name in names for path in folder.glob(name)]


def indexed(place: Callable[[str], str], *, files: Sequence[str] = ("part.safetensors",)) -> Change:
    """The weights under other names, with an index that places each tensor by `place`."""

    def change(folder: Path) -> None:
        header, _ = header_of(folder / WEIGHTS)
        for name in files:
            shutil.copy(folder / WEIGHTS, folder / name)
        (folder / WEIGHTS).unlink()
        places = {name: place(name) for name in header if name != "__metadata__"}
        (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": places}))

    return change


def added_token(token: int) -> Change:
    def change(folder: Path) -> None:
        content = json.loads((folder / "tokenizer.json").read_text())
        one = {"content": "[more]", "single_word": False, "lstrip": False, "rstrip": False}
        flags = {"normalized": False, "special": True}
        content["added_tokens"].append({"id": token, **one, **flags})
        (folder / "tokenizer.json").write_text(json.dumps(content))

    return change


def with_value(tensor: str, value: str) -> Change:
    """One other value, the last of a tensor."""

    def change(tensors: dict[str, Any]) -> dict[str, Any]:
        tensors[tensor].reshape(-1)[-1] = float(value)
        return tensors

    return with_tensors(change)


def half(tensors: dict[str, Any]) -> dict[str, Any]:
    return {name: value for i, (name, value) in enumerate(sorted(tensors.items())) if i % 2}


def both(*changes: Change) -> Change:
    return lambda folder: [change(folder) for change in changes]


BERT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
BERT |= {"intermediate_size": 64, "max_position_embeddings": 32}
FIRST = "transformer.h.0.attn.c_attn.weight"

AT_PLAN: dict[str, tuple[Change, str]] = {
    # config.json
    "no config": (without("config.json"), "has no config.json"),
    "config empty": (text("config.json", ""), "config.json is not JSON, line 1"),
    "config cut": (cut("config.json", 0.5), "config.json is not JSON, line"),
    "config binary": (text("config.json", b"\xff\xfe\x00"), "config.json is not JSON"),
    "config a list": (text("config.json", "[]"), "config.json is a JSON list, not an object"),
    "config a text": (text("config.json", '"gpt2"'), "config.json is a JSON text"),
    "config null": (text("config.json", "null"), "config.json is a JSON null"),
    "config nested": (text("config.json", "[" * 20_000), "config.json is not JSON"),
    "config a folder": (
        both(without("config.json"), lambda f: (f / "config.json").mkdir()),
        "has no config.json",
    ),
    "no type": (config(model_type=None), "has no model_type"),
    "type a number": (config(model_type=7), "has no model_type"),
    "unknown type": (config(model_type="gpt9"), "transformers has no model_type 'gpt9'"),
    "width 0": (config(n_embd=0), "n_embd is 0; give a whole number above 0"),
    "width a text": (config(n_embd="16"), "n_embd is '16'; give a whole number"),
    "width half": (config(n_embd=16.5), "n_embd is 16.5"),
    "layers negative": (config(n_layer=-2), "n_layer is -2"),
    "layers true": (config(n_layer=True), "n_layer is True"),
    "vocabulary 0": (config(vocab_size=0), "vocab_size is 0"),
    "positions 0": (config(n_positions=0), "n_positions is 0"),
    "a million layers": (config(n_layer=10**6), "1,000,000 layers; at most 10,000 can be built"),
    "heads 0": (config(n_head=0), "n_head is 0"),
    "heads 3": (config(n_head=3), "the width 16 is not divisible by 3 heads"),
    "t5": (config(model_type="t5", is_encoder_decoder=True), "is an encoder-decoder"),
    "bart": (config(model_type="bart", is_encoder_decoder=True), "is an encoder-decoder"),
    "xlnet": (config(model_type="xlnet"), "has bidirectional attention"),
    "embedding gemma": (
        config(model_type="gemma3_text", use_bidirectional_attention=True),
        "has bidirectional attention",
    ),
    # weights and config.json
    "half of the tensors": (with_tensors(half), "of 28 tensors are missing: h.0."),
    "one tensor less": (
        with_tensors(lambda t: {k: v for k, v in t.items() if k != FIRST}),
        "1 of 28 tensors are missing: h.0.attn.c_attn.weight",
    ),
    "a norm less": (
        with_tensors(lambda t: {k: v for k, v in t.items() if not k.endswith("ln_f.weight")}),
        "1 of 28 tensors are missing: ln_f.weight",
    ),
    "no embedding": (
        with_tensors(lambda t: {k: v for k, v in t.items() if "wte" not in k}),
        "1 of 28 tensors are missing: wte.weight",
    ),
    "more layers": (config(n_layer=5), "layers in config.json: 5, in the weights: 2;"),
    "fewer layers": (config(n_layer=1), "layers in config.json: 1, in the weights: 2;"),
    "a layer left out": (
        with_tensors(lambda t: {k: v for k, v in t.items() if ".h.0." not in k}),
        "layers in config.json: 2, in the weights: 1 (numbers 1",
    ),
    "another width": (config(n_embd=32), "28 tensors have another shape"),
    "another vocabulary": (config(vocab_size=3000), "wte.weight is 2090 x 16 and should be 3000"),
    "another mlp": (config(n_inner=32), "h.0.mlp.c_fc.weight is 16 x 64 and should be 16 x 32"),
    "bert over gpt2": (
        config(model_type="bert", **BERT),
        "don't fit its config.json (bert): no tensor belongs to a layer of bert",
    ),
    "llama over gpt2": (
        config(model_type="llama", **BERT),
        "no tensor belongs to a layer of llama",
    ),
    "foreign prefixes": (
        with_tensors(lambda t: {f"foo.{k}": v for k, v in t.items()}),
        "no tensor belongs to a layer of gpt2; it has foo.transformer.",
    ),
    "no tensors": (with_tensors(lambda t: {}), "model.safetensors has no tensors"),
    # the files of weights
    "weights empty": (
        text(WEIGHTS, ""),
        "truncated or damaged (it ends within the header, after 0 bytes)",
    ),
    "weights cut": (cut(WEIGHTS, 0.5), "truncated or damaged (it has"),
    "header cut": (cut(WEIGHTS, 0.005), "it ends within the header"),
    "weights longer": (
        lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes() + b"\0" * 9),
        "truncated or damaged (it has",
    ),
    "weights are HTML": (text(WEIGHTS, "<!doctype html>" * 30), "it ends within the header"),
    "weights of LFS": (
        text(WEIGHTS, "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
        "is a Git LFS pointer; download the file with `git lfs pull`",
    ),
    "header not JSON": (
        text(WEIGHTS, (8).to_bytes(8, "little") + b"notjson!"),
        "its header is not JSON",
    ),
    "header a list": (text(WEIGHTS, (2).to_bytes(8, "little") + b"[]"), "is not a JSON object"),
    "tensor without offsets": (
        with_header(lambda h: h[FIRST].pop("data_offsets")),
        f"its header has an invalid entry for tensor {FIRST}",
    ),
    "tensor of negative size": (
        with_header(lambda h: h[FIRST].update(shape=[-1, 48])),
        f"its header has an invalid entry for tensor {FIRST}",
    ),
    "tensor with fewer bytes": (
        with_header(lambda h: h[FIRST].update(shape=[16, 4800])),
        f"the bytes of tensor {FIRST} don't match its shape",
    ),
    "no weights": (without(WEIGHTS), "has no *.safetensors weights"),
    "pickled weights": (
        both(without(WEIGHTS), text("pytorch_model.bin", "pickle")),
        "are pickles, which are never loaded",
    ),
    "weights by another name": (
        lambda f: (f / WEIGHTS).rename(f / "other.safetensors"),
        "has other.safetensors, but neither model.safetensors nor model.safetensors.index.json",
    ),
    # values
    "a value NaN": (
        with_value(FIRST, "nan"),
        f"tensor {FIRST} has NaN or infinite values in ",
    ),
    "a value infinite": (
        with_value("transformer.wte.weight", "-inf"),
        "tensor transformer.wte.weight has NaN or infinite values in ",
    ),
    "all values NaN": (
        with_tensors(lambda t: {name: value * float("nan") for name, value in t.items()}),
        " and 27 others have NaN or infinite values in ",
    ),
    "a value NaN in an indexed file": (
        both(with_value(FIRST, "nan"), indexed(lambda n: "part.safetensors")),
        "part.safetensors; the file is damaged or its training diverged: download or save it again",
    ),
    # an index
    "index outside": (
        indexed(lambda n: "../part.safetensors"),
        "in '../part.safetensors', which is not a file name of this folder",
    ),
    "index absolute": (
        indexed(lambda n: "/etc/passwd"),
        "in '/etc/passwd', which is not a file name",
    ),
    "index without a file": (
        indexed(lambda n: "part.safetensors" if "h.0" in n else "gone.safetensors"),
        "lists gone.safetensors, which doesn't exist",
    ),
    "index of another tensor": (
        both(
            indexed(lambda n: "part.safetensors"),
            text(INDEX, '{"weight_map": {"x": "part.safetensors"}}'),
        ),
        "has tensor x in part.safetensors, which doesn't contain it",
    ),
    "index not JSON": (
        both(indexed(lambda n: "part.safetensors"), text(INDEX, "{")),
        "index.json is not JSON",
    ),
    "index without a map": (
        both(indexed(lambda n: "part.safetensors"), text(INDEX, "{}")),
        "has no weight_map",
    ),
    "index of half": (
        both(
            with_tensors(half),
            indexed(lambda n: "part.safetensors"),
        ),
        "of 28 tensors are missing",
    ),
    "indexed file cut": (
        both(indexed(lambda n: "part.safetensors"), cut("part.safetensors", 0.9)),
        "part.safetensors is truncated or damaged",
    ),
    # an adapter
    "an adapter alone": (
        both(
            without("config.json"),
            lambda f: (f / WEIGHTS).rename(f / "adapter_model.safetensors"),
            text("adapter_config.json", '{"base_model_name_or_path": "org/base"}'),
        ),
        "holds an adapter (adapter_config.json) of org/base; merge it into its base",
    ),
    "an adapter beside a model": (
        text("adapter_config.json", '{"base_model_name_or_path": null}'),
        "holds an adapter (adapter_config.json) of its base; merge it",
    ),
    "a broken adapter": (text("adapter_config.json", "{"), "adapter_config.json is not JSON"),
    # the tokenizer
    "no tokenizer": (without("tokenizer*"), "has no tokenizer files; copy those of its base"),
    "tokenizer not JSON": (cut("tokenizer.json", 0.7), "tokenizer.json is not JSON"),
    "tokenizer empty": (text("tokenizer.json", ""), "tokenizer.json is not JSON, line 1"),
    "tokenizer a list": (text("tokenizer.json", "[]"), "tokenizer.json is a JSON list"),
    "tokenizer without a model": (
        text("tokenizer.json", "{}"),
        "tokenizer.json is not a tokenizer of the tokenizers library",
    ),
    "tokenizer without tokens": (
        text("tokenizer.json", '{"model": {"type": "BPE", "vocab": {}, "merges": []}}'),
        "is not a tokenizer of the tokenizers library",
    ),
    "tokenizer of texts": (
        text("tokenizer.json", '{"model": {"type": "BPE", "vocab": {"a": "0"}}}'),
        "is not a tokenizer of the tokenizers library",
    ),
    "one token too many": (
        added_token(2090),
        "has 2,091 tokens, but the embedding has 2,090 rows; resize the embedding",
    ),
    "a token far off": (added_token(10**6), "has 1,000,001 tokens"),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with data; its notes are those of this module."""
    folder = tmp_path_factory.mktemp("bad_models")
    make_task(folder / "task.csv", rows=200)
    return folder


@pytest.fixture(autouse=True)
def _notes(place, monkeypatch):
    monkeypatch.setenv("W2S_CACHE", str(place / "cache"))


def planned(place: Path, model: object, *, training: str = "{}", extra: str = "") -> Any:
    """What `w2s plan` makes of a sweep over a small embedded model and `model`."""
    from w2s_ray.cli import app

    sweep = place / "sweep.yaml"
    sweep.write_text(
        f"""
name: t
task:
  {{name: words, path: {place}/task.csv, columns: {{text: text, label: label}},
   train: 80, validation: 20, test: 20}}
models: [{{name: "embedded:xs", label: weak}}, {{name: "{model}", label: strong}}]
seeds: [0]
training: {training}
methods: {{naive: {{}}}}
store: {place}/results
{extra}
"""
    )
    return CliRunner().invoke(app, ["plan", str(sweep)])


def refused(result: Any) -> str:
    """The one line of a plan that was refused."""
    assert result.exit_code == 2, result.output
    (line,) = result.output.splitlines()
    assert line.startswith("error: ")
    assert len(line) < 500
    assert "Traceback" not in line
    assert "Aborted" not in line
    return line


def changed(tmp_path: Path, change: Change) -> Path:
    """A copy of the base model with `change` made to it."""
    folder = tmp_path / "model"
    shutil.copytree(BASE, folder)
    change(folder)
    return folder


@pytest.mark.parametrize("case", AT_PLAN)
def test_a_malformed_folder_is_refused_at_plan(case, place, tmp_path):
    change, line = AT_PLAN[case]
    found = refused(planned(place, changed(tmp_path, change)))
    assert found.startswith("error: models.strong: ")
    assert line in found


def test_sound_folders_are_planned(place, tmp_path):
    """As they are; without a prefix, in two files, with another head: what transformers reads."""

    def other_head(tensors: dict[str, Any]) -> dict[str, Any]:
        import numpy as np

        return {**tensors, "score.weight": np.zeros((2, 16), np.float32)}

    def short(tensors: dict[str, Any]) -> dict[str, Any]:
        return {name.removeprefix("transformer."): value for name, value in tensors.items()}

    names = ("part-1.safetensors", "part-2.safetensors")
    changes = (
        lambda folder: None,
        with_tensors(short),
        with_tensors(other_head),
        indexed(lambda n: names["h.1" in n], files=names),
    )
    for number, change in enumerate(changes):
        folder = changed(tmp_path / str(number), change)
        assert planned(place, folder).exit_code == 0


TUNINGS = {
    "targets: [c_attn, c_attn2]": "'c_attn2' matches no module of weak; choose from [c_attn",
    "targets: [q_proj]": "'q_proj' matches no module of weak",
    "targets: [all-linear]": "'all-linear' matches no module of weak",
    "targets: [ln_1]": "'ln_1' matches no module of weak",
}


@pytest.mark.parametrize("targets", TUNINGS)
def test_every_target_of_adapters_matches_a_module(targets, place):
    line = refused(planned(place, BASE, training=f"{{tuning: {{kind: lora, {targets}}}}}"))
    assert "training.tuning.targets: " in line
    assert TUNINGS[targets] in line


def test_targets_that_match_are_planned(place):
    for targets in ("[c_attn, c_proj]", "[wte]", "[h.0.attn.c_attn]"):
        training = f"{{tuning: {{kind: lora, targets: {targets}}}}}"
        assert planned(place, BASE, training=training).exit_code == 0, targets


def test_adapters_without_targets_need_a_default_of_peft(place, tmp_path):
    from transformers import Olmo2Config, Olmo2Model

    folder = changed(tmp_path, without("config.json", WEIGHTS))
    shape = {**BERT, "vocab_size": 2090, "pad_token_id": 0}
    Olmo2Model(Olmo2Config(**shape)).save_pretrained(folder)
    assert planned(place, folder).exit_code == 0
    line = refused(planned(place, folder, training="{tuning: {kind: lora}}"))
    assert "training.tuning.targets is null, and peft has no default for strong (olmo2)" in line
    assert "name modules of [embed_tokens, down_proj, gate_proj, " in line


def test_more_layers_than_there_are(place):
    training = "{tuning: {kind: last_layers, layers: 1000}}"
    line = refused(planned(place, BASE, training=training))
    assert "training.tuning.layers is 1000, but weak has 1 layers; lower it" in line
    assert planned(place, BASE, training=training.replace("1000", "1")).exit_code == 0


def test_settings_in_a_search_are_checked(place):
    extra = """methods:
  naive: {search: {training.tuning: {one_of: [{kind: full}, {kind: last_layers, layers: 9}]}}}
"""
    sweep = planned(place, BASE)
    assert sweep.exit_code == 0
    path = place / "sweep.yaml"
    path.write_text(path.read_text().replace("methods: {naive: {}}\n", extra))
    from w2s_ray.cli import app

    line = refused(CliRunner().invoke(app, ["plan", str(path)]))
    assert "training.tuning.layers is 9, but strong has 2 layers" in line


def planned_answers(place: Path, answers: list[str], *, model: object, most: int = 4) -> Any:
    """What `w2s plan` makes of a task of prompts with `answers`."""
    from w2s_ray.cli import app

    rows = [{"text": f"w1 w{i % 60} {i}", "answer": a} for i, a in enumerate(answers)]
    (place / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    sweep = place / "answers.yaml"
    sweep.write_text(
        f"""
name: t
task:
  {{name: ask, path: {place}/answers.jsonl, columns: {{text: text, answer: answer}},
   train: 80, validation: 20, test: 20}}
models: [{{name: "embedded:xs", label: weak}}, {{name: "{model}", label: strong}}]
training: {{answer_tokens: {most}, max_tokens: 24}}
methods: {{naive: {{}}}}
store: {place}/results
"""
    )
    return CliRunner().invoke(app, ["plan", str(sweep)])


def test_answers_over_the_completion_limit_are_counted_at_plan(place):
    """A word-level tokenizer: one token a word, one for the end."""
    short = ["w1 w2"] * 195
    assert planned_answers(place, [*short, *["w1 w2 w3"] * 5], model=BASE).exit_code == 0
    many = [*short[:100], *["w1 w2 w3 w4"] * 60, *["w1 w2 w3 w4 w5 w6"] * 40]
    line = refused(planned_answers(place, many, model=BASE))
    assert "training.answer_tokens is 4, but " in line
    assert " of 120 answers are longer for weak (the longest has 7 tokens" in line
    assert planned_answers(place, many, model=BASE, most=7).exit_code == 0


def test_an_answer_of_spaces_alone_is_refused(place):
    line = refused(planned_answers(place, ["w1"] * 3 + ["  "] + ["w2"] * 196, model=BASE))
    assert "row 4: column 'answer' has only white space" in line


def test_a_model_without_a_language_model_head_is_refused_for_generation(place, tmp_path):
    """A classification export: its head is dropped for classes, and missing for answers."""
    folder = changed(tmp_path, config(tie_word_embeddings=False))
    assert planned(place, folder).exit_code == 0
    line = refused(planned_answers(place, ["w1"] * 200, model=folder))
    assert "strong: its files have no language model's head (lm_head.weight)" in line


def test_an_adapter_of_a_tied_embedding_is_refused_where_the_head_is_used(place):
    assert planned_answers(place, ["w1"] * 200, model=BASE).exit_code == 0
    path = place / "answers.yaml"
    adapted = "training: {tuning: {kind: lora, targets: [c_attn, wte]}, "
    path.write_text(path.read_text().replace("training: {", adapted))
    from w2s_ray.cli import app

    line = refused(CliRunner().invoke(app, ["plan", str(path)]))
    assert "wte of weak is both the embedding and the language model's head" in line


def test_an_encoder_is_refused_where_a_language_model_is_needed(place, tmp_path):
    """Before compute: classes and pairs are read at its first token, answers need its logits."""
    from transformers import BertConfig, BertModel

    folder = changed(tmp_path, without("config.json", WEIGHTS))
    shape = {**BERT, "vocab_size": 2090, "pad_token_id": 0}
    BertModel(BertConfig(**shape)).save_pretrained(folder)
    assert planned(place, folder).exit_code == 0
    line = refused(planned_answers(place, ["w1"] * 200, model=folder))
    assert "strong is an encoder (bert), and its task needs a causal language model" in line


def test_words_of_a_prompt_that_a_tokenizer_reads_alike_are_refused_at_plan(place):
    assert planned(place, BASE).exit_code == 0
    path = place / "sweep.yaml"

    def with_stage(stage: str) -> Any:
        from w2s_ray.cli import app

        prompted = f"methods: {{zero: {{stages: [{stage}]}}}}"
        path.write_text(path.read_text().replace("methods: {naive: {}}", prompted))
        return CliRunner().invoke(app, ["plan", str(path)])

    line = refused(with_stage("{kind: prompt}"))
    assert "the tokenizer of strong can't tell 'no' from 'yes'; choose other `words`" in line
    prompted = path.read_text()
    path.write_text(prompted.replace("{kind: prompt}", "{kind: prompt, words: [babe, nufi]}"))
    assert with_stage("").exit_code == 0
