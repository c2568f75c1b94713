"""Waiting in a Kueue queue: the label, and suspended at creation.

From then on `spec.suspend` belongs to the queue. A JobSet carries the label itself and its Jobs do not, or
they would be queued a second time.
"""

from __future__ import annotations

from typing import Any

LABEL = "kueue.x-k8s.io/queue-name"


def queued(manifest: dict[str, Any], queue: str) -> dict[str, Any]:
    """The Job or JobSet as it is made for a queue; as it is without one."""
    if not queue:
        return manifest
    metadata = {**manifest["metadata"], "labels": {**manifest["metadata"]["labels"], LABEL: queue}}
    return {**manifest, "metadata": metadata, "spec": {**manifest["spec"], "suspend": True}}
