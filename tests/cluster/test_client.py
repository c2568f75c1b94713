"""`captionless k8s` and `captionless render` as a person types them, on a real API server with real pods."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from captionless.client.alignment_view import find
from captionless.kube.api_errors import NoSuchKind
from captionless.kube.connection import connect
from tests import pace
from tests.cluster.alignments import SMALL, Alignment, merged
from tests.cluster.cluster import Cluster
from tests.cluster.operator import Operator
from tests.cluster.test_disruptions import copy

CAPTIONLESS = Path(sys.executable).parent / "captionless"
FAILS = "no-such-bucket-at-all"


def k8s(cluster: Cluster, namespace: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """What `captionless k8s ...` printed, and its exit code. The keys of S3 are the pods' alone."""
    command, *rest = arguments
    return cluster.run(
        "env", "-u", "AWS_ACCESS_KEY_ID", "-u", "AWS_SECRET_ACCESS_KEY", CAPTIONLESS, "k8s", command, "-n", namespace,
        *rest, check=False,
    )  # fmt: skip


def written(folder: Path, name: str, changes: dict[str, Any]) -> Path:
    """A spec's file."""
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({"name": name, **merged(SMALL, changes)}))
    return path


def test_a_run_that_cannot_work_is_submitted_watched_read_and_cancelled(
    cluster: Cluster, namespace: str, operator: Operator, tmp_path: Path
) -> None:
    spec = written(tmp_path, "lost", {"output": f"s3://{FAILS}/x", "landmarks": {"count": 8}})
    ended = k8s(cluster, namespace, "submit", spec, "--wait")
    assert ended.returncode == 64, ended
    assert {"lost", namespace} <= set(ended.stdout.splitlines()[0].split())
    assert FAILS in ended.stderr.splitlines()[-1]

    again = k8s(cluster, namespace, "submit", spec)
    assert again.returncode == 0, again
    assert "lost" in again.stdout
    other = k8s(cluster, namespace, "submit", spec, "--set", "train.steps=7")
    assert other.returncode == 64
    assert "train.steps: 200 -> 7" in other.stderr
    allowed = k8s(cluster, namespace, "submit", spec, "--set", "ttlSecondsAfterFinished=86400")
    assert "ttlSecondsAfterFinished: -1 -> 86400" in allowed.stdout, allowed
    assert Alignment(cluster, namespace, "lost").get()["spec"]["ttlSecondsAfterFinished"] == 86400

    listed = k8s(cluster, namespace, "status").stdout
    assert "StageFailed" in listed
    assert FAILS in k8s(cluster, namespace, "status", "lost").stdout
    read = k8s(cluster, namespace, "logs", "lost")
    assert FAILS in read.stdout, read
    assert "64" in read.stderr

    gone = k8s(cluster, namespace, "cancel", "lost", "--yes")
    assert gone.returncode == 0, gone
    left = cluster.kubectl("get", "alignments,jobs,pods", "-n", namespace, "-o", "name")
    assert left == ""


def test_a_finished_run_shows_its_stages_figures_and_logs(cluster: Cluster, helm_run: Alignment) -> None:
    shown = k8s(cluster, helm_run.namespace, "status", helm_run.name)
    assert shown.returncode == 0, shown
    stages = [s["name"] for s in helm_run.status["stages"]]
    assert [line.split()[:2] for line in shown.stdout.splitlines()[1 : 1 + len(stages)]] == [
        [s, "done"] for s in stages
    ]
    figures = {f["name"]: f["value"] for f in helm_run.status["results"][0]["figures"]}
    row = next(line for line in shown.stdout.splitlines() if line.startswith("avg-seed0"))
    assert row.split()[1:] == list(figures.values())
    watched = k8s(cluster, helm_run.namespace, "status", helm_run.name, "--watch")
    assert watched.returncode == 0, watched
    document = json.loads(k8s(cluster, helm_run.namespace, "status", helm_run.name, "-o", "json").stdout)
    assert document["status"]["results"] == helm_run.status["results"]
    lines = k8s(cluster, helm_run.namespace, "logs", helm_run.name, "--stage", "pack", "--follow").stdout.splitlines()
    assert {line.split()[0] for line in lines} == {f"[pack/{i}]" for i in range(SMALL["resources"]["workers"])}


def test_rendered_jobs_are_followed_over_a_pods_replacement(
    cluster: Cluster, namespace: str, operator: Operator, precomputed: str, tmp_path: Path
) -> None:
    """Without an Alignment; the pod that is deleted has begun, and its replacement's lines follow."""
    copy(cluster, precomputed, "plain", stages=("list",))
    spec = written(tmp_path, "plain", {"output": cluster.url("plain"), "pods": {"credentialsSecret": "s3"}})
    rendered = cluster.run(
        CAPTIONLESS, "render", spec, "--stage", "pack", "--image", cluster.image, "--set", "resources.workers=1"
    )
    cluster.kubectl("apply", "-n", namespace, "-f", "-", input=rendered.stdout)

    def running() -> list[dict[str, Any]]:
        found = cluster.get("pods", namespace=namespace)
        return [p for p in found if p["status"]["phase"] == "Running" and "deletionTimestamp" not in p["metadata"]]

    first = cluster.wait_for("a pod of pack to run", running, state=lambda: cluster.explain(namespace))[0]
    name = first["metadata"]["name"]
    command = [str(CAPTIONLESS), "k8s", "logs", "plain", "-n", namespace, "--follow"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(cluster.variables)) as following:
        cluster.kubectl("delete", "pod", "-n", namespace, name, "--wait=false")
        printed, _ = pace.communicate(following, 180, "`captionless k8s logs --follow` to end with the Job")
    assert following.returncode == 0
    last = cluster.kubectl("logs", "-n", namespace, "-l", "captionless.dev/stage=pack", "--tail=-1").splitlines()
    assert [line.removeprefix("[pack/0] ") for line in printed.splitlines()][-len(last) :] == last


def test_a_forbidden_user_reads_which_permission_is_missing(
    cluster: Cluster, namespace: str, operator: Operator, tmp_path: Path
) -> None:
    cluster.kubectl("create", "serviceaccount", "ann", "-n", namespace)
    token = cluster.kubectl("create", "token", "ann", "-n", namespace).strip()
    config = yaml.safe_load(cluster.kubectl("config", "view", "--raw", "--minify", "--flatten"))
    config["users"][0]["user"] = {"token": token}
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    spec = written(tmp_path, "mine", {"output": "s3://b/x"})
    for command, verb in ((("status",), "list"), (("submit", spec), "get"), (("logs", "mine"), "list pods")):
        arguments = [str(a) for a in (*command, "-n", namespace)]
        ended = cluster.run("env", f"KUBECONFIG={path}", CAPTIONLESS, "k8s", *arguments, check=False)
        assert ended.returncode == 64
        assert f"system:serviceaccount:{namespace}:ann" in ended.stderr
        assert verb in ended.stderr
        assert token not in ended.stderr


def test_a_kind_that_is_not_served_means_no_operator(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the API server answers before the CRD is there."""
    monkeypatch.setenv("KUBECONFIG", cluster.variables["KUBECONFIG"])
    monkeypatch.setattr(
        "captionless.kube.api._CUSTOM", {"Alignment": ("not-installed.captionless.dev/v1alpha1", "alignments")}
    )
    client = connect()
    with pytest.raises(NoSuchKind, match="helm install"):
        list(client.list("Alignment"))
    with pytest.raises(NoSuchKind, match="helm install"):
        find(client, "x")
