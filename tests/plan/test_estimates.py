"""Estimates compared with torch's counts of FLOPs and bytes; choices of stages and devices."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from w2s_ray.config import (
    FORMS,
    Execution,
    FitRecipe,
    FullTuning,
    Labels,
    LoraTuning,
    ModelSource,
    Policy,
    ProbeTuning,
    Prompt,
    Training,
    XentLoss,
)
from w2s_ray.data.architecture import Architecture
from w2s_ray.data.descriptions import architecture_from_config, architecture_of
from w2s_ray.data.input_sizes import InputSizes
from w2s_ray.data.inputs import Inputs
from w2s_ray.data.lengths import Lengths, note_tokens, quantiles, token_lengths
from w2s_ray.ladder import MODELS, folder
from w2s_ray.learn.batches import layout_by_tokens
from w2s_ray.plan.estimates import (
    Estimator,
    estimate_fit,
    fits_on_device,
    gpu_fraction,
    memory,
    smallest_sharding,
)
from w2s_ray.plan.estimates.activations import Activations
from w2s_ray.plan.estimates.memory import RESERVE, Memory, all_parameters, fit_memory
from w2s_ray.plan.estimates.work import (
    Padded,
    backward_flops,
    forward_flops,
    padded,
    padded_by_tokens,
)

WIDTH, INNER, ROWS, TOKENS = 32, 80, 4, 20
SHARED = {"vocab_size": 99, "max_position_embeddings": 64}
HIDDEN = {"hidden_size": WIDTH, "num_attention_heads": 4, **SHARED}
MLP = {**HIDDEN, "intermediate_size": INNER}
GPT2 = {"n_embd": WIDTH, "n_head": 4, "vocab_size": 99, "n_positions": 64, "n_inner": INNER}
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("gpt2", GPT2),
    "gpt2 gelu": ("gpt2", {**GPT2, "activation_function": "gelu"}),
    "gpt_neox": ("gpt_neox", MLP),
    "gpt_neox in line": ("gpt_neox", {**MLP, "use_parallel_residual": False}),
    "llama": ("llama", {**MLP, "num_key_value_heads": 2, "head_dim": 8}),
    "mistral": ("mistral", {**MLP, "num_key_value_heads": 4, "head_dim": 8}),
    "qwen2": ("qwen2", {**MLP, "num_key_value_heads": 2}),
    "opt": ("opt", {**HIDDEN, "ffn_dim": INNER, "word_embed_proj_dim": 16}),
    "bert": ("bert", MLP),
    "roberta": ("roberta", MLP),
    "qwen3": ("qwen3", {**MLP, "num_key_value_heads": 2, "head_dim": 8}),
    "gemma": ("gemma", {**MLP, "num_key_value_heads": 1, "head_dim": 16}),
    "gemma2": ("gemma2", {**MLP, "num_key_value_heads": 2, "head_dim": 8}),
    "gemma3": ("gemma3_text", {**MLP, "num_key_value_heads": 2, "head_dim": 8}),
    "olmo": ("olmo", {**MLP, "num_key_value_heads": 4}),
    "olmo2": ("olmo2", {**MLP, "num_key_value_heads": 4}),
    "phi3": ("phi3", {**MLP, "num_key_value_heads": 2, "pad_token_id": 0}),
    "granite": ("granite", {**MLP, "num_key_value_heads": 2}),
    "starcoder2": ("starcoder2", {**MLP, "num_key_value_heads": 2}),
    "stablelm": ("stablelm", {**MLP, "num_key_value_heads": 2}),
    "smollm3": ("smollm3", {**MLP, "pad_token_id": 0, "num_key_value_heads": 2}),
    "glm4": ("glm4", {**MLP, "pad_token_id": 0, "num_key_value_heads": 2, "head_dim": 8}),
    "nemotron": ("nemotron", {**MLP, "num_key_value_heads": 2}),
    "modernbert": ("modernbert", {**MLP, "pad_token_id": 0}),
    "distilbert": ("distilbert", {"dim": WIDTH, "n_heads": 4, "hidden_dim": INNER, **SHARED}),
    "electra": ("electra", {**MLP, "embedding_size": WIDTH}),
}
LORA = LoraTuning(rank=4)


def tuned(tuning: Any, model: Architecture) -> Any:
    """`tuning`, with explicit targets if peft has no default for the family.

    Attention without a kernel computes only the gradients that are needed: all, in every layer, if
    queries, keys and values have adapters.
    """
    if tuning.kind != "lora" or (model.adapted is not None and not model.scores):
        return tuning
    if model.scores:
        return LoraTuning(rank=4, targets=tuple(m.name for m in model.of_attention))
    return LoraTuning(rank=4, targets=(model.of_attention[0].name,))


def config_of(name: str, layers: int = 3) -> Any:
    from transformers import AutoConfig

    from w2s_ray.learn import models

    family, settings = CONFIGS[name]
    depth = {"gpt2": "n_layer", "distilbert": "n_layers"}.get(family, "num_hidden_layers")
    tokens = {"bos_token_id": 1, "eos_token_id": 2}
    config = AutoConfig.for_model(family, **{**tokens, **settings, depth: layers})
    models._silence(config)
    return config


def shape(name: str, layers: int = 3) -> Architecture:
    return architecture(config_of(name, layers).to_dict())


def architecture(config: dict[str, Any]) -> Architecture:
    found = architecture_from_config(config)
    assert isinstance(found, Architecture), found
    return found


def built(name: str, *, tuning: Any, checkpointed: bool = False, layers: int = 3) -> Any:
    """The model that a fit would train, with random weights."""
    import torch
    from transformers import AutoModel

    from w2s_ray.learn import adapters, models
    from w2s_ray.learn.forms.classes import TwoClass

    config = config_of(name, layers)
    backbone = AutoModel.from_config(config)
    if getattr(backbone, "pooler", None) is not None:
        backbone.pooler = None
    if checkpointed:
        models._checkpoint_activations(backbone)
    if tuning.kind == "lora":
        backbone = adapters.with_adapters(backbone, tuning)
    model = TwoClass(backbone, width=shape(name).pooled, causal=shape(name).causal, pad_id=0)
    for module in model.modules():
        if isinstance(module, torch.nn.modules.dropout._DropoutNd):
            module.p = 0.0
    return model.train()


def batch() -> tuple[Any, Any]:
    import torch

    return torch.randint(3, 90, (ROWS, TOKENS)), torch.full((ROWS,), TOKENS)


def counted(compute: Any) -> int:
    from benchmarks.estimates import counter

    with counter() as counts:
        compute()
    return counts.get_total_flops()


@pytest.mark.parametrize("name", CONFIGS)
def test_parameters_follow_from_the_configuration(name):
    model = built(name, tuning=FullTuning())
    assert shape(name).parameters == sum(p.numel() for p in model.backbone.parameters())


@pytest.mark.parametrize("size", MODELS)
def test_parameters_of_the_ladder_match_its_weights(size):
    from safetensors import safe_open

    source = ModelSource(name=size, location=str(folder(size)), identity="sha256:x")
    model = architecture_of(source)
    assert isinstance(model, Architecture)
    with safe_open(folder(size) / "model.safetensors", "np") as file:
        weights = sum(file.get_tensor(name).size for name in file.keys())  # noqa: SIM118
    assert model.parameters == weights


@pytest.mark.parametrize("checkpointed", [False, True])
@pytest.mark.parametrize("tuning", [FullTuning(), LORA], ids=["full", "lora"])
@pytest.mark.parametrize("name", CONFIGS)
def test_flops_match_torchs_counter(name, tuning, checkpointed):
    tuning = tuned(tuning, shape(name))
    model, (ids, lengths) = built(name, tuning=tuning, checkpointed=checkpointed), batch()
    outputs: list[Any] = []
    forward = counted(lambda: outputs.append(model(ids, lengths)))
    backward = counted(lambda: outputs[0].square().sum().backward())
    rows = Padded(ROWS, ROWS * TOKENS, ROWS * TOKENS**2)
    assert forward_flops(shape(name), rows, tuning=tuning) == pytest.approx(forward, rel=1e-3)
    found = backward_flops(shape(name), rows, tuning=tuning, checkpointed=checkpointed)
    assert found == pytest.approx(backward, rel=1e-3)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("tuning", [FullTuning(), LORA], ids=["full", "lora"])
@pytest.mark.parametrize("name", CONFIGS)
def test_saved_activations_match_autograd(name, tuning, precision):
    tuning = tuned(tuning, shape(name))
    found = [saved_bytes(name, layers, tuning, precision) for layers in (2, 4)]
    a_layer = (found[1] - found[0]) / 2 / (ROWS * TOKENS)
    model = shape(name)
    training = Training(tuning=tuning, precision=precision)
    execution = Execution(gpus_per_worker=0)
    guess = Activations(model, training, execution, TOKENS, "classes")._saved_per_token
    if precision == "bf16":  # cast once for all rows
        guess += 2 * sum(m.weights for m in model.matrices) / (ROWS * TOKENS)
    assert guess == pytest.approx(a_layer, rel=0.06)


def test_scores_that_no_kernel_computes_need_memory_unless_another_attention_is_chosen():
    kept = {
        attention: Activations(
            shape("gemma2"), Training(), Execution(attention=attention), TOKENS, "classes"
        )._saved_per_token
        for attention in ("auto", "flex_attention")
    }
    assert kept["auto"] - kept["flex_attention"] >= 4.0 * shape("gemma2").heads * TOKENS


def saved_bytes(name: str, layers: int, tuning: Any, precision: str) -> int:
    import torch

    model, (ids, lengths) = built(name, tuning=tuning, layers=layers), batch()
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    half = torch.autocast("cpu", dtype=torch.bfloat16)
    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with hooks, half if precision == "bf16" else contextlib.nullcontext():
        logits = model(ids, lengths)
    assert logits.requires_grad
    return sum(kept.values())


@pytest.mark.parametrize("case", ["full", "confidence, micro-batches of 8"])
def test_the_flops_of_a_whole_fit_match_the_estimate(case):
    from benchmarks import estimates

    few = {"student_half": 128, "validation": 16, "test": 32}
    rows = estimates.rows_of("embedded:s", sizes=few)
    training, chosen, confidence = estimates.CASES[case]
    recipe = estimates.recipe_of(
        rows, {**training, "epochs": 1, "evaluations_per_epoch": 1}, confidence=confidence
    )
    execution = Execution(gpus_per_worker=0, **chosen)
    measured = estimates.measured_flops(rows, recipe, execution)
    exact = estimates.estimated(rows, recipe, execution, exact=True)
    guessed = estimates.estimated(rows, recipe, execution, exact=False)
    assert exact.flops.total == pytest.approx(measured, rel=0.03)
    assert guessed.flops.total == pytest.approx(measured, rel=0.03)
    assert exact.tokens == rows.tokens["student_half"].lengths.sum()


def test_memory_of_the_ladder_is_not_underestimated_nor_far_off():
    from benchmarks import estimates

    few = {"student_half": 200, "validation": 100, "test": 10}
    rows = estimates.rows_of("embedded:l", sizes=few)
    for case in ("full", "LoRA", "bf16"):
        training, chosen, _ = estimates.CASES[case]
        recipe = estimates.recipe_of(rows, training, confidence=False)
        execution = Execution(gpus_per_worker=0, **chosen)
        measured = estimates.measured_memory(rows, recipe, execution)
        guess = estimates.estimated(rows, recipe, execution, exact=True).memory.total
        assert 0.97 <= guess / measured <= 1.2


SMALL = {**MLP, "num_hidden_layers": 2, "pad_token_id": 0}
UNSUPPORTED = (
    ({"model_type": "mamba", "hidden_size": WIDTH, "num_hidden_layers": 2}, "two dimensions"),
    ({"model_type": "qwen3_moe", **SMALL}, "as mixtures of experts have"),
    ({"model_type": "albert", **SMALL}, "not each attention and a dense MLP"),
    ({"model_type": "t5"}, "encoder-decoder"),
    ({"model_type": "gpt9"}, "transformers has no model_type 'gpt9'"),
    ({"model_type": "llama", **SMALL, "hidden_size": 33}, "transformers can't build it (Strict"),
    ({"model_type": "llama", **SMALL, "num_hidden_layers": 1_001}, "more than 1,000 layers"),
    ({}, "transformers has no model_type None"),
)


def test_unsupported_architectures_are_not_estimated(tmp_path):
    source = ModelSource(name="odd", location=str(tmp_path), identity="sha256:x")
    assert "not on this machine" in str(architecture_of(source))
    for config, reason in UNSUPPORTED:
        (tmp_path / "config.json").write_text(json.dumps(config))
        found = str(architecture_of(source))
        assert found.startswith(f"odd ({config.get('model_type')}) is not estimated: ")
        assert reason in found
        assert "\n" not in found


def test_padding_follows_from_sorted_batches():
    lengths = Lengths(64, quantiles(list(range(1, 65))), 32.5, "tokenized")
    alone = padded(lengths, together=1, sorted_rows=64)
    assert alone.tokens == pytest.approx(64 * 32.5, rel=0.02)
    halves = padded(lengths, together=32, sorted_rows=64)
    assert halves.tokens == pytest.approx(32 * 32 + 32 * 64, rel=0.02)
    assert padded(lengths, together=64, sorted_rows=64).tokens == 64 * 64


@pytest.mark.parametrize("rows", [64, 64_000])
@pytest.mark.parametrize("most", [64, 512])
def test_padding_of_batches_by_tokens_is_that_of_their_layout(rows, most):
    exact = np.random.default_rng(0).integers(1, 65, rows)
    lengths = Lengths(rows, quantiles(list(exact)), float(exact.mean()), "tokenized")
    (dealt,) = layout_by_tokens(exact, workers=1, most=most)
    sizes = [(len(micro.positions), exact[micro.positions].max()) for micro in dealt]
    found = padded_by_tokens(lengths, most=most)
    assert found.tokens == pytest.approx(sum(n * longest for n, longest in sizes), rel=0.05)
    assert found.squares == pytest.approx(sum(n * longest**2 for n, longest in sizes), rel=0.05)


def test_lengths_are_exact_for_rows_tokenized_on_this_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("W2S_CACHE", str(tmp_path))
    source = ModelSource(name="m", location="nowhere", identity="sha256:x")
    rows = {"split": "s", "part": "test", "source": source, "max_tokens": 50}

    def found() -> Lengths:
        return token_lengths(**rows, rows=4, words=(10.0, 20.0, 60.0))

    assert found().source == "words"
    assert found().quantiles == (14.0, 28.0, 50.0)  # 1.4 tokens a word, cut at max_tokens
    assert token_lengths(**rows, rows=4, words=None).quantiles == (50.0, 50.0)
    note_tokens([3, 5, 7, 9], **rows)
    assert (found().source, found().mean, found().at(1.0)) == ("tokenized", 6.0, 9.0)


def test_a_tokenizer_is_read_once_for_all_parts_and_quantiles(tmp_path, monkeypatch):
    """Files of 33 MB are common; they were read for each of 20 quantiles of each part."""
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))
    (tmp_path / "tokenizer.json").write_text('{"model": {"type": "WordLevel"}}')
    source = ModelSource(name="m", location=str(tmp_path), identity="sha256:x")
    read, read_text = [], Path.read_text
    monkeypatch.setattr(Path, "read_text", lambda p, **how: read.append(p) or read_text(p, **how))
    for split in ("a", "b"):
        for part in ("train", "test"):
            found = token_lengths(
                split=split, part=part, rows=2, words=(1.0, 2.0, 3.0), source=source, max_tokens=9
            )
            assert found.quantiles == (1.0, 2.0, 3.0)
    assert [path.name for path in read if path.name == "tokenizer.json"] == ["tokenizer.json"]


LARGE = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "vocab_size": 32000,
}


def large_memory(**chosen: Any) -> Memory:
    execution = Execution.model_validate({"engine": "deepspeed", "workers": 8, **chosen})
    return memory(architecture(LARGE), training=Training(), execution=execution, longest=512)


def test_each_zero_stage_shards_its_part_of_the_memory():
    stages = [large_memory(zero_stage=stage) for stage in range(4)]
    parameters = architecture(LARGE).parameters
    assert [round(m.weights / parameters, 2) for m in stages] == [4, 4, 4, 0.5]
    assert [round(m.gradients / parameters, 2) for m in stages] == [4, 4, 0.5, 0.5]
    assert [round(m.optimizer / parameters, 2) for m in stages] == [8, 1.5, 1.5, 1.5]
    offloaded = large_memory(zero_stage=3, offload="cpu")
    assert offloaded.weights == offloaded.optimizer == 0
    assert offloaded.host == pytest.approx(stages[3].optimizer + parameters * (0.5 + 0.5), rel=1e-3)


def partial_memory(training: Training) -> Callable[[Execution], Memory]:
    model = architecture(LARGE)
    return lambda given: memory(model, training=training, execution=given, longest=512)


def smallest(device_gb: float, **training: Any) -> str:
    settings = Training(**training)
    found = smallest_sharding(
        partial_memory(settings),
        training=settings,
        execution=Execution(engine="deepspeed", workers=2),
        device_bytes=device_gb * 1e9,
    )
    return found.text if found else "none"


def test_the_smallest_stage_that_fits_is_named():
    lora = {"tuning": LORA, "precision": "bf16"}
    assert [smallest(gb) for gb in (500, 120, 80, 8)] == [
        "1 device",
        "ZeRO-1 x 4",
        "ZeRO-3 x 4",
        "none",
    ]
    assert smallest(80, **lora) == "ZeRO-3 x 2"


def test_a_base_in_4_bits_takes_half_a_byte_a_weight_and_is_never_sharded():
    model = architecture(LARGE)
    layers = model.layers * sum(matrix.weights for matrix in model.matrices)
    for tuning in (LoraTuning(), ProbeTuning()):
        found = {
            base: memory(
                model,
                training=Training(
                    tuning=tuning.model_copy(update={"base": base}), precision="bf16"
                ),
                execution=Execution(),
                longest=512,
            )
            for base in (None, "nf4")
        }
        held = (2 if model.is_bf16 else 4) * layers
        saved = found[None].weights - found["nf4"].weights
        assert saved == pytest.approx(held - 0.516 * layers, rel=1e-3)
        assert found["nf4"].gradients == found[None].gradients
    four = {"tuning": LoraTuning(base="nf4"), "precision": "bf16"}
    assert [smallest(gb, **four) for gb in (500, 80)] == ["1 device", "none"]


def test_fits_with_a_fraction_fill_the_gpu():
    room = 80e9
    for total in (0.0, 1e9, 5e9, 30e9, 60e9):
        found = gpu_fraction(Memory(total, 0, 0, 0), room)
        assert found is not None
        together = round(1 / found)
        assert together * (total + RESERVE) <= room
        assert found == 1 / together
    assert gpu_fraction(Memory(70e9, 0, 0, 0), room) == 1
    assert gpu_fraction(Memory(80e9, 0, 0, 0), room) is None
    assert fits_on_device(Memory(78e9, 0, 0, 0), room)


@pytest.mark.parametrize("chunk", [2**27, 3 * 99], ids=["one", "many"])
@pytest.mark.parametrize("form", ["text", "answers"])
def test_flops_of_a_language_model_are_those_that_torch_counts(form, chunk, monkeypatch):
    import torch
    from transformers import AutoModelForCausalLM

    from w2s_ray.learn import vocabulary_head
    from w2s_ray.learn.forms.language import LanguageModel

    for module in (vocabulary_head, sys.modules["w2s_ray.plan.estimates.fits"]):
        monkeypatch.setattr(module, "LOGITS_AT_ONCE", chunk)
    backbone = AutoModelForCausalLM.from_config(config_of("gpt2"))
    model = LanguageModel(backbone, width=WIDTH, causal=True, pad_id=0)
    (ids, lengths), answer = batch(), 5
    starts = torch.full((ROWS,), 1 if form == "text" else TOKENS - answer)
    outputs: list[Any] = []
    forward = counted(lambda: outputs.append(model(ids, lengths, starts)))
    backward = counted(lambda: outputs[0].sum().backward())
    training = Training(batch_size=ROWS, epochs=1, answer_tokens=answer)
    rows = Lengths(ROWS, (float(TOKENS),) * 2, float(TOKENS), "tokenized")
    found = estimate_fit(
        recipe(form=form, training=training),
        Execution(),
        model=shape("gpt2"),
        lengths=lambda part: rows,
    ).flops
    assert found.forward + found.backward == pytest.approx(forward + backward, rel=0.02)


def recipe(**changes: Any) -> FitRecipe:
    known = {
        "split": "s",
        "train_on": "student_half",
        "model": "m",
        "labels": Labels(source=("w",)),
    }
    return FitRecipe(**{**known, "loss": XentLoss(), "training": Training(), "seed": 0, **changes})


def test_a_prompted_fit_counts_two_passes_and_no_training():
    model, rows = shape("gpt2"), Lengths(64, (10.0, 10.0), 10.0, "tokenized")
    by_shots = {}
    for shots in (0, 2):
        made = recipe(prompt=Prompt(shots=shots), predicts=("validation", "test"))
        by_shots[shots] = estimate_fit(made, Execution(), model=model, lengths=lambda part: rows)
    found = by_shots[0]
    assert (found.tokens, found.trained_parameters) == (0, 0)
    assert (found.flops.forward, found.flops.backward, found.flops.labelling) == (0, 0, 0)
    head = 2 * 99 * WIDTH * 2 * 2 * 64
    once = forward_flops(model, Padded(64, 640, 6400))
    assert found.flops.total == 0, "prompts without examples are read once for all fits"
    assert found.stored == pytest.approx(dict.fromkeys(("validation", "test"), 2 * once + head / 2))
    assert found.memory.gradients == found.memory.optimizer == 0
    assert found.memory.weights == 4 * (model.parameters + 99 * WIDTH * (not model.skeleton.tied))
    thrice = forward_flops(model, Padded(64, 1920, 64 * 900))
    assert by_shots[2].stored == {}
    assert by_shots[2].flops.evaluation == pytest.approx(2 * 2 * thrice + head)


def test_a_prompted_model_is_held_in_bf16_and_sharded_by_zero_3_alone():
    model = architecture({**LARGE, "dtype": "bfloat16"})
    made = recipe(prompt=Prompt(), training=Training(precision="bf16"))

    def needed(**chosen: Any) -> Memory:
        return fit_memory(made, Execution.model_validate(chosen), model=model, longest=512)

    layers = model.layers * sum(matrix.weights for matrix in model.matrices)
    every = 4.0 * all_parameters(model, ProbeTuning(), form="text")
    group = {"engine": "deepspeed", "workers": 4}
    alone, copied, sharded = needed(), needed(**group, zero_stage=2), needed(**group)
    assert alone.weights == copied.weights == every - 2 * layers
    assert sharded.weights == alone.weights / 4
    assert sharded.loading == every / 4 + 4.0 * model.vocabulary * model.width
    assert alone.total < every


def test_zero_holds_frozen_weights_in_bf16_and_loads_them_in_fp32():
    model = architecture({**LARGE, "dtype": "bfloat16"})
    training = Training(tuning=LORA, precision="bf16")
    layers = model.layers * sum(matrix.weights for matrix in model.matrices)
    every = 4.0 * all_parameters(model, LORA)
    for stage, shards in ((0, 1), (2, 1), (3, 4)):
        execution = Execution(engine="deepspeed", workers=4, zero_stage=stage)
        found = memory(model, training=training, execution=execution, longest=64)
        assert found.weights == (every - 2 * layers) / shards
        embedding = 4.0 * model.vocabulary * model.width
        assert found.loading == (every / 4 + embedding if stage == 3 else 0)
    tight = replace(found, buffers=0.0, activations=0.0)
    assert tight.total == tight.loading


@pytest.mark.parametrize("choices", [1, 4])
def test_each_choice_is_a_text_of_its_own(choices):
    """Four choices are four texts with the question in FLOPs, tokens and activations."""
    rows = Lengths(64, (10.0, 10.0), 10.0, "tokenized", choices=choices)
    training = Training(batch_size=32, epochs=1)
    found, of_text = (
        estimate_fit(
            recipe(form=form, training=training, predicts=("test",)),
            Execution(),
            model=shape("gpt2"),
            lengths=lambda part: rows,
        )
        for form in ("choices", "text")
    )
    assert found.tokens == choices * of_text.tokens == choices * 640
    assert found.flops.total == pytest.approx(choices * of_text.flops.total)
    assert found.memory.weights == of_text.memory.weights
    grown = found.memory.activations / of_text.memory.activations
    assert grown == 1 if choices == 1 else 3 < grown < 4.5


def test_a_missing_estimate_has_a_reason_and_a_remedy():
    nowhere = ModelSource(name="big", location="org/big", identity="x", revision="abc")
    estimator = Estimator(InputSizes(Inputs(splits={}, models={"big": nowhere})))
    reason = estimator.fit(recipe(form="features"), nowhere, Execution())
    assert reason == FORMS["features"].not_estimated
    reason = estimator.fit(recipe(), nowhere, Execution())
    assert "config.json is not on this machine; plan again with access to the hub" in str(reason)


def test_a_policy_reads_two_texts_with_the_vocabulary_and_its_reference_once():
    rows = Lengths(64, (10.0, 10.0), 10.0, "tokenized")
    training = Training(batch_size=32, epochs=3, pair_model=Policy())
    policy, of_text = (
        estimate_fit(
            recipe(form=form, training=training, predicts=("validation", "test")),
            Execution(),
            model=shape("gpt2"),
            lengths=lambda part: rows,
        )
        for form in ("pairs", "text")
    )
    assert policy.flops.total == pytest.approx(2 * of_text.flops.total)
    assert policy.tokens == 2 * of_text.tokens
    assert policy.trained_parameters == of_text.trained_parameters
    assert 1.5 < policy.memory.activations / of_text.memory.activations < 2.5
    assert set(policy.stored) == {"student_half", "validation", "test"}
    assert policy.stored["student_half"] == pytest.approx(policy.flops.forward / 3, rel=0.01)
    assert not of_text.stored
