"""The CustomResourceDefinition of Alignment: the spec's schema and rules, and the shape of its status.

The status follows the API conventions: conditions with one summary (`Succeeded`), numbers that may be fractions
as strings, lists keyed by what names their items. It is written by the controller alone, through
the status subresource.
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
    """The spec is the class's without `name`, which is the object's, and with an `output`."""
    spec = schema.structural(AlignmentSpec, rules())
    # The name begins those of the Jobs, and a pod's host name has 63 characters at most.
    name = {k: v for k, v in spec["properties"].pop("name").items() if k != "description"}
    spec["properties"]["output"] |= {
        "description": "Where the run's outputs go: s3://bucket/folder, or a path below a volume of `pods.volumes`.",
        "minLength": 1,
    }
    return {
        "description": "Alignment is a run: it aligns a 3D point-cloud encoder to CLIP, stage by stage, as Jobs.",
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
    wide = (("Reason", f"{summary}.reason"), ("Message", f"{summary}.message"))
    return [
        {"name": "Stage", "type": "string", "jsonPath": ".status.stage"},
        {"name": "Progress", "type": "string", "jsonPath": ".status.progress"},
        {"name": "Top1", "type": "string", "jsonPath": ".status.top1"},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        *({"name": n, "type": "string", "jsonPath": p, "priority": 1} for n, p in wide),
    ]


def _status() -> schema.Schema:
    return _object(
        "What the controller saw last.",
        {
            "observedGeneration": _count("The generation of the spec that this status is about."),
            "conditions": _list("Succeeded (the summary), Suspended and Stalled.", _condition(), "type"),
            "stage": _text("The stage at work, or the one that failed."),
            "progress": _text("How far that stage is, as `63%`."),
            "top1": _text("Zero-shot top-1 accuracy in percent of the spec's first training."),
            "startTime": _time("When the first Job was made."),
            "completionTime": _time("When the run ended, well or not."),
            "retry": _text("The value of the annotation captionless.dev/retry that was acted upon last."),
            "stages": _list("The plan's stages, in its order.", _stage(), "name"),
            "results": _list("The figures of each training, once evaluated.", _result(), "run"),
        },
    )


def _stage() -> schema.Schema:
    return _object(
        "",
        {
            "name": _text("As in `captionless plan`."),
            "state": _text("", enum=["Waiting", "Running", "Suspended", "Succeeded", "Failed"]),
            "attempt": _count("Counts the Jobs made for this stage, from 1."),
            "job": _text("The Job (or JobSet) of this attempt."),
            "done": _count("Units that are done, of `total`."),
            "total": _count(""),
            "unit": _text("What is counted: objects, steps and so on."),
            "failures": _count("Pods of this attempt that failed by a fault."),
            "disruptions": _count("Pods that were evicted, preempted or lost their node, over all attempts."),
            "disruptionsWithoutProgress": _count("Disruptions since the stage last got further than `reached`."),
            "reached": _count("How far it is for good: units done, in a training the step of a checkpoint."),
            "startTime": _time(""),
            "completionTime": _time(""),
            "reason": _text("Why it failed, in a word: LossNotFinite, DataError, OOMKilled and so on."),
            "message": _text("Why it waits or failed, in one line."),
        },
        required=["name", "state"],
    )


def _result() -> schema.Schema:
    figure = _object("", {"name": _text("As `zero_shot/top1`."), "value": _text("A number.")}, ["name", "value"])
    return _object("", {"run": _text("As `avg-seed0`."), "figures": _list("", figure, "name")}, ["run"])


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
    return _told(
        description, {"type": "object", **({"required": required} if required else {}), "properties": properties}
    )


def _list(description: str, items: schema.Schema, key: str) -> schema.Schema:
    keyed = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}
    return _told(description, {"type": "array", **keyed, "items": items})


def _text(description: str, **limits: Any) -> schema.Schema:
    return _told(description, {"type": "string", **limits})


def _time(description: str) -> schema.Schema:
    return _text(description, format="date-time")


def _count(description: str) -> schema.Schema:
    return _told(description, {"type": "integer", "format": "int64", "minimum": 0})


def _told(description: str, found: schema.Schema) -> schema.Schema:
    return {"description": description, **found} if description else found
