"""The spec's classes as schemas: structural ones for the API server, closed ones for Helm."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from captionless.kube import schema
from captionless.spec.alignment import AlignmentSpec
from captionless.spec.pods import Variable
from captionless.spec.train import TrainSpec
from tests.controller.documents import RIGHT, document

_STRUCTURAL = {
    "description", "type", "format", "properties", "required", "items", "additionalProperties", "enum", "pattern",
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minItems", "maxItems", "minLength", "maxLength",
    "maxProperties", "x-kubernetes-validations", "x-kubernetes-list-type", "x-kubernetes-list-map-keys",
}  # fmt: skip


def _nodes(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, node
    for name, below in node.get("properties", {}).items():
        yield from _nodes(below, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            yield from _nodes(node[key], f"{path}[]")


def test_the_structural_schema_is_structural() -> None:
    nodes = dict(_nodes(schema.structural(AlignmentSpec)))
    for path, node in nodes.items():
        assert set(node) <= _STRUCTURAL, path
        assert isinstance(node["type"], str), path
        assert not ("properties" in node and "additionalProperties" in node), path
        assert all(isinstance(node.get(k, True), bool) for k in ("exclusiveMinimum", "exclusiveMaximum")), path
        assert "_" not in path, path
    assert nodes[".train.optim.lr"] | {"description": ""} == {
        "description": "",
        "type": "number",
        "format": "double",
        "minimum": 0,
        "exclusiveMinimum": True,
    }
    assert nodes[".train.encoder.name"]["enum"] == ["pointnext-s", "pointbert", "sparseconv"]
    assert nodes[".pods.nodeSelector"]["additionalProperties"] == {"type": "string"}
    stages = nodes[".pods.stages"]
    assert (stages["x-kubernetes-list-type"], stages["x-kubernetes-list-map-keys"]) == ("map", ["stage"])
    assert stages["items"]["required"] == ["stage"]
    assert set(stages["items"]["properties"]) - {"stage"} == set(nodes[".pods"]["properties"]) - {"stages"}


def test_descriptions_are_the_docstrings_and_tell_the_default() -> None:
    nodes = dict(_nodes(schema.structural(AlignmentSpec)))
    docstring = TrainSpec.model_fields["batch_size"].description
    assert nodes[".train.batchSize"]["description"] == f"{docstring} Default: 64."
    assert nodes[".train.weights"]["description"].endswith("Default: [avg].")
    assert nodes[".suspend"]["description"].endswith("Default: false.")
    assert nodes[".landmarks.origin"]["description"].endswith("Default: grammar.")
    assert "Default" not in nodes[".data.source.url"]["description"]


def test_rules_stand_at_their_class() -> None:
    rule = {"rule": "true", "message": "m"}
    nodes = dict(_nodes(schema.structural(AlignmentSpec, {Variable.__name__: [rule], "AlignmentSpec": [rule]})))
    assert {p for p, n in nodes.items() if "x-kubernetes-validations" in n} == {
        "",
        ".pods.env[]",
        ".pods.stages[].env[]",
    }


def test_what_has_no_structural_form_is_refused_by_path() -> None:
    class Inner(BaseModel):
        either: int | str = 0

    class Outer(BaseModel):
        inner: Inner = Inner()

    with pytest.raises(ValueError, match=r"Outer\.inner\.either: .* no structural form"):
        schema.structural(Outer)


def test_the_values_schema_takes_what_the_spec_takes_and_names_a_typo() -> None:
    closed = Draft202012Validator(schema.values(AlignmentSpec))
    Draft202012Validator.check_schema(schema.values(AlignmentSpec))
    for name, text in RIGHT.items():
        assert [e.message for e in closed.iter_errors(document(text))] == [], name
    whole = AlignmentSpec.model_validate(document("{}")).model_dump(by_alias=True, mode="json")
    assert [e.message for e in closed.iter_errors(whole)] == []
    (error,) = closed.iter_errors(document("{pods: {env: [{name: A, vlaue: b}]}}"))
    assert "vlaue" in error.message
    assert list(error.absolute_path) == ["pods", "env", 0]
