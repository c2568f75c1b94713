"""What cannot work: refused at admission by field, or reported by condition and event, as promised within a minute."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from tests import pace
from tests.cluster.alignments import SMALL, TRAINING, Alignment, merged
from tests.cluster.cluster import Cluster, CommandFailed, minutes
from tests.cluster.operator import Operator
from tests.cluster.test_disruptions import copy

MINUTE = 60.0


@pytest.fixture(scope="module", autouse=True)
def deletion(cluster: Cluster, operator: Operator) -> Iterator[Future[float]]:
    """The seconds that it takes to delete a namespace with a run whose image does not exist. The deletion starts before
    the first test here, because Kubernetes takes its time over it."""

    def delete() -> float:
        began = time.monotonic()
        cluster.kubectl("delete", "namespace", namespace, f"--timeout={minutes(2)}")
        return time.monotonic() - began

    with cluster.namespace("goes") as namespace, ThreadPoolExecutor(1) as beside:
        changes = {"output": cluster.url("goes"), "pods": {"image": "localhost/no-such-image:1"}}
        run = Alignment.apply(cluster, namespace, "goes", merged(SMALL, changes))
        run.wait_for("pods of list", lambda: run.pods("list"), 30)
        yield beside.submit(delete)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        pytest.param({"train": {"wieghts": ["avg"]}}, "wieghts", id="unknown-field"),
        pytest.param({"train": {"steps": 0}}, "spec.train.steps", id="no-steps"),
        pytest.param({"train": {"weights": ["best"]}}, "spec.train.weights", id="unknown-weights"),
        pytest.param({"data": {"source": {"kind": "folder"}}}, "url", id="folder-without-url"),
        pytest.param({"train": {"points": 100_000}}, "points", id="more-points-than-data"),
        pytest.param({"resources": {"minNodes": 5}}, "minNodes", id="more-min-nodes-than-nodes"),
        pytest.param({"resources": {"memory": "lots"}}, "spec.resources.memory", id="memory-not-a-quantity"),
        pytest.param({"output": ""}, "spec.output", id="no-output"),
    ],
)
def test_a_bad_spec_is_refused_by_field(
    cluster: Cluster, namespace: str, operator: Operator, changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(CommandFailed) as refused:
        Alignment.apply(cluster, namespace, "bad", merged(merged(SMALL, {"output": cluster.url("bad")}), changes))
    assert field in str(refused.value)


def test_what_a_spec_says_cannot_be_changed_but_its_resources_can(
    cluster: Cluster, namespace: str, operator: Operator
) -> None:
    run = Alignment.apply(cluster, namespace, "fixed", merged(SMALL, {"output": cluster.url("fixed"), "suspend": True}))
    with pytest.raises(CommandFailed, match=r"spec\.train"):
        run.kubectl("patch", "alignment", run.name, "--type=merge", "-p", '{"spec":{"train":{"steps":7}}}')
    run.kubectl("patch", "alignment", run.name, "--type=merge", "-p", '{"spec":{"resources":{"workers":2}}}')
    run.wait_condition("Succeeded", "Unknown", 30, "Suspended")
    assert not cluster.get("jobs", namespace=namespace)


# (name, changes, condition, status, what the message names); all start at once and are reported within a minute.
CASES: list[tuple[str, dict[str, Any], str, str, tuple[str, ...]]] = [
    ("no-bucket", {"output": "s3://no-such-bucket/x"}, "Succeeded", "False", ("no-such-bucket",)),
    ("denied", {"pods": {"credentialsSecret": "wrong-key"}}, "Succeeded", "False", ("denied",)),
    ("bad-image", {"pods": {"image": "localhost/no-such-image:1"}}, "Progressing", "False", ("no-such-image",)),
    ("too-large", {"resources": {"memory": "900Gi"}}, "Progressing", "False", ("memory",)),
    ("no-secret", {"pods": {"credentialsSecret": "missing"}}, "Progressing", "False", ("missing",)),
]


def test_each_cause_is_named_within_a_minute(cluster: Cluster, namespace: str, operator: Operator) -> None:
    wrong = {**cluster.s3_variables, "AWS_SECRET_ACCESS_KEY": "not-the-key"}
    cluster.apply(
        namespace, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "wrong-key"}, "stringData": wrong}
    )
    runs = {
        name: Alignment.apply(cluster, namespace, name, merged(merged(SMALL, {"output": cluster.url(name)}), changes))
        for name, changes, *_ in CASES
    }
    began = time.monotonic()
    for name, _, kind, status, words in CASES:
        found = runs[name].wait_condition(kind, status, MINUTE)
        pace.took(f"{name}: {kind}={status}", time.monotonic() - began, MINUTE)
        assert all(w in found["message"] for w in words), f"{name}: {found}"
        story = runs[name].kubectl("describe", "alignment", name)
        assert all(w in story.partition("Events:")[2] for w in words), f"{name}: no event names it\n{story}"
    for name in ("no-bucket", "denied"):  # 64: tried once
        assert {p["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"] for p in runs[name].pods("list")}
        assert len(runs[name].pods("list")) == 1
        assert "not-the-key" not in runs[name].story()


def test_a_corrupt_shard_fails_alone(cluster: Cluster, namespace: str, operator: Operator, precomputed: str) -> None:
    copy(cluster, precomputed, "corrupt", stages=("list", "pack"))
    prefix = f"{cluster.prefix}/corrupt/pack/train/"
    listed = cluster.s3.list_objects_v2(Bucket=cluster.bucket, Prefix=prefix)["Contents"]
    key = next(o["Key"] for o in listed if o["Key"].endswith(".tar"))
    cluster.s3.put_object(Bucket=cluster.bucket, Key=key, Body=b"not a shard any more")
    run = Alignment.apply(cluster, namespace, "corrupt", merged(SMALL, {"output": cluster.url("corrupt")}))
    found = run.wait_condition("Succeeded", "False", 120)
    assert key.rpartition("/")[2] in found["message"]
    stage = run.stage("pack") if run.stage("pack")["state"] == "Failed" else run.stage("embed")
    assert stage["state"] == "Failed"
    job = cluster.get("jobs", stage["job"], namespace)
    assert len(job["status"]["failedIndexes"].replace("-", ",").split(",")) == 1
    assert job["status"]["succeeded"] == 3
    assert len(run.pods(stage["name"])) == 4  # 65: its index is not tried again
    assert run.stage(TRAINING)["state"] == "Waiting"


def test_one_bad_run_does_not_stop_another(
    cluster: Cluster, namespace: str, operator: Operator, precomputed: str
) -> None:
    """An object that has the name of one run's Job is reported, and the next run continues."""
    cluster.apply(
        namespace,
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "clash-list-1"},
            "data": {"somebody": "else's"},
        },
    )
    clash = Alignment.apply(cluster, namespace, "clash", merged(SMALL, {"output": cluster.url("clash")}))
    other = Alignment.apply(cluster, namespace, "other", merged(SMALL, {"output": cluster.url("other")}))
    other.wait_for("list to start", lambda: other.stage("list")["state"] in ("Running", "Succeeded"), MINUTE)
    clash.wait_for("`clash-list-1` in its status", lambda: "clash-list-1" in str(clash.status), MINUTE)


def test_a_namespace_goes_with_its_runs(deletion: Future[float]) -> None:
    """Kubernetes deletes pods first, and a Job keeps its failed pods until it may replace them: the operator helps."""
    pace.took("a namespace with a run: deleted", deletion.result(), MINUTE)
