"""Builds a stage's objects from a few overrides."""

from __future__ import annotations

from typing import Any

from captionless.kube.jobs import Operator, Owner, stage_objects
from captionless.spec import load
from captionless.spec.alignment import AlignmentSpec
from captionless.spec.plan import plan

OPERATOR = Operator("captionless:test")
OWNER = Owner("shapes", "lab", "uid-1")


def spec(*overrides: str) -> AlignmentSpec:
    document = {"name": "shapes", "output": "s3://bucket/shapes", "data": {"source": {"kind": "parametric"}}}
    return load.build_spec(document, ["train.weights=[avg]", *overrides])


def objects(stage: str, *overrides: str, operator: Operator = OPERATOR, owner: Owner = OWNER) -> list[dict[str, Any]]:
    built = spec(*overrides)
    return stage_objects(owner, built, next(s for s in plan(built) if s.name == stage), 1, operator)


def job(stage: str, *overrides: str) -> dict[str, Any]:
    return objects(stage, *overrides)[-1]


def pod(stage: str, *overrides: str) -> dict[str, Any]:
    found: dict[str, Any] = job(stage, *overrides)["spec"]["template"]["spec"]
    return found


def container(stage: str, *overrides: str) -> dict[str, Any]:
    found: dict[str, Any] = pod(stage, *overrides)["containers"][0]
    return found
