"""Where pods may run: node selector, tolerations, and the topology domain of a training."""

from __future__ import annotations

from typing import Any

from captionless.spec.pods import PodSettings, Toleration

_AWAY = 30
"""Seconds that a pod stays on a node that is not ready or unreachable; the default of 300 would idle a gang."""


def placement(pods: PodSettings, gang: dict[str, str] | None, gpu: bool) -> dict[str, Any]:
    """The fields of a pod's spec that place it. `gang` selects the pods that belong in one domain, `gpu` is whether it
    requests a GPU."""
    lost = [
        {"key": f"node.kubernetes.io/{k}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": _AWAY}
        for k in ("not-ready", "unreachable")
    ]
    tolerated = (*pods.tolerations, *(pods.gpu.tolerations if gpu else ()))
    found: dict[str, Any] = {"tolerations": [*map(_toleration, tolerated), *lost]}
    selector = {**pods.node_selector, **(pods.gpu.node_selector if gpu else {})}
    if selector:
        found["nodeSelector"] = selector
    if pods.priority_class:
        found["priorityClassName"] = pods.priority_class
    if gang and pods.topology_key:
        found["affinity"] = {"podAffinity": _together(pods, gang)}
    return found


def _together(pods: PodSettings, selector: dict[str, str]) -> dict[str, Any]:
    # The scheduler lets the first pod satisfy a required self-affinity, and so choose the domain.
    term = {"labelSelector": {"matchLabels": selector}, "topologyKey": pods.topology_key}
    if pods.topology == "required":
        return {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
    return {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": term}]}


def _toleration(given: Toleration) -> dict[str, Any]:
    found: dict[str, Any] = {"operator": given.operator}
    found |= {k: v for k, v in (("key", given.key), ("value", given.value), ("effect", given.effect)) if v}
    if given.toleration_seconds >= 0:
        found["tolerationSeconds"] = given.toleration_seconds
    return found
