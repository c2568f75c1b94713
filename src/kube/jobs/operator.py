"""Who makes a stage's objects, and for whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from captionless.kube.jobs.names import GROUP

VERSION, KIND, PLURAL = f"{GROUP}/v1alpha1", "Alignment", "alignments"


@dataclass(frozen=True)
class Operator:
    """What the operator (or `captionless render`) brings where a spec leaves it open.

    wait_inputs: how long a stage waits for what it reads, as `30m`; empty where somebody else keeps the order.
    """

    image: str
    image_pull_policy: str = "IfNotPresent"
    pushgateway: str = ""
    wait_inputs: str = ""


@dataclass(frozen=True)
class Owner:
    """The Alignment that the objects belong to. Without a `uid` (rendered manifests) nothing owns them."""

    name: str
    namespace: str = ""
    uid: str = ""

    def metadata(self, name: str, labels: dict[str, str]) -> dict[str, Any]:
        """An object's metadata; it is removed with its owner by the garbage collector."""
        found: dict[str, Any] = {"name": name, "labels": dict(labels)}
        if self.namespace:
            found["namespace"] = self.namespace
        if self.uid:
            owner = {"apiVersion": VERSION, "kind": KIND, "name": self.name, "uid": self.uid}
            found["ownerReferences"] = [{**owner, "controller": True, "blockOwnerDeletion": False}]
        return found
