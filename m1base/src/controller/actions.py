"""The actions that the controller can take on a run."""

from __future__ import annotations

from dataclasses import dataclass

from captionless.kube.observed_state import Workload
from captionless.spec.plan import Stage


@dataclass(frozen=True)
class Create:
    """Create a stage's objects for an attempt. `disruptions` is how many there were in earlier attempts."""

    stage: Stage
    attempt: int
    disruptions: int = 0


@dataclass(frozen=True)
class Delete:
    """Delete a Job (or JobSet) with its pods, and wait until these are gone."""

    workload: Workload
    why: str


@dataclass(frozen=True)
class Remove:
    """Delete the Alignment, with all that it owns."""

    why: str


Action = Create | Delete | Remove
