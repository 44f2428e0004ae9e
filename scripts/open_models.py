"""Writes the descriptions of the models in w2s_ray/ladder/open_models.json anew.

Owns that file's layout: one model a line. A model's `source` and `config` are written by hand: the
settings of its config.json that decide sizes. Its `description` is what `learn/describe` makes of
them, without the names of tensors, which only a folder with weights needs.
"""

from __future__ import annotations

import json
from typing import Any

from w2s_ray.data.descriptions import run_describe
from w2s_ray.ladder import OPEN_MODELS


def described(models: dict[str, Any]) -> dict[str, Any]:
    """`models` with new descriptions."""
    made = run_describe([model["config"] for model in models.values()])
    return {
        name: {"source": model["source"], "config": model["config"], "description": without(found)}
        for (name, model), found in zip(models.items(), made, strict=True)
    }


def without(description: dict[str, Any]) -> dict[str, Any]:
    """A description without the names of tensors."""
    skeleton = {**description["skeleton"], "tensors": {}}
    return {**description, "skeleton": skeleton}


def main() -> None:
    """Rewrite the file."""
    models = described(json.loads(OPEN_MODELS.read_text(encoding="utf-8")))
    lines = [f"{json.dumps(name)}: {json.dumps(model)}" for name, model in models.items()]
    OPEN_MODELS.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
