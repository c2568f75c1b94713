"""Other keepers of a gang: a Kueue queue (by its contract) and JobSet (by its own controller)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.alignments import SMALL, Alignment, merged
from tests.cluster.cluster import Cluster
from tests.cluster.operator import Operator, Reference
from tests.cluster.test_disruptions import copy
from tests.cluster.test_run import figures


@pytest.fixture(scope="module")
def runs(cluster: Cluster, operator: Operator, precomputed: str) -> Iterator[dict[str, Alignment]]:
    """A run in a queue, and one that trains in a JobSet, at the same time: the first mostly waits."""
    changes: dict[str, dict[str, Any]] = {
        "queued": {"queue": "lab", "train": {"steps": 3000, "weights": ["uniform"]}},  # few stages to be let go
        "jobset": {"train": {"engine": "jobset"}},
    }
    with cluster.namespace("engines") as namespace:
        found = {}
        for name, different in changes.items():
            copy(cluster, precomputed, name)
            spec = merged(SMALL, {"output": cluster.url(name), "resources": {"workers": 1}})
            described = merged(spec, different)
            training = f"train-{described['train']['weights'][0]}-seed0"
            found[name] = Alignment.apply(cluster, namespace, name, described, training)
        yield found


def test_a_queue_decides_when_a_job_runs(cluster: Cluster, runs: dict[str, Alignment]) -> None:
    """Kueue's part is played here: it sets `suspend` and nothing else does."""
    run = runs["queued"]
    try:
        _admit_preempt_and_readmit(cluster, run)
    finally:
        run.kubectl("delete", "alignment", run.name, "--wait=false")  # leaves the processors to the other


def _admit_preempt_and_readmit(cluster: Cluster, run: Alignment) -> None:
    namespace = run.namespace

    def job() -> str:
        found = cluster.get("jobs", namespace=namespace, selector=f"captionless.dev/alignment={run.name}")
        found = [j for j in found if not j["status"].get("completionTime")]
        return str(found[0]["metadata"]["name"]) if found else ""

    def suspend(name: str, value: str) -> None:
        run.kubectl("patch", "job", name, "--type=merge", "-p", f'{{"spec":{{"suspend":{value}}}}}')

    released: set[str] = set()

    def release() -> bool:
        name = job()
        if name and name not in released:
            found = cluster.get("jobs", name, namespace)
            assert found["spec"]["suspend"] is True
            assert found["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "lab"
            released.add(name)
            suspend(name, "false")
        return run.stage(run.training)["state"] == "Running" and run.steps() > 5

    run.wait_for("the training to be admitted and to do 5 steps", release, 240)
    name = str(run.stage(run.training)["job"])
    suspend(name, "true")  # preempted
    run.wait_condition("Succeeded", "Unknown", 60, "Queued")
    run.wait_for(
        "the preempted training's pods to end",
        lambda: not [p for p in run.pods(run.training) if p["status"]["phase"] == "Running"],
        60,
    )
    reached = run.steps()
    suspend(name, "false")
    run.wait_for(f"the training to resume after step {reached}", lambda: run.steps() > reached, 90)
    assert run.stage(run.training)["job"] == name  # the same Job, neither recreated nor changed


def test_a_training_as_a_jobset(cluster: Cluster, runs: dict[str, Alignment], reference: Reference) -> None:
    run = runs["jobset"]
    run.wait_succeeded(180)
    [made] = cluster.get("jobsets", namespace=run.namespace)
    assert made["status"]["terminalState"] == "Completed"
    assert figures(cluster, "jobset") == reference.figures
