"""Loading a spec: YAML from a path, URL or stdin, `--set a.b=c` overrides, and errors a user can act on.

Every problem is one line with the field path, the value found and what is allowed, and the nearest valid name for an
unknown one.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from copy import deepcopy
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails

from captionless.errors import Retryable, SpecError, did_you_mean
from captionless.spec.alignment import AlignmentSpec
from captionless.store import objects

_Model = TypeVar("_Model", bound=BaseModel)


def load_spec(where: str, overrides: Sequence[str] = ()) -> AlignmentSpec:
    """The spec at `where` (path, URL, or `-` for stdin) with `a.b=c` overrides. SpecError for each problem."""
    return build_spec(read_document(where), overrides, where)


def build_spec(document: dict[str, Any], overrides: Sequence[str] = (), where: str = "spec") -> AlignmentSpec:
    """The spec of a parsed document. Of an `Alignment` object (with `kind` and `spec`) the spec is used."""
    if document.get("kind") == "Alignment" and isinstance(document.get("spec"), dict):
        name = (document.get("metadata") or {}).get("name")
        document = {**({"name": name} if name else {}), **document["spec"]}
    return validated(AlignmentSpec, document, overrides, where)


def validated(model: type[_Model], document: Any, overrides: Sequence[str] = (), where: str = "spec") -> _Model:
    """A parsed document with overrides, validated as another model than `AlignmentSpec`, or as a section of it."""
    for override in overrides:
        document = _override(document, override)
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise spec_error(error, where, model) from None


def without_unknown(
    document: dict[str, Any], model: type[BaseModel] = AlignmentSpec
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """A parsed document without the fields that the model does not know, and their paths. Nothing else is checked."""
    try:
        model.model_validate(document)
    except ValidationError as error:
        unknown = [e["loc"] for e in error.errors() if e["type"] == "extra_forbidden"]
    else:
        unknown = []
    found = deepcopy(document)
    for path in unknown:
        node: Any = found
        for step in path[:-1]:
            node = node[step]
        del node[path[-1]]
    return found, tuple(sorted(".".join(map(str, path)) for path in unknown))


def spec_error(error: ValidationError, where: str, model: type[BaseModel] = AlignmentSpec) -> SpecError:
    """pydantic's validation errors as one line each."""
    problems = error.errors()
    wrong = {e["loc"] for e in problems}
    # A list with invalid items is also reported as too short: the line of the item is enough.
    kept = [e for e in problems if not (e["type"] == "too_short" and any(w[:-1] == e["loc"] for w in wrong if w))]
    return SpecError("\n".join(f"{where}: {_describe(e, model)}" for e in kept))


def dump_spec(spec: AlignmentSpec, escaped: bool = False) -> str:
    """The whole spec as YAML, defaults included, in ASCII if `escaped`; `load_spec` of it gives the same spec."""
    tree = spec.model_dump(by_alias=True, mode="json")
    text: str = yaml.safe_dump(tree, sort_keys=False, allow_unicode=not escaped)
    return text


def read_document(where: str) -> dict[str, Any]:
    """The parsed YAML mapping at a path, a URL or stdin; SpecError when it is not one."""
    try:
        text = sys.stdin.read() if where == "-" else objects.read_bytes(where).decode()
    except FileNotFoundError:
        raise SpecError(f"{where}: no such file; create one with `captionless init`") from None
    except Retryable as error:
        if not isinstance(error.__cause__, IsADirectoryError):
            raise
        raise SpecError(f"{where}: expected a YAML file, found a folder") from None
    except UnicodeDecodeError:
        raise SpecError(f"{where}: expected YAML, found text that is not UTF-8") from None
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SpecError(f"{where}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict):
        raise SpecError(f"{where}: expected a mapping of fields such as `data:`, found {type(document).__name__}")
    return document


def _override(document: dict[str, Any], override: str) -> dict[str, Any]:
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise SpecError(f"--set {override}: expected field.path=value, as in --set train.steps=500")
    try:
        value = yaml.safe_load(text) if text else ""
    except yaml.YAMLError:
        value = text
    names = [to_camel(n) if "_" in n else n for n in path.split(".")]
    result = node = dict(document)
    for depth, name in enumerate(names[:-1]):
        snake = _snake(name)
        found = node.pop(snake, None) if snake != name and snake in node else node.get(name)
        if found is not None and not isinstance(found, dict):
            raise SpecError(f"--set {override}: {'.'.join(names[: depth + 1])} is not a section")
        node[name] = dict(found or {})
        node = node[name]
    node.pop(_snake(names[-1]), None)
    node[names[-1]] = value
    return result


def _snake(camel: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in camel)


def _describe(error: ErrorDetails, model: type[BaseModel]) -> str:
    path = ".".join(str(p) for p in error["loc"]) or "the spec"
    kind, context, value = error["type"], error.get("ctx") or {}, error.get("input")
    if kind == "extra_forbidden":
        siblings = _fields_at(error["loc"][:-1], model)
        return f"{path}: unknown field{did_you_mean(str(error['loc'][-1]), siblings)} (fields: {', '.join(siblings)})"
    if kind == "missing":
        return f"{path}: required field is missing"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return f"{path}: expected a section with fields, found {value!r}"
    if kind == "too_short":
        return f"{path}: expected at least {context.get('min_length')} item, found {value!r}"
    if kind == "enum" or kind == "literal_error":
        expected = str(context.get("expected", ""))
        choices = [c.strip().strip("'\"") for c in expected.replace(" or ", ", ").split(",")]
        return f"{path}: {value!r} is not one of {', '.join(choices)}{did_you_mean(str(value), choices)}"
    if kind == "value_error":
        message = error["msg"].removeprefix("Value error, ")
        return message if not error["loc"] else f"{path}: {message}"
    message = error["msg"][:1].lower() + error["msg"][1:]
    return f"{path}: {message}, found {value!r}"


def _fields_at(location: Sequence[int | str], model: type[BaseModel]) -> list[str]:
    """The field names of the section at a path."""
    for step in location:
        for name, field in model.model_fields.items():
            if step in (name, field.alias):
                candidates = [field.annotation, *get_args(field.annotation)]
                model = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), model)
    return [field.alias or name for name, field in model.model_fields.items()]
