"""The JSON schema of a sweep file, for editors.

Owns what pydantic's schema of `Sweep` lacks: the short forms that validators accept, the settings
of `training` and `execution` in other sections, and the keys that choose a kind. The rest is
generated from the models. Kinds of plugins are accepted with any settings, in files that name
plugins. A schema can't express checks of several keys; `load` makes them.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

from pydantic.json_schema import GenerateJsonSchema
from pydantic_core.core_schema import ModelSchema

from w2s_ray.config.include import INCLUDE
from w2s_ray.config.ladders import OPEN_LADDERS, LadderRange
from w2s_ray.config.sweep import Sweep
from w2s_ray.frozen import Frozen

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_PARTIAL = {"training": "Training", "execution": "Execution"}
"""Key of settings that override those of a section -> the section's model."""


def sweep_schema() -> Schema:
    """The schema of a sweep file whose merge keys are resolved, as YAML readers do."""
    schema = documented_schema(Sweep)
    known = schema["$defs"]
    known[LadderRange.__name__] = documented_schema(LadderRange)
    for part in _mappings(schema):
        _complete(part)
    for union in _plugin_unions(schema):
        union["oneOf"].append(_other_kind(union))
    package_kinds = _package_kinds(schema)
    for name, with_short_form in SHORT_FORMS.items():
        section = schema if name == Sweep.__name__ else known[name]
        changed = with_short_form(dict(section))
        section.clear()
        section.update(changed)
    plugins = {"if": {"not": {"required": ["plugins"]}}, "then": package_kinds}
    schema["allOf"] = [*schema.get("allOf", ()), plugins]
    return {"$schema": DIALECT, **schema, "title": "Sweep file of w2s_ray"}


def documented_schema(model: type[Frozen]) -> Schema:
    """Pydantic's schema of a model, with the strings under its attributes as descriptions."""
    return model.model_json_schema(schema_generator=_Documented)


class _Documented(GenerateJsonSchema):
    """Pydantic's schema, with the string under each attribute of a model as its description.

    Pydantic can do the same (`use_attribute_docstrings`), but reads the sources at every import:
    0.13 s in each process.
    """

    def model_schema(self, schema: ModelSchema) -> Schema:
        found = super().model_schema(schema)
        fields = schema["cls"].model_fields
        documents = {fields[n].alias or n: text for n, text in _documents(schema["cls"]).items()}
        for name, part in found.get("properties", {}).items():
            if name in documents:
                part.setdefault("description", documents[name])
        return found


def _documents(model: type[Any]) -> dict[str, str]:
    """Name -> the string under it, for the attributes of a model and of its bases."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__[: model.__mro__.index(Frozen)]):
        (declared,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(declared, ast.ClassDef)
        for attribute, text in pairwise(declared.body):
            match attribute, text:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(document))),
                ):
                    found[name] = inspect.cleandoc(document)
    return {name: text for name, text in found.items() if name in model.model_fields}


def _mappings(schema: Any) -> Iterator[Schema]:
    """Every mapping in `schema`, the whole first."""
    if isinstance(schema, dict):
        yield schema
    if isinstance(schema, dict | list):
        for part in schema.values() if isinstance(schema, dict) else schema:
            yield from _mappings(part)


def _complete(part: Schema) -> None:
    """Add what pydantic's validation refuses and its schema accepts."""
    properties = part.get("properties")
    if part.get("type") == "object" and isinstance(properties, dict):
        if "const" in properties.get("kind", ()):
            part["required"] = ["kind", *part.get("required", ())]
        for key, section in _PARTIAL.items():
            if properties.get(key, {}).get("additionalProperties") is True:
                about = properties[key].get("description", "")
                properties[key] = {"$ref": f"#/$defs/{section}", "description": about}
    if part.get("title") == "Distribution" and isinstance(properties, dict):
        part |= {"minProperties": 1, "maxProperties": 1}
    if {} in part.get("oneOf", ()):  # a value or a distribution, which is a mapping
        part["oneOf"] = [one or {"not": {"type": "object"}} for one in part["oneOf"]]


def _plugin_unions(schema: Schema) -> tuple[Schema, Schema, Schema]:
    """The schemas of a method's loss, of its stages, and of a task's `extract`, which plugins
    extend.
    """
    method, task = (schema["$defs"][name]["properties"] for name in ("Method", "Task"))
    return method["loss"], method["stages"]["items"], task["extract"]


def _other_kind(union: Schema) -> Schema:
    """Settings of a kind that is not one of the package's."""
    kind = {"type": "string", "not": {"enum": list(union["discriminator"]["mapping"])}}
    return {"type": "object", "required": ["kind"], "properties": {"kind": kind}}


def _package_kinds(schema: Schema) -> Schema:
    """Methods and tasks with the package's kinds alone, as in a file without plugins."""
    loss, stage, extract = (
        {"properties": {"kind": {"enum": list(union["discriminator"]["mapping"])}}}
        for union in _plugin_unions(schema)
    )
    properties = {"loss": loss, "stages": {"items": stage}}
    kinds = _plugin_unions(schema)[2]["discriminator"]["mapping"]
    required = {
        kind: schema["$defs"][ref.rsplit("/", 1)[1]]["required"] for kind, ref in kinds.items()
    }
    alone = [kind for kind, keys in required.items() if keys == ["kind"]]
    names = {"if": {"type": "string"}, "then": {"enum": alone}}
    task = {"properties": {"extract": {**extract, **names}}}
    return {
        "properties": {
            "methods": {"additionalProperties": {"properties": properties}},
            "task": task,
            "tasks": {"items": task},
        }
    }


def _either(section: Schema, *others: Schema) -> Schema:
    """`section` or one of `others`."""
    return {"description": section.pop("description", ""), "anyOf": [section, *others]}


def _sweep(section: Schema) -> Schema:
    models = section["properties"]["models"]
    ladder = {"$ref": f"#/$defs/{LadderRange.__name__}"}
    listed = {key: models[key] for key in ("type", "minItems")}
    listed["items"] = {"anyOf": [models["items"], ladder]}
    path = {"type": "string", "minLength": 1}
    properties = {
        INCLUDE: {
            "description": "Files whose values hold where this file has none of its own.",
            "anyOf": [path, {"type": "array", "minItems": 1, "items": path}],
        },
        **section["properties"],
        "task": {"$ref": "#/$defs/Task"},
        "models": {"description": models["description"], "anyOf": [listed, ladder]},
    }
    required = [key for key in section.pop("required") if key != "tasks"]
    one_task = {"oneOf": [{"required": ["task"]}, {"required": ["tasks"]}]}
    return {
        **section,
        "properties": properties,
        "not": {"required": ["task", "tasks"]},
        "allOf": [
            {"if": {"required": [INCLUDE]}, "else": {"required": required, **one_task}},
        ],
    }


def _ladder(section: Schema) -> Schema:
    return {
        **section,
        "properties": {**section["properties"], "ladder": {"enum": list(OPEN_LADDERS)}},
    }


def _model(section: Schema) -> Schema:
    return _either(section, {"type": "string"})


def _controls(section: Schema) -> Schema:
    return _either(section, {"type": "boolean"})


def _difficulty(section: Schema) -> Schema:
    bounds = {key: value for key, value in section["properties"]["test"].items() if key in _ARRAY}
    return _either(section, bounds)


def _task(section: Schema) -> Schema:
    properties = section["properties"]
    extract = _either(dict(properties["extract"]), {"type": "string"})
    return {**section, "properties": {**properties, "extract": extract}}


def _trackers(section: Schema) -> Schema:
    name = {"enum": list(section["properties"])}
    settings = {key: section[key] for key in ("type", "properties", "additionalProperties")}
    return _either(section, name, {"type": "array", "items": {"anyOf": [name, settings]}})


_ARRAY = ("type", "minItems", "maxItems", "prefixItems")

SHORT_FORMS: dict[str, Callable[[Schema], Schema]] = {
    "Sweep": _sweep,
    "LadderRange": _ladder,
    "Model": _model,
    "Controls": _controls,
    "Difficulty": _difficulty,
    "Task": _task,
    "Trackers": _trackers,
}
"""Name of a model -> its schema with the forms that its validators convert."""
