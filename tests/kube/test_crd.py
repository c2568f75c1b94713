"""The CustomResourceDefinition: its rules are there and mean what the spec's validators do.

The API server's own verdicts are in `tests/cluster/test_crd.py`.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError, validate

from captionless.errors import SpecError
from captionless.kube.cel_validation import MUTABLE, value
from captionless.kube.crd import crd
from captionless.kube.jobs import Operator
from captionless.kube.render import manifests
from captionless.spec import load
from captionless.spec.alignment import AlignmentSpec
from captionless.spec.data import DataSpec
from captionless.spec.resources import ResourcesSpec
from tests.controller.documents import RIGHT, WRONG, document

_VERSION = crd()["spec"]["versions"][0]
_ROOT: dict[str, Any] = _VERSION["schema"]["openAPIV3Schema"]
_SPEC: dict[str, Any] = _ROOT["properties"]["spec"]


def _verdict(text: str) -> None:
    """What the controller says of a spec: the class, and that pods can share the outputs."""
    given = document(text)
    manifests(load.build_spec({"kind": "Alignment", "metadata": {"name": "run"}, "spec": given}), Operator("i"))


@pytest.mark.parametrize("text", RIGHT.values(), ids=RIGHT)
def test_right(text: str) -> None:
    _verdict(text)


@pytest.mark.parametrize(("text", "field"), WRONG.values(), ids=WRONG)
def test_wrong(text: str, field: str) -> None:
    with pytest.raises(SpecError) as error:
        _verdict(text)
    assert field in str(error.value) or field.rpartition(".")[2] in str(error.value)


def test_the_spec_is_the_class_without_name_and_with_output() -> None:
    fields = {f.alias for f in AlignmentSpec.model_fields.values()}
    assert set(_SPEC["properties"]) == fields - {"name"}
    assert _SPEC["required"] == ["output", "data"]
    assert _SPEC["properties"]["output"]["minLength"] == 1
    assert _ROOT["properties"]["metadata"]["properties"]["name"]["maxLength"] == 40


def test_what_may_change_has_no_transition_rule_and_all_else_has() -> None:
    held = {r["fieldPath"].lstrip(".") for r in _SPEC["x-kubernetes-validations"] if "oldSelf" in r["rule"]}
    assert held == set(_SPEC["properties"]) - set(MUTABLE)
    for name in ("resources", "data"):
        assert "oldSelf" not in json.dumps(_SPEC["properties"][name])


def test_rules_are_reported_with_field_and_reason() -> None:
    rules = _find(_SPEC)
    assert len(rules) == 42 + len(set(_SPEC["properties"]) - set(MUTABLE))
    for rule in rules:
        assert rule["message"]
        assert rule["fieldPath"].startswith(".")
        assert rule["reason"] in ("FieldValueInvalid", "FieldValueRequired", "FieldValueForbidden")


def _find(node: Any) -> list[dict[str, Any]]:
    if isinstance(node, list):
        return [r for n in node for r in _find(n)]
    if not isinstance(node, dict):
        return []
    own = node.get("x-kubernetes-validations", [])
    return [*own, *(r for k, n in node.items() if k != "x-kubernetes-validations" for r in _find(n))]


def test_an_absent_field_counts_as_its_default() -> None:
    assert value(ResourcesSpec, "nodes") == "(has(self.nodes) ? self.nodes : 1)"
    assert value(AlignmentSpec, "data.source.kind") == "self.data.source.kind"
    assert value(AlignmentSpec, "train.weights").endswith("? self.train.weights : ['avg'])")
    assert value(AlignmentSpec, "data.points") == "(has(self.data.points) ? self.data.points : 10000)"
    assert value(DataSpec, "split") == "(has(self.split) ? self.split : 'hash')"


def test_a_status_of_the_contract_fits() -> None:
    """The status as the controller writes it, checked by the schema as the API server would."""
    status = {
        "observedGeneration": 3,
        "conditions": [
            {
                "type": "Succeeded",
                "status": "Unknown",
                "reason": "Running",
                "message": "train-avg-seed0",
                "observedGeneration": 3,
                "lastTransitionTime": "2026-11-21T12:00:00Z",
            }
        ],
        "stage": "train-avg-seed0",
        "progress": "63%",
        "top1": "93.3",
        "startTime": "2026-11-21T12:00:00Z",
        "stages": [{"name": "pack", "state": "Succeeded", "attempt": 1, "job": "r-pack-1", "done": 4, "total": 4}],
        "results": [{"run": "avg-seed0", "figures": [{"name": "zero_shot/top1", "value": "93.3"}]}],
    }
    schema = _ROOT["properties"]["status"]
    Draft202012Validator.check_schema(schema)
    validate(status, schema)
    with pytest.raises(ValidationError):
        validate({**status, "stages": [{"name": "pack", "state": "Done"}]}, schema)


def test_the_columns_read_fields_of_the_status() -> None:
    columns = {c["name"]: c for c in _VERSION["additionalPrinterColumns"]}
    assert [n for n, c in columns.items() if not c.get("priority")] == ["Status", "Stage", "Progress", "Top1", "Age"]
    for name in ("Stage", "Progress", "Top1"):
        assert columns[name]["jsonPath"].removeprefix(".status.") in _ROOT["properties"]["status"]["properties"]
