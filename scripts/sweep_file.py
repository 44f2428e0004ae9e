"""Prints docs/sweep-file.md: every key of a sweep file, from the fields' docstrings.

Owns the page's layout. Types, bounds, defaults and meanings come from the JSON schema that pydantic
makes of the declared models, so that the page can't differ from the code.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from w2s_ray.config import Sweep
from w2s_ray.config.json_schema import documented_schema
from w2s_ray.config.ladders import OPEN_LADDERS, LadderRange

Schema = dict[str, Any]

HEAD = """\
# The sweep file: every key

`make reference` writes this page from the fields' docstrings; do not edit it. Introduction and
examples: [Methods](methods.md), [Data and models](data.md), [Search](search.md).

- A title says where its keys are in the file: `models.pretrain` is the key `pretrain` of an entry
  of `models`.
- A title with a colon is one of several kinds: `training.tuning: lora` is
  `training: {tuning: {kind: lora, ...}}`.
- A key whose default is "required" must be given. `null` means: not set.
- An unknown key is an error, and so is a value outside the given bounds.
- `include`, a path or a list of paths, takes values from other files
  ([Shared blocks](commands.md#shared-blocks-include)).
- `execution`, `limits`, `trackers`, `seal`, `store` and the sweep's `name` change no result. You
  can change them without training anything again. Every other key is part of the ids of the runs
  that it concerns. `execution.keep` concerns fits that are trained from then on.
"""

WORDS = {"string": "text", "integer": "integer", "number": "number", "boolean": "true or false"}
LADDER = "LadderRange"


def page() -> str:
    """The whole page."""
    schema = documented_schema(Sweep)
    known = schema.pop("$defs") | {LADDER: documented_schema(LadderRange)}
    sections = _sections(schema, known)
    links = {
        name: f"[{title.rpartition(': ')[2]}](#{_slug(title)})" for name, title in sections.items()
    }
    parts = [HEAD, f"## The file\n\n{_table(schema, known, links)}"]
    for name, title in sections.items():
        paragraphs = known[name].get("description", "").split("\n\n")
        parts.append(f"## {title}\n")
        parts.extend(_line(paragraph) + "\n" for paragraph in paragraphs)
        parts.append(_table(known[name], known, links))
        if name == LADDER:
            parts.append(_ladders())
    return "\n".join(part for part in parts if part)


def _sections(schema: Schema, known: dict[str, Schema]) -> dict[str, str]:
    """Every declared model -> the title of its section, in the order of the file's keys."""
    found, level = dict[str, str](), [("", schema)]
    while level:
        below = list[tuple[str, Schema]]()
        for path, section in level:
            for key, field in section["properties"].items():
                here = f"{path}.{key}" if path else key
                names = [name for name in _names(field) if name not in found]
                found |= {name: _title(here, known[name]) for name in names}
                below += [(here, known[name]) for name in names]
        level = below
    found[LADDER] = "models: a ladder"
    keys = list(schema["properties"])
    return dict(sorted(found.items(), key=lambda item: keys.index(re.split(r"\W", item[1])[0])))


def _title(path: str, section: Schema) -> str:
    """A section's title: its path in the file and, if it has kinds, the kind."""
    kind = section["properties"].get("kind", {}).get("const")
    name = kind or {"Distribution": "values", "OneOf": "kinds"}.get(section["title"])
    return f"{path}: {name}" if name else path


def _names(field: Any) -> Iterator[str]:
    """Names of the declared models in a field, in order."""
    if isinstance(field, dict):
        if "$ref" in field:
            yield field["$ref"].rsplit("/", 1)[1]
        for key, value in field.items():
            if key not in ("discriminator", "default"):
                yield from _names(value)
    elif isinstance(field, list):
        for value in field:
            yield from _names(value)


def _table(section: Schema, known: dict[str, Schema], links: dict[str, str]) -> str:
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    required = section.get("required", ())
    for key, field in section["properties"].items():
        if "const" in field:  # it is in the section's title
            continue
        default = "required" if key in required else _default(field, known)
        meaning = _line(field.get("description", ""))
        cells = (f"`{key}`", _type(field, links), default, meaning)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n" if len(lines) > 2 else ""


def _default(field: Schema, known: dict[str, Schema]) -> str:
    value = field.get("default")
    if isinstance(value, dict) and value:
        if "kind" in value:
            return f"`{{kind: {value['kind']}}}`"
        usual = known[field["$ref"].rsplit("/", 1)[1]]["properties"]
        other = [f"`{key}: {each}`" for key, each in value.items() if each != usual[key]["default"]]
        return f"see there, but {', '.join(other)}" if other else "see there"
    if isinstance(value, float) and value and not 1e-3 <= abs(value) < 1e6:
        return f"`{value:g}`"
    return f"`{value}`" if isinstance(value, str) and value else f"`{json.dumps(value)}`"


def _type(field: Schema, links: dict[str, str]) -> str:
    """A field's type in words."""
    if "$ref" in field:
        return links[field["$ref"].rsplit("/", 1)[1]]
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return ", ".join(f"`{json.dumps(value).strip(chr(34))}`" for value in field["enum"])
    if either := field.get("anyOf") or field.get("oneOf"):
        return " or ".join(dict.fromkeys(_type(each, links) for each in either))
    match field.get("type"):
        case "null":
            return "null"
        case "array" if "prefixItems" in field:
            return f"[{', '.join(_type(each, links) for each in field['prefixItems'])}]"
        case "array":
            return f"list of {_type(field['items'], links)}"
        case "object":
            values = field.get("additionalProperties")
            return f"name: {_type(values, links)}" if isinstance(values, dict) else "mapping"
        case None:
            return "a value"
        case word:
            return WORDS[word] + _bounds(field)


def _bounds(field: Schema) -> str:
    """A number's bounds in words."""
    low = [f"≥ {_number(field['minimum'])}"] if "minimum" in field else []
    low += [f"> {_number(field['exclusiveMinimum'])}"] if "exclusiveMinimum" in field else []
    high = [f"≤ {_number(field['maximum'])}"] if "maximum" in field else []
    high += [f"< {_number(field['exclusiveMaximum'])}"] if "exclusiveMaximum" in field else []
    return f" {', '.join(low + high)}" if low + high else ""


def _number(value: float) -> str:
    powers = {2**63 - 1: "2^63 - 1", -(2**63): "-2^63"}
    if isinstance(value, int) and value in powers:
        return powers[value]
    exact = f"{value:,.0f}" if value == int(value) else f"{value:g}"
    return exact if abs(value) <= 1e6 else f"{value:.0e}".replace("e+0", "e").replace("e+", "e")


def _line(docstring: str) -> str:
    return re.sub(r"\s+", " ", docstring).strip()


def _ladders() -> str:
    lines = ["| ladder | sizes | hub names |", "|---|---|---|"]
    for name, ladder in OPEN_LADDERS.items():
        rungs = list(ladder.rungs.values())
        lines.append(
            f"| `{name}` | {', '.join(f'`{size}`' for size in ladder.rungs)} | "
            f"`{rungs[0].name}` to `{rungs[-1].name}` |"
        )
    notes = [f"- `{name}`: {ladder.note}." for name, ladder in OPEN_LADDERS.items() if ladder.note]
    return "\n".join([*lines, "", *notes]) + "\n"


def _slug(title: str) -> str:
    """The anchor that GitHub and the site give a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


if __name__ == "__main__":
    print(page(), end="")
