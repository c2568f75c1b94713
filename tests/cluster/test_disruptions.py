"""What goes wrong in a cluster, in turn and in the middle of a training: the result is the undisturbed one.

The trainings are of runs on a copy of the finished run's embeddings and similarity, so that their pods begin
with the training. What is lost and how long it takes is asked of the training's own pods.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests import pace
from tests.cluster.alignments import SMALL, TRAINING, Alignment, Position, merged
from tests.cluster.cluster import Cluster
from tests.cluster.conftest import called
from tests.cluster.operator import Operator, Reference
from tests.cluster.test_run import figures

EVERY = SMALL["train"]["checkpointEvery"]
TIMEOUT = SMALL["train"]["collectiveTimeout"]
RESUMED = 30.0  # seconds from a disruption until the training does its next step, as promised


@pytest.fixture
def training(
    cluster: Cluster, namespace: str, operator: Operator, precomputed: str, request: pytest.FixtureRequest
) -> Alignment:
    """A run that trains; its earlier stages find nothing to do."""
    folder = called(request, 40)
    copy(cluster, precomputed, folder)
    spec = merged(SMALL, {"output": cluster.url(folder), "resources": {"workers": 1}})
    return Alignment.apply(cluster, namespace, folder, spec)


def copy(
    cluster: Cluster,
    source: str,
    target: str,
    stages: Sequence[str] = ("list", "pack", "embed", "landmarks", "similarity"),
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


def in_the_middle(run: Alignment, intervals: int) -> Position:
    """The training, half a checkpoint interval after so many of them, with the newest one that is stored by then."""
    found = run.wait_step(intervals * EVERY + EVERY // 2, 120)
    return replace(found, stored=run.wait_for("a checkpoint", lambda: newest_checkpoint(run), 60))


def newest_checkpoint(run: Alignment) -> int:
    """The step of the newest checkpoint on S3; 0 when there is none."""
    prefix = f"{run.cluster.prefix}/{run.name}/{run.training.replace('-', '/', 1)}/checkpoints/step-"
    listed = run.cluster.s3.list_objects_v2(Bucket=run.cluster.bucket, Prefix=prefix).get("Contents", [])
    return max((int(o["Key"].removeprefix(prefix).partition("-")[0]) for o in listed), default=0)


def resumes(run: Alignment, before: Position, what: str, promised: float = RESUMED) -> None:
    """Asserts that another pod or round does a step, from the newest checkpoint on; how long that takes is promised."""
    began = time.monotonic()

    def further() -> Position | None:
        now = run.position()
        return now if now.step > before.stored and (now.pod, now.round) != (before.pod, before.round) else None

    now = run.wait_for(f"{what}: the training to resume after step {before.stored}", further, 2 * promised)
    pace.took(f"{what} at step {before.step}: resumed", time.monotonic() - began, promised)
    steps = re.findall(r"after step (\d+) of", run.kubectl("logs", now.pod))
    assert steps, "it started from scratch"
    assert int(steps[-1]) >= before.stored


def undisturbed(cluster: Cluster, run: Alignment, reference: Reference) -> None:
    """The run succeeds, and its figures are the undisturbed one's."""
    run.wait_succeeded(180)
    assert figures(cluster, run.name) == reference.figures


def test_a_training_disturbed_in_turn(cluster: Cluster, training: Alignment, reference: Reference) -> None:
    """Pod 0 is deleted, another pod is, a rank is stopped, the storage is unreachable for half a minute."""
    for index, intervals in ((0, 1), (1, 3)):
        before = in_the_middle(training, intervals)
        training.kubectl("delete", "pod", training.running(TRAINING, index), "--wait=false")
        resumes(training, before, f"pod {index} deleted")

    before = in_the_middle(training, 5)
    stop_a_rank(training, training.running(TRAINING, 1))
    training.wait_condition("Progressing", "False", 2 * TIMEOUT, "NoProgress")
    resumes(training, before, "a rank stopped", 2 * TIMEOUT)

    in_the_middle(training, 8)  # far from the end: a fast machine does the rest in seconds
    with cluster.without_s3():
        training.wait_condition("Progressing", "True", 30)
        time.sleep(30)  # the outage itself
    undisturbed(cluster, training, reference)


def stop_a_rank(run: Alignment, pod: str, name: str = "SIGSTOP") -> None:
    """A signal for the rank in the pod: SIGSTOP, as a hang of its GPU or network would look, or SIGCONT."""
    stop = (
        "import os,signal\n"
        "for p in filter(str.isdigit, os.listdir('/proc')):\n"
        "    if b'captionless.trainer.worker' in open(f'/proc/{p}/cmdline','rb').read().split(b'\\0') "
        "and b'torch.distributed.run' not in open(f'/proc/{p}/cmdline','rb').read():\n"
        f"        os.kill(int(p), signal.{name})\n"
        f"        print('{name}', p)\n"
    )
    assert run.kubectl("exec", pod, "--", "python", "-c", stop).startswith(name)


@pytest.mark.soak
def test_a_run_under_constant_disturbance(
    cluster: Cluster, namespace: str, operator: Operator, reference: Reference
) -> None:
    """From its first stage on: the controller is killed in each, a pod that embeds and both that train are lost."""
    spec = merged(SMALL, {"output": cluster.url("disturbed"), "resources": {"workers": 2}})
    run = Alignment.apply(cluster, namespace, "disturbed", spec)
    killed = set()

    def kill_the_controller() -> list[str]:
        found = [s["name"] for s in run.status.get("stages", []) if s["state"] == "Running" and s["name"] not in killed]
        if found:
            killed.update(found)
            operator.kill()
        return found

    def trains() -> bool:
        if "embed" in kill_the_controller():
            run.kubectl("delete", "pod", run.running("embed", 1), "--wait=false")
        return TRAINING in killed

    run.wait_for("the training to start", trains, 300)

    before = in_the_middle(run, 3)
    evicted = run.running(TRAINING, 1)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": evicted}}
    path = f"/api/v1/namespaces/{namespace}/pods/{evicted}/eviction"
    cluster.kubectl("create", "--raw", path, "-f", "-", input=json.dumps(eviction))
    resumes(run, before, "pod 1 evicted")

    before = in_the_middle(run, 8)
    run.kubectl("delete", "pod", run.running(TRAINING, 0), "--force", "--grace-period=0")
    resumes(run, before, "pod 0 deleted by force")
    run.wait_for("the evaluation to start", lambda: "eval" in kill_the_controller(), 180)

    undisturbed(cluster, run, reference)
    assert run.stage(TRAINING).get("disruptions", 0) >= 1
    jobs = cluster.get("jobs", namespace=namespace)
    stages = [j["metadata"]["labels"]["captionless.dev/stage"] for j in jobs]
    assert len(stages) == len(set(stages)), "a stage has two Jobs"
    assert len(killed) >= 6, killed
