"""The CustomResourceDefinition of Alignment: the schema and rules of its spec, and the schema of its status.

The status follows the API conventions: conditions with one summary (`Succeeded`), possibly fractional numbers
as strings, lists keyed by the names of their items. Only the controller writes it, through
the status subresource. Until then it has a default: to kstatus, an object without any status is finished.
"""

from __future__ import annotations

from typing import Any

from captionless.kube import schema
from captionless.kube.cel_validation import rules
from captionless.kube.jobs.names import GROUP
from captionless.kube.jobs.operator import KIND, PLURAL, VERSION
from captionless.spec.alignment import AlignmentSpec


def crd() -> dict[str, Any]:
    """The CustomResourceDefinition, an apiextensions.k8s.io/v1 object."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["align"],
                "categories": ["captionless"],
            },
            "versions": [
                {
                    "name": VERSION.removeprefix(f"{GROUP}/"),
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": _columns(),
                    "schema": {"openAPIV3Schema": _root()},
                }
            ],
        },
    }


def _root() -> schema.Schema:
    """The spec is the class's without `name`, which is the object's, and `output` is required."""
    spec = schema.structural(AlignmentSpec, rules())
    # It is the prefix of the Jobs' names, and a pod's host name has at most 63 characters.
    name = {k: v for k, v in spec["properties"].pop("name").items() if k != "description"}
    spec["properties"]["output"] |= {
        "description": "Where the outputs are stored: s3://bucket/folder, or a path below a volume of `pods.volumes`.",
        "minLength": 1,
    }
    return {
        "description": "An Alignment is a run: it aligns a 3D point-cloud encoder to CLIP, stage by stage, as Jobs.",
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object", "properties": {"name": name}},
            "spec": {**spec, "required": ["output", *spec["required"]]},
            "status": _status(),
        },
    }


def _columns() -> list[dict[str, Any]]:
    summary = '.status.conditions[?(@.type=="Succeeded")]'
    progressing = '.status.conditions[?(@.type=="Progressing")]'
    wide = (("Progressing", f"{progressing}.reason"), ("Message", f"{summary}.message"))
    return [
        {"name": "Status", "type": "string", "jsonPath": f"{summary}.reason"},
        {"name": "Stage", "type": "string", "jsonPath": ".status.stage"},
        {"name": "Progress", "type": "string", "jsonPath": ".status.progress"},
        {"name": "Top1", "type": "string", "jsonPath": ".status.top1"},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        *({"name": n, "type": "string", "jsonPath": p, "priority": 1} for n, p in wide),
    ]


def _status() -> schema.Schema:
    unobserved = {"observedGeneration": -1}
    found = _object(
        "The state last observed by the controller.",
        {
            "observedGeneration": {
                **_count("The generation of the spec that this status describes; -1: no controller has seen it yet."),
                "minimum": unobserved["observedGeneration"],
            },
            "conditions": _list(
                "Succeeded (the summary), Ready, Reconciling, Stalled, Suspended, Progressing, Observed, Pinned.",
                _condition(),
                "type",
            ),
            "stage": _text("The stage that is running or has failed."),
            "progress": _text("Progress of that stage, e.g. `63%`."),
            "top1": _text("Zero-shot top-1 accuracy of the spec's first training, in percent."),
            "startTime": _time("When the first Job was created."),
            "completionTime": _time("When the run succeeded or failed."),
            "retry": _text("The last value of the annotation captionless.dev/retry that was acted upon."),
            "pinned": _pinned(),
            "stages": _list("The stages of the plan, in order.", _stage(), "name"),
            "results": _list("The evaluation results of each training.", _result(), "run"),
        },
    )
    return {**found, "default": unobserved}


def _pinned() -> schema.Schema:
    image = {"image": _text("The reference."), "imageID": _text("What it led to, on a node.")}
    return _object(
        "What the run was made with, and goes on with whatever the operator.",
        {
            "operator": _text("The version of the operator that made the run; empty: one that did not record it."),
            "image": _text("The operator's image then, for pods without `pods.image`."),
            "imagePullPolicy": _text("The operator's pull policy then."),
            "stages": _described("The plan.", {"type": "array", "items": {"type": "string"}}),
            "written": _described(
                "Digests of the fields of the spec that were set.",
                {"type": "object", "additionalProperties": {"type": "string"}},
            ),
            "defaults": _described(
                "The values of the fields of the spec that were not set.",
                {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            ),
            "images": _described(
                "What pods have run.", {"type": "array", "items": _object("", image, ["image", "imageID"])}
            ),
        },
    )


def _stage() -> schema.Schema:
    return _object(
        "",
        {
            "name": _text("The name, as in `captionless plan`."),
            "state": _text("The state of the stage.", enum=["Waiting", "Running", "Suspended", "Succeeded", "Failed"]),
            "attempt": _count("The number of the current attempt, from 1; each has its own Job."),
            "job": _text("The Job (or JobSet) of this attempt."),
            "done": _count("Units done, out of `total`."),
            "total": _count("Units in total."),
            "unit": _text("What is counted: objects, steps etc."),
            "failures": _count("Failed pods of this attempt, without disruptions."),
            "disruptions": _count("Pods that were evicted, preempted or lost with their node, over all attempts."),
            "disruptionsWithoutProgress": _count(
                "Events that disrupted pods since the stage last made progress beyond `reached` or `completed`."
            ),
            "disruptedAt": _time("When the last of these events began."),
            "reached": _count("Durable progress: units done; for a training, the step of the last checkpoint."),
            "completed": _count("Pods of this stage that finished their share."),
            "startTime": _time("When the stage first started."),
            "completionTime": _time("When the stage succeeded or failed."),
            "reason": _text("Why it failed, in one word: LossNotFinite, DataError, OOMKilled etc."),
            "message": _text("Why it is waiting or has failed, in one line."),
        },
        required=["name", "state"],
    )


def _result() -> schema.Schema:
    value = {"name": _text("For example `zero_shot/top1`."), "value": _text("A number.")}
    figures = _list("The figures.", _object("", value, ["name", "value"]), "name")
    return _object("", {"run": _text("The training, for example `avg-seed0`."), "figures": figures}, ["run"])


def _condition() -> schema.Schema:
    """metav1.Condition, with its limits."""
    return _object(
        "",
        {
            "type": _text("", maxLength=316),
            "status": _text("", enum=["True", "False", "Unknown"]),
            "observedGeneration": _count(""),
            "lastTransitionTime": _time(""),
            "reason": _text("", minLength=1, maxLength=1024, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"),
            "message": _text("", maxLength=32768),
        },
        required=["type", "status", "lastTransitionTime", "reason", "message"],
    )


def _object(description: str, properties: dict[str, Any], required: list[str] | None = None) -> schema.Schema:
    return _described(
        description, {"type": "object", **({"required": required} if required else {}), "properties": properties}
    )


def _list(description: str, items: schema.Schema, key: str) -> schema.Schema:
    keyed = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}
    return _described(description, {"type": "array", **keyed, "items": items})


def _text(description: str, **limits: Any) -> schema.Schema:
    return _described(description, {"type": "string", **limits})


def _time(description: str) -> schema.Schema:
    return _text(description, format="date-time")


def _count(description: str) -> schema.Schema:
    return _described(description, {"type": "integer", "format": "int64", "minimum": 0})


def _described(description: str, found: schema.Schema) -> schema.Schema:
    return {"description": description, **found} if description else found
