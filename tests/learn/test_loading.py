"""What only a loaded model can tell: each fault is one line, before a step is trained."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.learn.tiny import make_bert, make_gpt2, source_of
from tests.support import make_model
from w2s_ray.config import (
    Execution,
    FormName,
    FullTuning,
    LastLayersTuning,
    LoraTuning,
    ModelSource,
    Training,
)
from w2s_ray.data.architecture import Architecture
from w2s_ray.data.descriptions import architecture_from_config
from w2s_ray.errors import InputError
from w2s_ray.learn.activations import activations
from w2s_ray.learn.loading import reading
from w2s_ray.learn.models import build_model, check_files
from w2s_ray.learn.padding import check_padding
from w2s_ray.learn.tokens import TokenRows, check_answers, tokenize
from w2s_ray.learn.torch_engine import TorchEngine
from w2s_ray.network import HubUnreachable

WEIGHTS = "model.safetensors"
SHAPE = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
DECODER = {**SHAPE, "num_key_value_heads": 2, "intermediate_size": 32, "head_dim": 8}


def build(folder: Path, tuning: Any = None, form: FormName = "classes") -> Any:
    return build_model(source_of(folder, "m"), tuning=tuning or FullTuning(), seed=0, form=form)


def line(call: Callable[[], object]) -> str:
    """The one line of what `call` refuses."""
    with pytest.raises(InputError) as caught:
        call()
    found = str(caught.value)
    assert "\n" not in found
    assert len(found) < 500
    return found


def edit(folder: Path, **changed: Any) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))
    return folder


def tensors(folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Path:
    save_file(change(load_file(folder / WEIGHTS)), folder / WEIGHTS, {"format": "pt"})
    return folder


def made(name: str, folder: Path, **changed: Any) -> Path:
    """A tiny model of a class of transformers, with random weights."""
    import transformers

    kinds = {
        "LlamaForCausalLM": "LlamaConfig",
        "LlamaForSequenceClassification": "LlamaConfig",
        "Qwen2ForCausalLM": "Qwen2Config",
        "Gemma3ForCausalLM": "Gemma3TextConfig",
        "Gemma3TextModel": "Gemma3TextConfig",
        "BertForSequenceClassification": "BertConfig",
    }
    torch.manual_seed(0)
    config = getattr(transformers, kinds[name])(**{**DECODER, **changed})
    getattr(transformers, name)(config).save_pretrained(folder)
    return folder


HALF = {
    "half": (lambda t: dict(sorted(t.items())[::2]), "tensors missing (h.0.attn.c_attn."),
    "foreign": (lambda t: {f"foo.{k}": v for k, v in t.items()}, "28 tensors missing ("),
    "a bias less": (
        lambda t: {k: v for k, v in t.items() if k != "h.1.mlp.c_fc.bias"},
        "1 tensor missing (h.1.mlp.c_fc.bias)",
    ),
    "one more": (
        lambda t: {**t, "h.0.attn.q_norm.weight": torch.ones(4)},
        "1 tensor unexpected (h.0.attn.q_norm.weight)",
    ),
    "another shape": (
        lambda t: {**t, "wpe.weight": torch.ones(16, 16)},
        "1 tensor of another shape (wpe.weight [16, 16] in place of [32, 16])",
    ),
}


@pytest.mark.parametrize("case", HALF)
def test_weights_that_do_not_fit_are_refused(case: str, tmp_path: Path) -> None:
    change, message = HALF[case]
    folder = tensors(make_gpt2(tmp_path), change)
    for call in (lambda: build(folder), lambda: check_files(source_of(folder, "m"))):
        found = line(call)
        assert "don't fit its config.json (GPT2Model)" in found
        assert message in found


def test_config_and_weights_that_disagree_are_refused(tmp_path: Path) -> None:
    more = edit(make_gpt2(tmp_path / "more"), n_layer=4)
    assert "24 tensors missing (h.2." in line(lambda: build(more))
    fewer = edit(make_gpt2(tmp_path / "fewer"), n_layer=1)
    assert "11 tensors unexpected (h.1." in line(lambda: build(fewer))
    other = edit(make_gpt2(tmp_path / "bert"), model_type="bert", **SHAPE, intermediate_size=64)
    assert "don't fit its config.json (BertModel)" in line(lambda: build(other))
    biased = edit(made("Qwen2ForCausalLM", tmp_path / "qwen2"), model_type="llama")
    assert "6 tensors unexpected (model.layers.0.self_attn.k_proj.bias" in line(
        lambda: build(biased)
    )


def test_a_head_that_is_missing_is_refused_where_it_is_needed(tmp_path: Path) -> None:
    folder = made("LlamaForSequenceClassification", tmp_path / "m", pad_token_id=0)
    assert build(folder).causal
    assert "1 tensor missing (lm_head.weight)" in line(lambda: build(folder, form="answers"))


@pytest.mark.parametrize("name", ["BertForSequenceClassification", "LlamaForCausalLM"])
def test_a_head_or_pooler_that_is_not_used_is_left_out(name: str, tmp_path: Path) -> None:
    build(made(name, tmp_path))


def test_our_own_exports_load_again_in_every_form(tmp_path: Path) -> None:
    gpt2, bert = make_gpt2(tmp_path / "g"), make_bert(tmp_path / "b")
    for number, (folder, tuning, form) in enumerate(
        (
            (gpt2, FullTuning(), "classes"),
            (gpt2, LoraTuning(rank=2), "classes"),
            (gpt2, LoraTuning(rank=2), "answers"),
            (gpt2, FullTuning(), "answers"),
            (bert, LoraTuning(rank=2), "classes"),
        )
    ):
        model = build(folder, tuning, form)  # type: ignore[arg-type]
        out = tmp_path / f"out-{number}"
        model.export(dict(model.state_dict()), out)
        build(out)
        if form == "answers":
            build(out, form="answers")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_named(value: float, tmp_path: Path) -> None:
    def spoil(found: dict[str, Any]) -> dict[str, Any]:
        found["h.1.attn.c_proj.weight"].view(-1)[7] = value
        return found

    folder = tensors(make_gpt2(tmp_path), spoil)
    found = line(lambda: build(folder))
    assert "tensor h.1.attn.c_proj.weight has NaN or infinite values" in found
    assert "training.lr" not in found


def test_large_values_are_no_infinity(tmp_path: Path) -> None:
    def grow(found: dict[str, Any]) -> dict[str, Any]:
        found["wpe.weight"].fill_(3e38)  # their sum is infinite
        return found

    build(tensors(make_gpt2(tmp_path), grow))


BROKEN: dict[str, Callable[[Path], object]] = {
    "config": lambda f: (f / "config.json").write_text("{"),
    "config a list": lambda f: (f / "config.json").write_text("[]"),
    "no config": lambda f: (f / "config.json").unlink(),
    "unknown type": lambda f: edit(f, model_type="gpt9"),
    "width 0": lambda f: edit(f, n_embd=0),
    "heads 3": lambda f: edit(f, n_head=3),
    "layers a text": lambda f: edit(f, n_layer="two"),
    "weights cut": lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:5000]),
    "weights empty": lambda f: (f / WEIGHTS).write_bytes(b""),
    "another name": lambda f: (f / WEIGHTS).rename(f / "other.safetensors"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_folder_is_refused_when_it_is_loaded(case: str, tmp_path: Path) -> None:
    BROKEN[case](make_gpt2(tmp_path))
    found = line(lambda: build(tmp_path))
    assert found.startswith(f"model m ({tmp_path}) can't be loaded: ")


TOKENIZERS: dict[str, Callable[[Path], object]] = {
    "no files": lambda f: [path.unlink() for path in f.glob("tokenizer*")],
    "not JSON": lambda f: (f / "tokenizer.json").write_text("{"),
    "a list": lambda f: (f / "tokenizer.json").write_text("[]"),
    "empty": lambda f: (f / "tokenizer.json").write_text("{}"),
    "too many": lambda f: edit(f, vocab_size=20),
}


@pytest.mark.parametrize("case", TOKENIZERS)
def test_a_tokenizer_that_cannot_be_is_refused(case: str, tmp_path: Path) -> None:
    folder = make_model(tmp_path / "m")
    TOKENIZERS[case](folder)
    line(lambda: tokenize(["w1 w2"], source=source_of(folder, "m"), max_tokens=8))


def test_errors_of_the_machine_are_not_the_models(tmp_path: Path) -> None:
    """Disk, memory and network come and go: such a fit is tried again."""
    import errno

    local, hub = source_of(tmp_path, "m"), ModelSource(name="h", location="o/m", identity="hub:o/m")
    faults: list[tuple[ModelSource, Exception]] = [
        (local, OSError(errno.EIO, "Input/output error")),
        (local, torch.OutOfMemoryError("CUDA out of memory")),
        (local, MemoryError()),
        (hub, ConnectionError("reset")),
    ]
    for source, fault in faults:
        with pytest.raises(type(fault)) as caught, reading(source):
            raise fault
        assert not isinstance(caught.value, InputError)
    with pytest.raises(HubUnreachable), reading(hub):
        raise OSError("We couldn't load the files") from ConnectionError("reset")
    missing = OSError("o/m does not appear to have a file named config.json.")
    message = r"model h \(o/m\) can't be loaded: o/m does not"
    with pytest.raises(InputError, match=message), reading(hub):
        raise missing


# --- both sides


def bidirectional(folder: Path) -> Path:
    return made("Gemma3TextModel", folder, use_bidirectional_attention=True)


def test_a_decoder_with_bidirectional_attention_is_refused(tmp_path: Path) -> None:
    source = source_of(bidirectional(tmp_path), "m")
    model = build(tmp_path)
    assert model.causal
    with pytest.raises(InputError, match=r"both sides .* changes its output by [1-9]"):
        check_padding(model, source=source, device=torch.device("cpu"))
    execution = Execution(engine="torch", gpus_per_worker=0)
    with pytest.raises(InputError, match="both sides"):
        TorchEngine(Training(), source=source, execution=execution, seed=0)
    rows = TokenRows.of([[1, 2, 3]])
    with pytest.raises(InputError, match="both sides"):
        dict(activations({"a": rows}, source=source, training=Training(), execution=execution))


@pytest.mark.parametrize("form", ["classes", "answers", "pairs"])
def test_a_decoder_with_causal_attention_is_accepted(form: FormName, tmp_path: Path) -> None:
    model = build(made("Gemma3ForCausalLM", tmp_path), form=form)
    check_padding(model, source=source_of(tmp_path, "m"), device=torch.device("cpu"))


def test_encoders_are_read_with_a_mask_or_refused(tmp_path: Path) -> None:
    import transformers

    bert = make_bert(tmp_path / "bert")
    check_padding(build(bert), source=source_of(bert, "m"), device=torch.device("cpu"))
    fnet = tmp_path / "fnet"
    config = transformers.FNetConfig(
        vocab_size=40, hidden_size=16, num_hidden_layers=1, intermediate_size=32
    )
    transformers.FNetModel(config).save_pretrained(fnet)
    with pytest.raises(InputError, match="both sides"):
        check_padding(build(fnet), source=source_of(fnet, "m"), device=torch.device("cpu"))


# --- tuning


@pytest.fixture
def multimodal(tmp_path: Path) -> Path:
    """A tower of images as deep as the text model, with modules of the same names, before it."""
    import transformers

    torch.manual_seed(0)
    vision = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision |= {"intermediate_size": 32, "image_size": 16, "patch_size": 8}
    text = transformers.Gemma3TextConfig(**DECODER)
    config = transformers.Gemma3Config(
        text_config=text.to_dict(), vision_config=vision, mm_tokens_per_image=4
    )
    transformers.Gemma3ForConditionalGeneration(config).save_pretrained(tmp_path / "images")
    return tmp_path / "images"


def test_of_a_multimodal_model_texts_need_the_language_model_alone(
    multimodal: Path, tmp_path: Path
) -> None:
    import transformers

    kept = build(multimodal)
    whole = transformers.AutoModel.from_pretrained(multimodal, dtype=torch.float32)
    names = {name for name, _ in whole.language_model.named_parameters()}
    assert any("vision" in name for name, _ in whole.named_parameters())
    assert {name for name, _ in kept.backbone.named_parameters()} == names
    found = architecture_from_config(json.loads((multimodal / "config.json").read_text()))
    assert isinstance(found, Architecture)
    assert found.parameters == sum(p.numel() for p in kept.backbone.parameters())

    last = build(multimodal, LastLayersTuning(layers=1))
    trained = {name for name, p in last.named_parameters() if p.requires_grad}
    assert "backbone.norm.weight" in trained
    layers = {name.partition("layers.")[2][:1] for name in trained if "layers." in name}
    assert layers == {"1"}
    adapted = build(multimodal, LoraTuning(rank=2, targets=("q_proj",)))
    assert sum("lora_A" in name for name, _ in adapted.named_parameters()) == 2

    ids, lengths = torch.tensor([[5, 9, 7, 3]]), torch.tensor([4])
    hidden = whole.eval()(input_ids=ids).last_hidden_state[:, -1]
    torch.testing.assert_close(kept.pooled(ids, lengths), hidden)
    kept.export(dict(kept.state_dict()), tmp_path / "text")
    assert build(tmp_path / "text").backbone.config.model_type == "gemma3_text"
    torch.testing.assert_close(build(tmp_path / "text").pooled(ids, lengths), hidden)


def test_a_multimodal_model_has_its_own_head_over_the_vocabulary(
    multimodal: Path, tmp_path: Path
) -> None:
    import transformers

    model = build(multimodal, form="text")
    assert model.parts is not None
    assert not any(p.is_meta for p in model.parameters())
    whole = transformers.AutoModelForCausalLM.from_pretrained(multimodal, dtype=torch.float32)
    ids, lengths = torch.tensor([[5, 9, 7, 3]]), torch.tensor([4])
    logits = whole.eval()(input_ids=ids).logits[:, -1]
    torch.testing.assert_close(model.pooled(ids, lengths), logits)
    model(ids, lengths, torch.tensor([1])).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    model.export(dict(model.state_dict()), tmp_path / "text")
    torch.testing.assert_close(build(tmp_path / "text", form="text").pooled(ids, lengths), logits)


TARGETS = {
    ("c_attn", "c_attn2"): "'c_attn2' matches no module of the model; it has [wte, wpe, c_attn,",
    ("q_proj",): "'q_proj' matches no module",
    ("c_attn", "ln_1"): "'ln_1' is a LayerNorm, which takes no adapter",
    ("h",): "'h' is a ModuleList, which takes no adapter",
    ("attn",): "'attn' is a GPT2Attention, which takes no adapter",
}


@pytest.mark.parametrize("targets", TARGETS)
def test_every_target_gets_an_adapter(targets: tuple[str, ...], tmp_path: Path) -> None:
    found = line(lambda: build(make_gpt2(tmp_path), LoraTuning(targets=targets)))
    assert found.startswith("training.tuning.targets: ")
    assert TARGETS[targets] in found


@pytest.mark.parametrize(
    "targets", [("wte",), ("wpe", "c_fc"), ("c_attn", "wte", "c_proj"), ("h.1.mlp.c_fc",)]
)
def test_adapters_of_every_layout_are_merged(targets: tuple[str, ...], tmp_path: Path) -> None:
    model = build(make_gpt2(tmp_path / "m"), LoraTuning(rank=2, targets=targets))
    adapters = [p for name, p in model.named_parameters() if "lora_" in name]
    torch.manual_seed(1)
    for parameter in adapters:
        parameter.data += 0.3 * torch.randn_like(parameter)
    ids, lengths = torch.tensor([[5, 0, 7, 3]]), torch.tensor([4])
    before = build(tmp_path / "m").pooled(ids, lengths)
    wanted = model.pooled(ids, lengths)
    assert not torch.allclose(before, wanted, atol=1e-2)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    model.export(state, tmp_path / "out")
    torch.testing.assert_close(build(tmp_path / "out").pooled(ids, lengths), wanted)
    torch.testing.assert_close(model.pooled(ids, lengths), wanted)


def test_a_tied_embedding_gets_no_adapter_where_its_head_is_used(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "m")
    build(folder, LoraTuning(targets=("wte",)))
    found = line(lambda: build(folder, LoraTuning(targets=("wte", "c_attn")), "answers"))
    assert "wte are the embedding's and the head's at once" in found


def test_a_layer_of_experts_that_cannot_be_merged_is_refused(tmp_path: Path) -> None:
    import transformers

    shape = {**DECODER, "num_local_experts": 2, "num_experts_per_tok": 1}
    transformers.MixtralForCausalLM(transformers.MixtralConfig(**shape)).save_pretrained(tmp_path)
    build(tmp_path, LoraTuning(targets=("q_proj",)))
    for target in ("w1", "experts"):
        line(lambda target=target: build(tmp_path, LoraTuning(targets=("q_proj", target))))


# --- answers


def test_answers_longer_than_a_completion_are_counted(tmp_path: Path) -> None:
    source = source_of(make_model(tmp_path / "m", eos=True), "m")
    check_answers(["w1", "w1 w2"], source=source, most=3)
    with pytest.raises(
        InputError,
        match=r"answer_tokens is 3, and 2 of 3 answers are longer for m, the longest 5 tokens with "
        r"its end; raise it to 5",
    ):
        check_answers(["w1", "w1 w2 w3", "w1 w2 w3 w4"], source=source, most=3)


def test_an_adapter_beside_a_model_is_refused(tmp_path: Path) -> None:
    """transformers would load the adapter's base in the model's place."""
    from peft import LoraConfig, get_peft_model
    from transformers import GPT2Model

    base = make_gpt2(tmp_path / "base")
    adapted = get_peft_model(GPT2Model.from_pretrained(base), LoraConfig(target_modules=["c_attn"]))
    adapted.save_pretrained(str(tmp_path / "m"))
    shutil.copytree(base, tmp_path / "m", dirs_exist_ok=True)
    assert "holds an adapter, whose base was loaded" in line(lambda: build(tmp_path / "m"))
