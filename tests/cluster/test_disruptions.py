"""What goes wrong in a cluster, in turn and in the middle of a training: the result is the undisturbed one.

Each case trains a run of its own on a copy of the finished run's embeddings and similarity, so that its
pods begin with the training.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

import pytest

from tests.cluster.alignments import SMALL, TRAINING, Alignment, merged
from tests.cluster.cluster import Cluster, until
from tests.cluster.conftest import called
from tests.cluster.operator import Operator, Reference
from tests.cluster.test_run import figures

EVERY = SMALL["train"]["checkpointEvery"]
AT = 3 * EVERY + EVERY // 2


@pytest.fixture
def training(
    cluster: Cluster, namespace: str, operator: Operator, precomputed: str, request: pytest.FixtureRequest
) -> Alignment:
    """A run in the middle of its training."""
    folder = called(request, 40)
    copy(cluster, precomputed, folder)
    spec = merged(SMALL, {"output": cluster.url(folder)})
    found = Alignment.apply(cluster, namespace, folder, spec)
    found.wait_step(AT)
    return found


def copy(
    cluster: Cluster, source: str, target: str, stages: Sequence[str] = ("pack", "embed", "landmarks", "similarity")
) -> None:
    """Stages' outputs of one run as those of another."""
    for stage in stages:
        listed = cluster.s3.get_paginator("list_objects_v2").paginate(
            Bucket=cluster.bucket, Prefix=f"{cluster.prefix}/{source}/{stage}/"
        )
        for page in listed:
            for found in page.get("Contents", []):
                key = found["Key"].replace(f"{cluster.prefix}/{source}/", f"{cluster.prefix}/{target}/", 1)
                cluster.s3.copy({"Bucket": cluster.bucket, "Key": found["Key"]}, cluster.bucket, key)


def replaced(run: Alignment, index: int, lost: str) -> float:
    """Seconds from now until another pod of the index has begun and the training is further than it was then."""
    began = time.monotonic()

    def another() -> bool:
        return any(
            p["metadata"]["name"] != lost and p["status"]["phase"] == "Running" for p in run.pods(TRAINING, index)
        )

    until(another, 60, f"another pod {index} than {lost}")
    reached = run.steps()
    until(lambda: run.steps() > reached, 60, f"a step after {reached}")
    return time.monotonic() - began


def undisturbed(cluster: Cluster, run: Alignment, reference: Reference) -> None:
    """The run succeeds, and its figures are the undisturbed one's."""
    run.wait_succeeded(180)
    assert figures(cluster, run.name) == reference.figures


@pytest.mark.parametrize("index", [0, 1])
def test_a_training_pod_deleted(cluster: Cluster, training: Alignment, reference: Reference, index: int) -> None:
    lost = training.running(TRAINING, index)
    training.kubectl("delete", "pod", lost, "--wait=false")
    print(f"index {index} deleted: further after {replaced(training, index, lost):.1f} s")
    undisturbed(cluster, training, reference)


def test_a_training_pod_killed_at_once(cluster: Cluster, training: Alignment, reference: Reference) -> None:
    lost = training.running(TRAINING, 0)
    training.kubectl("delete", "pod", lost, "--force", "--grace-period=0")
    print(f"index 0 killed: further after {replaced(training, 0, lost):.1f} s")
    undisturbed(cluster, training, reference)


def test_a_training_pod_evicted(cluster: Cluster, training: Alignment, reference: Reference) -> None:
    name = training.running(TRAINING, 1)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    path = f"/api/v1/namespaces/{training.namespace}/pods/{name}/eviction"
    cluster.kubectl("create", "--raw", path, "-f", "-", input=json.dumps(eviction))
    print(f"index 1 evicted: further after {replaced(training, 1, name):.1f} s")
    undisturbed(cluster, training, reference)
    assert training.stage(TRAINING).get("disruptions", 0) >= 1


def test_a_rank_that_hangs(cluster: Cluster, training: Alignment, reference: Reference) -> None:
    timeout = SMALL["train"]["collectiveTimeout"]
    stop = (
        "import os,signal\n"
        "for p in filter(str.isdigit, os.listdir('/proc')):\n"
        "    if b'captionless.trainer.worker' in open(f'/proc/{p}/cmdline','rb').read().split(b'\\0') "
        "and b'torch.distributed.run' not in open(f'/proc/{p}/cmdline','rb').read():\n"
        "        os.kill(int(p), signal.SIGSTOP)\n"
    )
    training.kubectl("exec", training.running(TRAINING, 1), "--", "python", "-c", stop)
    training.wait_condition("Stalled", "True", 2 * timeout, "NoProgress")
    reached = training.steps()
    until(lambda: training.steps() > reached, 2 * timeout, f"a step after {reached}")
    training.wait_condition("Stalled", "False", 30)
    undisturbed(cluster, training, reference)


def test_storage_gone_for_half_a_minute(cluster: Cluster, training: Alignment, reference: Reference) -> None:
    with cluster.without_s3():
        time.sleep(30)  # the outage itself
    undisturbed(cluster, training, reference)


def test_the_controller_killed_in_each_stage(
    cluster: Cluster, namespace: str, operator: Operator, reference: Reference
) -> None:
    run = Alignment.apply(cluster, namespace, "killed-controller", merged(SMALL, {"output": cluster.url("killed")}))
    killed = set()

    def disturb() -> bool:
        for stage in run.status.get("stages", []):
            if stage["state"] == "Running" and stage["name"] not in killed:
                killed.add(stage["name"])
                operator.kill()
                if stage["name"] == "embed":  # and a precompute pod with it
                    running = [p for p in run.pods("embed") if p["status"]["phase"] == "Running"]
                    if running:
                        run.kubectl("delete", "pod", running[0]["metadata"]["name"], "--wait=false")
        return bool(run.condition("Succeeded")["status"] == "True")

    until(disturb, 300, "the run to succeed")
    assert figures(cluster, "killed") == reference.figures
    jobs = cluster.get("jobs", namespace=namespace)
    stages = [j["metadata"]["labels"]["captionless.dev/stage"] for j in jobs]
    assert len(stages) == len(set(stages)), "a stage has two Jobs"
    assert len(killed) >= 5, killed
