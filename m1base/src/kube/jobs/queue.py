"""Queueing by Kueue: the queue's label, and suspended at creation.

From then on Kueue owns `spec.suspend`. Only a JobSet carries the label, not its Jobs, or
they would be queued a second time.
"""

from __future__ import annotations

from typing import Any

LABEL = "kueue.x-k8s.io/queue-name"


def queued(manifest: dict[str, Any], queue: str) -> dict[str, Any]:
    """The Job or JobSet for a queue; unchanged without one."""
    if not queue:
        return manifest
    metadata = {**manifest["metadata"], "labels": {**manifest["metadata"]["labels"], LABEL: queue}}
    return {**manifest, "metadata": metadata, "spec": {**manifest["spec"], "suspend": True}}
