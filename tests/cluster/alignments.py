"""Alignments as the cluster's tests drive them: applied, watched, disturbed, compared with a local run."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from captionless.kube.jobs.pod import METRICS_PORT
from tests import pace
from tests.cluster.cluster import Cluster

T = TypeVar("T")

# Small enough for minutes on two cores, long enough in training to be disturbed in the middle of it.
SMALL: dict[str, Any] = {
    "data": {
        "source": {
            "kind": "parametric",
            "objects": 64,
            "testObjects": 32,
            "categories": ["chair", "table", "lamp", "bed"],
        },
        "views": 6,
        "imageSize": 64,
        "points": 256,
        "shardObjects": 8,
    },
    "clip": {"model": "captionless-demo"},
    "landmarks": {"count": 16},
    "train": {
        "weights": ["avg"],
        "steps": 200,
        "batchSize": 16,
        "points": 128,
        "encoder": {"width": 8, "nsample": 8},
        "checkpointEvery": 15,
        "collectiveTimeout": pace.scaled(20),
    },
    "resources": {
        "workers": 4,
        "nodes": 2,
        "threads": 1,
        "cpu": "100m",
        "memory": "1Gi",
        "trainMemory": "1536Mi",
        "sharedMemory": "128Mi",
        "ephemeralStorage": "1Gi",
    },
    "pods": {"credentialsSecret": "s3", "graceSeconds": 30},
}
TRAINING = "train-avg-seed0"


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with `changes` laid over it, section by section."""
    found = copy.deepcopy(base)
    for key, value in changes.items():
        mixed = isinstance(value, dict) and isinstance(found.get(key), dict)
        found[key] = merged(found[key], value) if mixed else value
    return found


@dataclass(frozen=True)
class Position:
    """Where a training is by the metrics of its node 0: which pod that is, its round, and how many steps are done.

    stored: the step of its newest checkpoint, where that was looked up.
    """

    pod: str = ""
    round: int = 0
    step: int = 0
    stored: int = 0


@dataclass
class Alignment:
    """An Alignment of the cluster by name."""

    cluster: Cluster
    namespace: str
    name: str
    training: str = TRAINING
    """The stage that trains."""

    @classmethod
    def apply(
        cls, cluster: Cluster, namespace: str, name: str, spec: dict[str, Any], training: str = TRAINING
    ) -> Alignment:
        kind = {"apiVersion": "captionless.dev/v1alpha1", "kind": "Alignment"}
        cluster.apply(namespace, {**kind, "metadata": {"name": name}, "spec": spec})
        return cls(cluster, namespace, name, training)

    def kubectl(self, *arguments: str, check: bool = True) -> str:
        return self.cluster.kubectl("-n", self.namespace, *arguments, check=check)

    def get(self) -> dict[str, Any]:
        found: dict[str, Any] = self.cluster.get("alignments", self.name, self.namespace)
        return found

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.get().get("status") or {}
        return found

    def condition(self, kind: str) -> dict[str, Any]:
        """The condition, or an empty one."""
        return next((c for c in self.status.get("conditions", []) if c["type"] == kind), {"status": "", "reason": ""})

    def stage(self, name: str) -> dict[str, Any]:
        return next((s for s in self.status.get("stages", []) if s["name"] == name), {"state": ""})

    def wait_for(self, what: str, condition: Callable[[], T | None], seconds: float) -> T:
        """The first true result of `condition`; when it does not come, the failure tells the run's `story`."""
        return self.cluster.wait_for(f"{self.name}: {what}", condition, seconds, state=self.story)

    def wait_succeeded(self, seconds: float = 300) -> None:
        """Until Succeeded is True; at once an AssertionError when it becomes False."""

        def ended() -> bool:
            found = self.condition("Succeeded")
            assert found["status"] != "False", f"{self.name} failed: {found}\n{self.story()}"
            return bool(found["status"] == "True")

        self.wait_for("Succeeded=True", ended, seconds)

    def wait_condition(self, kind: str, status: str, seconds: float, reason: str = "") -> dict[str, Any]:
        def met() -> dict[str, Any] | None:
            found = self.condition(kind)
            return found if found["status"] == status and reason in found["reason"] else None

        return self.wait_for(f"{kind}={status} {reason}".strip(), met, seconds)

    def wait_stage(self, name: str, state: str, seconds: float = 180) -> dict[str, Any]:
        self.wait_for(f"stage {name} {state}", lambda: self.stage(name)["state"] == state, seconds)
        return self.stage(name)

    def position(self) -> Position:
        """Where the training is now; an empty one while nobody answers."""
        pod = next(iter(self._running(self.training, 0)), "")
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod}:{METRICS_PORT}/proxy/metrics"
        text = self.cluster.read(path, check=False) if pod else ""
        found = {
            name: int(float(value))
            for name, value in re.findall(r"^captionless_(stage_units_done|train_round)\{.*\} (\S+)$", text, re.M)
        }
        return Position(pod, found.get("train_round", 0), found.get("stage_units_done", 0)) if found else Position()

    def wait_step(self, step: int, seconds: float = 120) -> Position:
        """Until the training has done so many steps."""

        def reached() -> Position | None:
            now = self.position()
            return now if now.step >= step else None

        return self.wait_for(f"step {step} of {self.training}", reached, seconds)

    def steps(self) -> int:
        """How far the training is by the Alignment's status."""
        return int(self.stage(self.training).get("done") or 0)

    def pods(self, stage: str, index: int | None = None) -> list[dict[str, Any]]:
        """The pods of a stage (with a completion index), newest last."""
        selector = f"captionless.dev/alignment={self.name},captionless.dev/stage={stage}"
        if index is not None:
            selector += f",batch.kubernetes.io/job-completion-index={index}"
        found = self.cluster.get("pods", namespace=self.namespace, selector=selector)
        return sorted(found, key=lambda p: str(p["metadata"]["creationTimestamp"]))

    def _running(self, stage: str, index: int) -> list[str]:
        return [
            str(p["metadata"]["name"])
            for p in self.pods(stage, index)
            if p["status"]["phase"] == "Running" and "deletionTimestamp" not in p["metadata"]
        ]

    def running(self, stage: str, index: int) -> str:
        """The name of the running pod of an index; waits until there is one."""
        return self.wait_for(f"pod {index} of {stage} running", lambda: self._running(stage, index), 30)[-1]

    def story(self) -> str:
        """What a person would look at: the status, the events, the pods, the end of their logs."""
        look = [
            self.kubectl("describe", "alignment", self.name, check=False),
            self.kubectl("get", "jobs,pods", "-o", "wide", check=False),
            self.kubectl("logs", "-l", f"captionless.dev/alignment={self.name}", "--tail=15", "--prefix", check=False),
        ]
        return "\n".join(look)
