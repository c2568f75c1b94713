"""Cancelling a run: its Alignment is deleted, and the garbage collector deletes its Jobs and pods.

Its outputs stay, so the same spec submitted again resumes from them.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from captionless.client import alignment_view
from captionless.client.alignment_view import AlignmentView
from captionless.client.watch_feed import WatchFeed
from captionless.errors import Interrupted
from captionless.kube.jobs.operator import KIND
from captionless.runtime.signals import Stopped
from captionless.terminal.live_view import LiveView

if TYPE_CHECKING:
    from captionless.kube.api import KubernetesApi, Object

_OVERDUE = 60.0
"""Seconds after a pod's grace period until its node is considered lost."""


def cancel(api: KubernetesApi, run: AlignmentView, view: LiveView) -> None:
    """Deletes the Alignment and waits until all its Jobs and pods are gone."""
    if api.delete(KIND, api.namespace, run.name, run.found["metadata"]["uid"]) is None:
        view.say(f"alignment {run.name} was already deleted")
    try:
        _wait(api, run, view)
    except (KeyboardInterrupt, Stopped):
        raise Interrupted(f"stopped waiting; {run.name} is still being deleted") from None


def _wait(api: KubernetesApi, run: AlignmentView, view: LiveView) -> None:
    """Waits until the run has neither Jobs, which could create pods, nor pods, which could still write."""
    labels = alignment_view.selector(run.name)
    seen: dict[str, dict[str, Object]] = {}
    shown = ""
    with WatchFeed(api, {k: api.snapshots(k, labels) for k in ("Job", "Pod")}, tick=5.0) as feed:
        for event in feed:
            if event is not None:
                seen[event[0]] = event[1]
            if len(seen) == 2 and not any(seen.values()):
                return
            words = _waiting_for(seen.get("Pod", {}))
            if words and words != shown:
                view.say(f"{run.name}: {words}")
            shown = words


def _waiting_for(found: dict[str, Object]) -> str:
    pods = alignment_view.pods(found.values())
    overdue = next((p for p in pods if p.deleting and time.time() > p.deleting.timestamp() + _OVERDUE), None)
    if overdue is not None:
        return (
            f"node {overdue.node} does not confirm the termination of pod {overdue.name}; "
            f"if the node is gone for good: kubectl delete node {overdue.node}"
        )
    many = "1 pod" if len(pods) == 1 else f"{len(pods)} pods"
    return f"waiting for {many} to save a checkpoint and terminate" if pods else ""
