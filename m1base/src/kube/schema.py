"""The spec's classes as the two schemas by which Kubernetes and Helm validate a document.

Both come from pydantic's JSON schema with every reference inlined:

structural  for a CustomResourceDefinition (KEP-1979 and the API reference of JSONSchemaProps): no `$ref`, no
            `default`, no `additionalProperties` beside `properties` (the API server prunes or, asked to be strict,
            refuses unknown fields by itself), exclusive bounds as flags, number formats.
values      for a chart's `values.schema.json`: unchanged, rejecting unknown fields, so that Helm names a typo.

Neither sets a default: an object contains only what its author wrote, and a default's value is part of
the field's description. Only the spec class fills in defaults.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

Schema = dict[str, Any]
_FORMATS = {"integer": "int64", "number": "double"}
_EXCLUSIVE = {"exclusiveMinimum": "minimum", "exclusiveMaximum": "maximum"}


def values(model: type[BaseModel]) -> Schema:
    """A JSON schema of a model without references; unknown fields are refused."""
    whole = model.model_json_schema(by_alias=True)
    return _inlined(whole, whole.get("$defs", {}))


def structural(model: type[BaseModel], rules: Mapping[str, Sequence[Schema]] | None = None) -> Schema:
    """A structural schema of a model. `rules` are x-kubernetes-validations by the name of the class they belong to.

    A construct that has no structural form (a union, null) raises ValueError with the field's path.
    """
    whole = model.model_json_schema(by_alias=True)
    return _structural(_inlined(whole, whole.get("$defs", {})), rules or {}, model.__name__)


def _inlined(node: Schema, definitions: Mapping[str, Schema]) -> Schema:
    if "$ref" in node:
        node = {**definitions[node["$ref"].removeprefix("#/$defs/")], **{k: v for k, v in node.items() if k != "$ref"}}
    # Only a class keeps its title: pydantic generates the others.
    dropped = ("$defs", "default", "const", "description", *(() if "properties" in node else ("title",)))
    found: Schema = {"description": _described(node)} if _described(node) else {}
    found |= {k: v for k, v in node.items() if k not in dropped}
    if "const" in node:
        found["enum"] = [node["const"]]
    if "properties" in node:
        found["properties"] = {k: _inlined(v, definitions) for k, v in node["properties"].items()}
    for below in ("items", "additionalProperties"):
        if isinstance(node.get(below), dict):
            found[below] = _inlined(node[below], definitions)
    return found


def _described(node: Schema) -> str:
    """The description on one line, with the default if there is one to mention."""
    text, default = " ".join(node.get("description", "").split()), node.get("default")
    if default in (None, "", []) or isinstance(default, dict):
        return text
    shown = f"[{', '.join(map(str, default))}]" if isinstance(default, list) else default
    shown = str(shown).lower() if isinstance(shown, bool) else shown
    return f"{text} Default: {shown}.".strip()


def _structural(node: Schema, rules: Mapping[str, Sequence[Schema]], path: str) -> Schema:
    if "type" not in node:
        raise ValueError(f"{path}: {sorted(node)} has no structural form; expected one type")
    found = {k: v for k, v in node.items() if k != "title"}
    for exclusive, bound in _EXCLUSIVE.items():
        if exclusive in found:
            found[bound], found[exclusive] = found[exclusive], True
    if found["type"] in _FORMATS:
        found["format"] = _FORMATS[found["type"]]
    if "properties" in node:
        found.pop("additionalProperties", None)
        found["properties"] = {k: _structural(v, rules, f"{path}.{k}") for k, v in node["properties"].items()}
        if node.get("title") in rules:
            found["x-kubernetes-validations"] = [dict(r) for r in rules[node["title"]]]
    for below in ("items", "additionalProperties"):
        if isinstance(found.get(below), dict):
            found[below] = _structural(node[below], rules, f"{path}.{below}")
    return found
