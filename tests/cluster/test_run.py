"""The product's promise: `helm install` the operator and a run, and the figures are those of this machine."""

from __future__ import annotations

import json
from typing import Any

import yaml

from tests.cluster.alignments import SMALL, TRAINING, Alignment
from tests.cluster.cluster import Cluster, minutes
from tests.cluster.operator import Operator, Reference


def test_the_run_succeeds_with_four_shards_and_two_training_pods(cluster: Cluster, helm_run: Alignment) -> None:
    cluster.wait("condition=Succeeded", f"alignment/{helm_run.name}", helm_run.namespace)
    for stage in ("pack", "embed", "similarity-i2i", "similarity-i2l"):
        indices = {p["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"] for p in helm_run.pods(stage)}
        assert indices == {"0", "1", "2", "3"}, stage
    # Once node 0 has ended well the Job is done, and may remove the other pod: events tell of both.
    events = cluster.get("events", namespace=helm_run.namespace)
    started = {e["involvedObject"]["name"] for e in events if e["reason"] == "Started"}
    job = helm_run.stage(TRAINING)["job"]
    assert {n.removeprefix(f"{job}-").partition("-")[0] for n in started if n.startswith(f"{job}-")} == {"0", "1"}


def test_the_figures_are_the_local_runners(cluster: Cluster, helm_run: Alignment, reference: Reference) -> None:
    assert figures(cluster, "helm") == reference.figures


def test_status_and_columns_show_the_outcome(cluster: Cluster, helm_run: Alignment, reference: Reference) -> None:
    status = helm_run.status
    top1 = reference.figures["runs"]["avg"]["0"]["zero_shot"]["top1"]
    assert abs(float(status["top1"]) - 100 * top1) < 0.06
    assert all(s["state"] == "Succeeded" for s in status["stages"])
    assert status["observedGeneration"] == helm_run.get()["metadata"]["generation"]
    header, line = helm_run.kubectl("get", "alignments").splitlines()[:2]
    assert header.split() == ["NAME", "STATUS", "STAGE", "PROGRESS", "TOP1", "AGE"]
    assert line.split()[1] == "Completed"
    assert status["top1"] in line
    story = helm_run.kubectl("describe", "alignment", helm_run.name)
    for reason in ("StageStarted", "StageSucceeded", "Completed"):
        assert reason in story


def test_metrics_are_in_prometheus(cluster: Cluster, helm_run: Alignment) -> None:
    name = helm_run.name

    def seen(expression: str) -> list[dict[str, Any]]:
        return cluster.wait_for(f"Prometheus to have {expression}", lambda: cluster.query(expression))

    units = f'captionless_stage_units_done{{captionless_dev_alignment="{name}"}}'
    stages = {f["metric"]["stage"] for f in seen(f"last_over_time({units}[1h])")}
    assert TRAINING in stages
    [pushed] = seen(f'captionless_eval_zero_shot_top1_ratio{{alignment="{name}",run="avg-seed0"}}')
    assert abs(100 * float(pushed["value"][1]) - float(helm_run.status["top1"])) < 0.06


def test_nothing_carries_a_finalizer_or_a_secret(cluster: Cluster, helm_run: Alignment) -> None:
    key = cluster.variables["AWS_SECRET_ACCESS_KEY"]
    found = helm_run.kubectl("get", "alignments,jobs,pods,configmaps,services,events", "-o", "yaml")
    assert key not in found
    assert "finalizers" not in helm_run.get()["metadata"]
    assert key not in helm_run.story()


def test_uninstalling_leaves_what_is_said(cluster: Cluster, helm_run: Alignment, operator: Operator) -> None:
    cluster.helm("uninstall", helm_run.name, "-n", helm_run.namespace, "--wait", "--timeout", minutes(2))

    def left() -> list[str]:
        kinds = cluster.kubectl("api-resources", "--namespaced", "--verbs=list", "-o", "name").split()
        listed = cluster.kubectl("get", ",".join(kinds), "-n", helm_run.namespace, "-o", "json", "--ignore-not-found")
        items = json.loads(listed)["items"] if listed else []
        ours = [i for i in items if "captionless" in yaml.safe_dump(i["metadata"].get("labels") or {})]
        return [f"{i['kind']}/{i['metadata']['name']}" for i in ours if i["kind"] != "Event"]

    cluster.wait_for("the run's objects to be gone", lambda: not left(), 90, state=left)


def figures(cluster: Cluster, folder: str) -> dict[str, Any]:
    """The figures of a run's results.json on S3."""
    body = cluster.s3.get_object(Bucket=cluster.bucket, Key=f"{cluster.prefix}/{folder}/eval/results.json")["Body"]
    found: dict[str, Any] = json.loads(body.read())["figures"]
    return found


__all__ = ["SMALL"]
