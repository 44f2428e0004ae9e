"""Chat templates that refuse a task's messages, or are broken: one line and exit code 2 at plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.support import make_model
from w2s_ray.cli import app
from w2s_ray.data import folders, templates

EACH = "{% for message in messages %}[{{ message.role }}] {{ message.content }}{% endfor %}"
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] + '\n' }}{% generation %}"
    "{{ message['content'] | trim + '<|im_end|>' }}{% endgeneration %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
ALTERNATING = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/...') }}{% endif %}"
    "{{ message['content'] }}{% endfor %}"
)
NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}" + EACH
)
RICH = (
    "{%- set ns = namespace(found=false) %}{% for m in messages if m.role != 'system' %}"
    "{% if loop.index > 40 %}{% break %}{% endif %}{% set ns.found = true %}"
    "{{ m | tojson(indent=2) }}{{ strftime_now('%Y') }}{% endfor %}"
    "{% if tools is none and documents is none %}{{ bos_token + eos_token }}{% endif %}"
)
WORKING = {"chatml": CHATML, "each": EACH, "rich": RICH, "a list": EACH, "none": None}

REFUSED: dict[str, tuple[Any, str]] = {
    "alternating": (
        ALTERNATING,
        "with the roles system, user, assistant (Conversation roles must alternate "
        "user/assistant/...); change the data, or give a model whose template can",
    ),
    "no system": (NO_SYSTEM, "(System role not supported); change the data"),
    "an unknown name": ("{{ messages[0]['role'] + colour }}", "('colour' is undefined)"),
    "a missing key": ("{{ messages[9]['role'] }}", "can't render the messages of example row:"),
    "a sum of two kinds": ("{{ messages + 1 }}", "can only concatenate list"),
    "division by 0": ("{{ 1 // 0 }}", "can't render the messages of example row:"),
    "an attribute of Python": ("{{ messages.__class__.mro() }}", "is unsafe"),
    "without an end": (
        "{% for m in messages %}",
        "chat_template.jinja is not a Jinja template (line 1: Unexpected end of template.",
    ),
    "an unknown tag": (EACH + "\n{% colour %}", "is not a Jinja template (line 2: Encountered"),
    "an unknown filter": ("{{ messages | colour }}", "is not a Jinja template (line 1: No filter"),
    "not UTF-8": (b"\xff\xfe", "chat_template.jinja is not UTF-8"),
    "several and no default": (
        [{"name": "tool_use", "template": EACH}],
        "tokenizer_config.json has several chat templates, but none with the name default",
    ),
    "a default that refuses": (
        [{"name": "tool_use", "template": EACH}, {"name": "default", "template": NO_SYSTEM}],
        "in {model}/tokenizer_config.json can't render the messages of example row:",
    ),
}


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A folder with a model and a sweep over preferences, of which every third has a system."""
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))
    make_model(tmp_path / "model")
    rows = [
        {
            "prompt": [
                *([{"role": "system", "content": "Be brief."}] if i % 3 == 0 else []),
                {"role": "user", "content": f"How was bird {i}?"},
            ],
            "chosen": [{"role": "assistant", "content": f"Calm {i}"}],
            "rejected": [{"role": "assistant", "content": f"Loud {i}"}],
        }
        for i in range(60)
    ]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "sweep.yaml").write_text(
        f"""
name: t
task:
  {{name: birds, path: {tmp_path}/d.jsonl, train: 16, validation: 8, test: 8,
   columns: {{text: prompt, chosen: chosen, rejected: rejected}}}}
models: ["embedded:xs", {{name: {tmp_path}/model, label: strong}}]
methods: {{naive: {{}}}}
seeds: [0]
store: {tmp_path}/results
"""
    )
    return tmp_path


def give(folder: Path, template: Any) -> None:
    """Put a template where transformers looks for one."""
    if isinstance(template, list):
        path = folder / "tokenizer_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "chat_template": template}))
    elif template is not None:
        data = template if isinstance(template, bytes) else template.encode()
        (folder / "chat_template.jinja").write_bytes(data)


def planned(place: Path) -> Any:
    return CliRunner().invoke(app, ["plan", str(place / "sweep.yaml")])


@pytest.mark.parametrize("name", REFUSED)
def test_a_template_is_refused_at_plan(name, place):
    template, line = REFUSED[name]
    give(place / "model", template)
    for _ in range(2):  # a refusal is not cached
        result = planned(place)
        assert result.exit_code == 2
        assert result.stderr.startswith("error: models.strong: ")
        assert line.format(model=place / "model") in result.stderr
        assert result.stderr.count("\n") == 1
        assert len(result.stderr) < 600
        assert "Traceback" not in result.output


@pytest.mark.parametrize("name", WORKING)
def test_a_template_that_works_is_tried_once(name, place, monkeypatch):
    template = WORKING[name]
    give(
        place / "model",
        [{"name": "default", "template": template}] if name == "a list" else template,
    )
    assert planned(place).exit_code == 0
    monkeypatch.setattr(templates, "_template", None)
    assert planned(place).exit_code == 0


def test_a_template_that_changed_is_tried_again(place):
    assert planned(place).exit_code == 0
    give(place / "model", NO_SYSTEM)
    assert planned(place).exit_code == 2


@pytest.mark.parametrize("content", ["", "{", "[]", "null"])
def test_a_broken_tokenizer_config_is_refused(content, place):
    (place / "model" / folders.TOKENIZER_CONFIG).write_text(content)
    result = planned(place)
    assert result.exit_code == 2
    assert "tokenizer_config.json is " in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "template", [*WORKING.values(), *(t for t, _ in REFUSED.values() if isinstance(t, str))]
)
@pytest.mark.parametrize("system", [False, True])
def test_the_check_agrees_with_the_tokenizer(template, system, tmp_path, monkeypatch):
    """What transformers can't render is refused at plan, and nothing else."""
    import jinja2
    from transformers import AutoTokenizer

    if template is None:
        return
    monkeypatch.setenv("W2S_CACHE", str(tmp_path / "cache"))
    folder = make_model(tmp_path / "model")
    give(folder, template)
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": " b "}]
    messages = [{"role": "system", "content": "c"}, *messages] if system else messages
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokens = dict.fromkeys(templates._TOKENS, "") | tokenizer.special_tokens_map
    try:
        wanted = tokenizer.apply_chat_template(messages, tokenize=False, **tokens)
    except (jinja2.TemplateError, TypeError, ArithmeticError) as error:
        wanted = type(error)
    given = {"tools": None, "documents": None, "add_generation_prompt": False, **tokens}
    try:
        made = templates._environment().from_string(template).render(messages=messages, **given)
    except (jinja2.TemplateError, TypeError, ArithmeticError) as error:
        made = type(error)
    assert made == wanted
