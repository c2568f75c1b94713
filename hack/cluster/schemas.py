"""JSON schemas of Kubernetes objects for kubeconform -strict: from the OpenAPI document of a release, from CRDs.

A file per kind, named as kubeconform's template `{{ .ResourceKind }}{{ .KindSuffix }}.json` asks for it
and standing alone: what it refers to is in its own `definitions`. Strict means that an object which lists
its properties has no others, so a misspelt field is an error. As in the API server, an optional field may
be null.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Schema = dict[str, Any]
_REFERENCE = "#/definitions/"


def from_swagger(swagger: Schema, folder: Path) -> int:
    """Writes the schema of every kind of a release's `api/openapi-spec/swagger.json`; how many there were."""
    definitions = {name: _strict(d) for name, d in swagger["definitions"].items()}
    # Quantities and int-or-strings are written as numbers too, which OpenAPI 2 cannot say.
    definitions["io.k8s.apimachinery.pkg.api.resource.Quantity"] = {"type": ["string", "number"]}
    definitions["io.k8s.apimachinery.pkg.util.intstr.IntOrString"] = {"type": ["string", "integer"]}
    count = 0
    for name, definition in swagger["definitions"].items():
        kinds = definition.get("x-kubernetes-group-version-kind", [])
        # Only what is an object of its own: DeleteOptions and the like are listed under every group.
        if len(kinds) != 1 or "metadata" not in definition.get("properties", {}):
            continue
        kind = kinds[0]
        api_version = f"{kind['group']}/{kind['version']}" if kind["group"] else kind["version"]
        schema = _object(definitions[name], api_version, kind["kind"])
        reached: Schema = {}
        _reach(schema, definitions, reached)
        _write(folder, api_version, kind["kind"], {**schema, "definitions": reached})
        count += 1
    return count


def from_crds(manifests: Iterable[Schema], folder: Path) -> int:
    """Writes the schema of every version of the CustomResourceDefinitions among `manifests`; how many there were."""
    count = 0
    for manifest in manifests:
        if not manifest or manifest.get("kind") != "CustomResourceDefinition":
            continue
        spec = manifest["spec"]
        for version in spec["versions"]:
            api_version = f"{spec['group']}/{version['name']}"
            schema = {"type": "object", **version["schema"]["openAPIV3Schema"]}
            # A CRD may restrict the name, but metadata is more than that.
            schema["properties"] = {**schema.get("properties", {}), "metadata": {"type": "object"}}
            schema = _object(_strict(schema), api_version, spec["names"]["kind"])
            _write(folder, api_version, spec["names"]["kind"], schema)
            count += 1
    return count


def _object(schema: Schema, api_version: str, kind: str) -> Schema:
    properties = {**schema["properties"], "apiVersion": {"enum": [api_version]}, "kind": {"enum": [kind]}}
    required = sorted({*schema.get("required", []), "apiVersion", "kind"})
    return {**schema, "properties": properties, "required": required}


def _strict(schema: Schema) -> Schema:
    found = {k: v for k, v in schema.items() if k not in ("description", "default", "example")}
    if found.pop("x-kubernetes-int-or-string", False) or found.get("format") == "int-or-string":
        found.pop("format", None)
        found.pop("anyOf", None)
        found["type"] = ["string", "integer"]
    if found.pop("nullable", False) and isinstance(found.get("type"), str):
        found["type"] = [found["type"], "null"]
    # OpenAPI 3.0's flag beside the bound is, in JSON schema, the bound itself.
    for flag, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if found.get(flag) is True:
            found[flag] = found.pop(bound)
    for key in ("items", "additionalProperties", "not"):
        if isinstance(found.get(key), dict):
            found[key] = _strict(found[key])
    for key in ("allOf", "anyOf", "oneOf"):
        if key in found:
            # Value validations only: a structural schema has the properties themselves outside of these.
            found[key] = [dict(v) for v in found[key]]
    if "properties" in found:
        required = found.get("required", [])
        found["properties"] = {
            k: _strict(v) if k in required else _nullable(_strict(v)) for k, v in found["properties"].items()
        }
        if not found.get("x-kubernetes-preserve-unknown-fields"):
            found.setdefault("additionalProperties", False)
    return found


def _nullable(schema: Schema) -> Schema:
    if "$ref" in schema:
        return {"anyOf": [schema, {"type": "null"}]}
    if isinstance(kind := schema.get("type"), str):
        schema = {**schema, "type": [kind, "null"]}
        if "enum" in schema:
            schema["enum"] = [*schema["enum"], None]
    return schema


def _reach(schema: Any, definitions: Schema, reached: Schema) -> None:
    if isinstance(schema, dict):
        reference = schema.get("$ref")
        if isinstance(reference, str):
            name = reference.removeprefix(_REFERENCE)
            if name not in reached:
                reached[name] = definitions[name]
                _reach(definitions[name], definitions, reached)
        for value in schema.values():
            _reach(value, definitions, reached)
    elif isinstance(schema, list):
        for value in schema:
            _reach(value, definitions, reached)


def _write(folder: Path, api_version: str, kind: str, schema: Schema) -> None:
    group, _, version = api_version.rpartition("/")
    suffix = "-".join(["", *([group.split(".")[0]] if group else []), version])
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", **schema}
    (folder / f"{kind}{suffix}.json".lower()).write_text(json.dumps(schema, separators=(",", ":")))
