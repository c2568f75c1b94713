"""The operator's settings for a stage's objects, and their owner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from captionless.kube.jobs.names import GROUP

VERSION, KIND, PLURAL = f"{GROUP}/v1alpha1", "Alignment", "alignments"


@dataclass(frozen=True)
class Operator:
    """The operator's (or `captionless render`'s) defaults for what a spec leaves open.

    wait_inputs: how long a stage waits for its inputs, e.g. `30m`; empty if somebody else enforces the order.
    allow_pod_patches: whether runs may have `pods.patch`.
    """

    image: str
    image_pull_policy: str = "IfNotPresent"
    pushgateway: str = ""
    wait_inputs: str = ""
    allow_pod_patches: bool = False


@dataclass(frozen=True)
class Owner:
    """The Alignment that owns the objects. Without a `uid` (rendered manifests) nothing owns them."""

    name: str
    namespace: str = ""
    uid: str = ""

    def metadata(self, name: str, labels: dict[str, str]) -> dict[str, Any]:
        """An object's metadata; the garbage collector deletes it with its owner."""
        found: dict[str, Any] = {"name": name, "labels": dict(labels)}
        if self.namespace:
            found["namespace"] = self.namespace
        if self.uid:
            owner = {"apiVersion": VERSION, "kind": KIND, "name": self.name, "uid": self.uid}
            found["ownerReferences"] = [{**owner, "controller": True, "blockOwnerDeletion": False}]
        return found
