"""What a GPU gets other kernels and shapes for computes the same; here on a CPU."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.learn.tiny import Recorder, data_of, make_gpt2, recipe_of, source_of
from w2s_ray.config import ConfidenceLoss, Execution, LoraTuning, LpFtTuning, ModelSource, XentLoss
from w2s_ray.learn import engine as engines
from w2s_ray.learn import inference, torch_engine
from w2s_ray.learn import step as steps
from w2s_ray.learn.batches import layout_by_tokens
from w2s_ray.learn.engines import build_engine
from w2s_ray.learn.forms.language import span_nll
from w2s_ray.learn.forms.text import TextData
from w2s_ray.learn.kernels import (
    COMPILED_CODE,
    PLAIN_RMS_NORMS,
    RMSNorm,
    compile_layers,
    keep_compiled_code,
    never_wait,
    repeated_layers,
    use_fused_kernels,
)
from w2s_ray.learn.loop import fit
from w2s_ray.learn.rows import SpanRows
from w2s_ray.learn.step import optimizer_step

ON_CPU = Execution(gpus_per_worker=0, evaluation_batch=8)


def make_llama(folder: Path, kind: str = "llama") -> Path:
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3}
    shape |= {"num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 40}
    config = AutoConfig.for_model(kind, **shape, max_position_embeddings=32, pad_token_id=0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> ModelSource:
    return source_of(make_llama(tmp_path_factory.mktemp("llama")), "llama")


@pytest.fixture(scope="module")
def gpt2_lm(tmp_path_factory: pytest.TempPathFactory) -> ModelSource:
    folder = make_gpt2(tmp_path_factory.mktemp("gpt2"))
    return source_of(folder, "gpt2")


def losses_of(source: ModelSource, execution: Execution = ON_CPU, **recipe: Any) -> Any:
    seen = Recorder()
    result = fit(
        recipe_of(**recipe), data=data_of(), source=source, execution=execution, observer=seen
    )
    return seen.losses, result.predicted["test"].probabilities


@pytest.mark.parametrize("kind", ["gpt2_lm", "llama"])
@pytest.mark.parametrize("tuning", [{}, {"tuning": LoraTuning(rank=2)}], ids=["full", "lora"])
def test_fused_kernels_train_the_same(
    kind: str, tuning: dict[str, Any], request: pytest.FixtureRequest, monkeypatch: Any
) -> None:
    source, replaced = request.getfixturevalue(kind), []
    plain = losses_of(source, training=tuning)
    build = inference.build_model

    def built(*given: Any, **named: Any) -> Any:
        model = build(*given, **named)
        names = list(model.state_dict())
        use_fused_kernels(model)
        assert list(model.state_dict()) == names
        kinds = (RMSNorm, torch.nn.GELU)
        replaced.append(sum(isinstance(module, kinds) for module in model.modules()))
        return model

    monkeypatch.setattr(inference, "build_model", built)
    fused = losses_of(source, training=tuning)
    assert replaced == [2 if kind == "gpt2_lm" else 7]
    np.testing.assert_allclose(fused[0], plain[0], atol=1e-5)
    np.testing.assert_allclose(fused[1], plain[1], atol=1e-5)


@pytest.mark.parametrize("name", sorted(PLAIN_RMS_NORMS))
def test_a_norm_that_is_replaced_is_a_plain_one(name: str) -> None:
    import importlib

    family = name.removesuffix("RMSNorm").lower()
    module = importlib.import_module(f"transformers.models.{family}.modeling_{family}")
    theirs = getattr(module, name)(16, eps=1e-3)
    torch.nn.init.uniform_(theirs.weight)
    hidden = torch.randn(5, 16)
    ours = RMSNorm(theirs.weight, theirs.variance_epsilon)
    torch.testing.assert_close(ours(hidden), theirs(hidden))


class Waiting(TorchDispatchMode):
    """Operations for whose result the CPU would wait for a GPU."""

    NAMES = ("_local_scalar_dense", "nonzero.default", "masked_select", "is_nonzero")

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        indexed = [a for a in args[1:2] if "index" in str(func) and isinstance(a, list | tuple)]
        masks = [t for a in indexed for t in a if t is not None and t.dtype == torch.bool]
        if masks or any(name in str(func) for name in self.NAMES):
            self.found.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("kind", ["gpt2_lm", "llama"])
@pytest.mark.parametrize("what", ["xent", "confidence", "accumulated", "text"])
def test_a_step_waits_for_nothing(
    kind: str, what: str, request: pytest.FixtureRequest, monkeypatch: Any
) -> None:
    from transformers import masking_utils

    source = request.getfixturevalue(kind)
    looks = masking_utils.find_packed_sequence_indices
    monkeypatch.setattr(masking_utils, "find_packed_sequence_indices", looks)
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *_: None)
    data: Any = data_of()
    if what == "text":
        data = TextData(SpanRows(data.train, np.ones(len(data.train), np.int64)), SpanRows.of([]))
    recipe = recipe_of(loss=ConfidenceLoss() if what == "confidence" else XentLoss())
    engine = build_engine(
        recipe.training,
        source=source,
        execution=ON_CPU,
        seed=0,
        form="text" if what == "text" else "classes",
    )
    never_wait(engine.model)
    monkeypatch.setattr(engine, "step", lambda lr: None)
    loss = recipe.loss.prepared(data.train_targets_NC) if what != "text" else recipe.loss
    with Waiting() as waiting:
        optimizer_step(
            np.arange(8),
            recipe=recipe,
            loss=loss,
            memory=[],
            data=data,
            engine=engine,
            step=1,
            total_steps=4,
            micro_batch=3 if what == "accumulated" else 8,
        )
    assert waiting.found == []


@pytest.mark.parametrize("kind", ["gpt2_lm", "llama"])
@pytest.mark.parametrize("tuning", [{}, {"tuning": LoraTuning(rank=2)}], ids=["full", "lora"])
def test_compiled_layers_train_the_same(
    kind: str, tuning: dict[str, Any], request: pytest.FixtureRequest, monkeypatch: Any
) -> None:
    """By a backend that generates no machine code; inductor's is tested once below."""
    import torch._dynamo

    source, versions = request.getfixturevalue(kind), []

    def backend(graph: Any, inputs: Any) -> Any:
        versions.append(graph)
        return graph.forward

    torch._dynamo.reset()
    plain = losses_of(source, training=tuning)
    compiling = partial(compile_layers, backend=backend)
    monkeypatch.setattr(torch_engine, "compile_layers", compiling)
    compiled = losses_of(source, ON_CPU.model_copy(update={"compile": "on"}), training=tuning)
    np.testing.assert_allclose(compiled[0], plain[0], atol=1e-5)
    np.testing.assert_allclose(compiled[1], plain[1], atol=1e-5)
    assert 0 < len(versions) <= 8
    assert losses_of(source, ON_CPU.model_copy(update={"compile": "auto"}), training=tuning)
    assert len(versions) <= 8


@pytest.mark.parametrize("rows", [None, 3], ids=["whole", "accumulated"])
@pytest.mark.parametrize("what", ["full", "lp_ft", "checkpointing"])
def test_recorded_steps_train_the_same(
    what: str, rows: int | None, gpt2_lm: ModelSource, monkeypatch: Any
) -> None:
    """Gradients keep their memory, which graphs need; where they can't, nothing is recorded."""
    modes: list[dict[str, Any]] = []

    def backend(graph: Any, inputs: Any, **mode: Any) -> Any:
        modes.append(mode)
        return graph.forward

    torch._dynamo.reset()
    monkeypatch.setattr(torch_engine, "compile_layers", partial(compile_layers, backend=backend))
    addresses: list[int] = []
    step = torch_engine.TorchEngine.step

    def noted(engine: Any, lr: float) -> None:
        step(engine, lr)
        grad = engine.model.backbone.h[0].mlp.c_fc.weight.grad
        addresses.append(0 if grad is None else grad.data_ptr())

    monkeypatch.setattr(torch_engine.TorchEngine, "step", noted)
    resets: list[None] = []
    monkeypatch.setattr(torch.compiler, "reset", lambda: resets.append(None))
    checkpointing = what == "checkpointing"
    execution = {"micro_batch": rows, "activation_checkpointing": checkpointing}
    training = {"tuning": LpFtTuning()} if what == "lp_ft" else {}
    most = ON_CPU.model_copy(update={**execution, "compile": "max"})
    recorded = losses_of(gpt2_lm, most, training=training)
    graphs = [{"mode": "reduce-overhead"}] if what == "full" else [{}]
    assert [mode for n, mode in enumerate(modes) if mode not in modes[:n]] == graphs
    assert (len(set(addresses)) == 1 and addresses[0] != 0) == (what == "full")
    assert len(resets) == (what == "full")
    plain = losses_of(gpt2_lm, ON_CPU.model_copy(update=execution), training=training)
    np.testing.assert_allclose(recorded[0], plain[0], atol=1e-5)
    np.testing.assert_allclose(recorded[1], plain[1], atol=1e-5)


COMPILES = """
import sys
from pathlib import Path

from torch import Tensor, nn, ones
from torch._dynamo.utils import counters
from w2s_ray.learn.kernels import compile_layers, keep_compiled_code

keep_compiled_code(Path(sys.argv[1]))


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden + self.inner(hidden).relu()


backbone = nn.ModuleDict({"h": nn.ModuleList([Layer() for _ in range(2)])})
assert compile_layers(backbone) == 2
hidden = ones(3, 4)
for layer in backbone["h"]:
    hidden = layer(hidden)
hidden.sum().backward()
print(*(counters["aot_autograd"][f"autograd_cache_{what}"] for what in ("hit", "miss")))
"""


@pytest.mark.slow
def test_a_second_process_reads_what_the_first_one_compiled(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != COMPILED_CODE}
    found = [
        subprocess.run(
            [sys.executable, "-c", COMPILES, str(tmp_path)],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
        ).stdout.split()
        for _ in range(2)
    ]
    assert found == [["0", "2"], ["2", "0"]]  # with a gradient of the input, and without
    assert any(tmp_path.iterdir())


def test_compiled_code_is_kept_where_the_user_wants_it(tmp_path: Path, monkeypatch: Any) -> None:
    own = str(Path(tempfile.gettempdir()) / "torchinductor_me")
    for given, expected in ((None, tmp_path), (own, tmp_path), ("/shared", Path("/shared"))):
        monkeypatch.delenv(COMPILED_CODE, raising=False)
        if given is not None:
            monkeypatch.setenv(COMPILED_CODE, given)
        keep_compiled_code(tmp_path)
        assert Path(os.environ[COMPILED_CODE]) == expected


@pytest.mark.slow
def test_the_default_compiler_trains_the_same(gpt2_lm: ModelSource) -> None:
    few = {"epochs": 1, "evaluations_per_epoch": 1}
    plain = losses_of(gpt2_lm, training=few)
    on = ON_CPU.model_copy(update={"compile": "on"})
    compiled = losses_of(gpt2_lm, on, training=few)
    np.testing.assert_allclose(compiled[0], plain[0], atol=1e-5)
    np.testing.assert_allclose(compiled[1], plain[1], atol=1e-5)


def test_repeated_layers_are_found(gpt2: ModelSource, bert: ModelSource) -> None:
    for source in (gpt2, bert):
        engine = build_engine(recipe_of().training, source=source, execution=ON_CPU, seed=0)
        assert len(repeated_layers(engine.model.backbone)) == 2


@pytest.mark.parametrize("kind", ["gpt2", "bert", "llama"])
def test_few_shapes_and_batches_by_tokens_change_nothing_but_rounding(
    kind: str, request: pytest.FixtureRequest, monkeypatch: Any
) -> None:
    source = request.getfixturevalue(kind)
    plain = losses_of(source)
    monkeypatch.setitem(engines.PADDED_TO, "cpu", 8)
    monkeypatch.setitem(engines.PASS_TOKENS, "cpu", 40)
    padded = losses_of(source)
    np.testing.assert_allclose(padded[0], plain[0], atol=1e-5)
    np.testing.assert_allclose(padded[1], plain[1], atol=1e-5)


def test_a_batch_in_passes_of_few_tokens_changes_nothing_but_rounding(
    gpt2: ModelSource, monkeypatch: Any
) -> None:
    engine = build_engine(recipe_of().training, source=gpt2, execution=ON_CPU, seed=0)
    data: Any = data_of()
    rows = np.arange(16)
    assert steps.rows_of_pass(data, rows, engine) == 16
    plain = losses_of(gpt2)
    monkeypatch.setitem(engines.PASS_TOKENS, "cpu", int(data.train.lengths[rows].sum()) // 3)
    assert steps.rows_of_pass(data, rows, engine) == 4
    small = losses_of(gpt2)
    assert small[0] != plain[0], "the passes are the same"
    np.testing.assert_allclose(small[0], plain[0], atol=1e-5)
    np.testing.assert_allclose(small[1], plain[1], atol=1e-5)


def test_text_is_learned_the_same_in_padded_batches_by_tokens(
    gpt2_lm: ModelSource, monkeypatch: Any
) -> None:
    rows = data_of().train
    spans = SpanRows(rows, np.ones(len(rows), np.int64))
    training = recipe_of().training
    engine = build_engine(training, source=gpt2_lm, execution=ON_CPU, seed=0, form="text")
    plain = span_nll(engine, spans, batch=4)
    monkeypatch.setitem(engines.PADDED_TO, "cpu", 8)
    monkeypatch.setitem(engines.PASS_TOKENS, "cpu", 40)
    np.testing.assert_allclose(span_nll(engine, spans, batch=4), plain, rtol=1e-5)


def test_no_row_is_padded_beyond_a_models_positions(gpt2: ModelSource, monkeypatch: Any) -> None:
    monkeypatch.setitem(engines.PADDED_TO, "cpu", 50)
    engine = build_engine(recipe_of().training, source=gpt2, execution=ON_CPU, seed=0)
    ids_BL, _ = engines.model_inputs(data_of().train, np.arange(4), engine)
    assert ids_BL.shape == (4, 32)


@pytest.mark.parametrize("workers", [1, 3])
def test_batches_by_tokens_hold_every_row_once_and_no_more_than_their_bound(workers: int) -> None:
    lengths = np.random.default_rng(0).integers(3, 60, 101)
    dealt = layout_by_tokens(lengths, workers=workers, most=4 * 59)
    assert len({len(micros) for micros in dealt}) == 1
    real = [micro.positions for micros in dealt for micro in micros if micro.real]
    assert sorted(np.concatenate(real)) == list(range(101))
    assert all(len(rows) * lengths[rows].max() <= 4 * 59 for rows in real)
    assert len(real) < 101 // 4
    assert layout_by_tokens(lengths[:0], workers=workers, most=4 * 59) == [[]] * workers
