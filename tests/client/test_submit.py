"""What becomes an Alignment, what may be changed in it, and what is refused before and by the server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from captionless.client.submit import check, differences
from captionless.errors import SpecError
from captionless.spec import load
from tests.client.api import Server, status
from tests.client.command import k8s
from tests.client.objects import SPEC, alignment, condition, pod, stage

TEXT = """
name: demo
output: s3://b/demo
data: {source: {kind: parametric}}
clip: {model: captionless-demo, batch_size: 8}
"""


@pytest.fixture
def spec(tmp_path: Path) -> str:
    path = tmp_path / "demo.yaml"
    path.write_text(TEXT)
    return str(path)


def stored(server: Server) -> dict[str, Any]:
    return server.objects["alignments"]["demo"]


def test_only_what_was_written_is_sent_in_kubernetes_names(server: Server, spec: str) -> None:
    ended = k8s("submit", spec, "--set", "train.steps=7", "--image", "repo/img:1")
    assert ended.code == 0, ended
    assert stored(server)["spec"] == {
        "output": "s3://b/demo",
        "data": {"source": {"kind": "parametric"}},
        "clip": {"model": "captionless-demo", "pretrained": "", "batchSize": 8},
        "train": {"steps": 7},
        "pods": {"image": "repo/img:1"},
    }
    assert ended.out.splitlines() == [
        "alignment demo created in namespace lab", "next: captionless k8s status demo --watch",
    ]  # fmt: skip


def test_the_same_spec_changes_nothing_though_written_otherwise(server: Server, spec: str) -> None:
    k8s("submit", spec)
    before = stored(server)
    ended = k8s("submit", spec, "--set", "train.steps=10000")  # the default
    assert "with the same spec" in ended.out
    assert stored(server) == before
    assert server.sent("PATCH") == []


def test_what_may_be_changed_is_patched_alone(server: Server, spec: str) -> None:
    k8s("submit", spec, "--set", "resources.workers=3", "--set", "resources.memory=8Gi")
    ended = k8s("submit", spec, "--set", "resources.workers=5", "--set", "suspend=true")
    changes = "resources.workers: 3 -> 5, resources.memory: 8Gi -> 4Gi, suspend: false -> true"
    assert ended.out.splitlines()[0] == f"alignment demo changed: {changes}"
    assert stored(server)["spec"]["resources"] == {"workers": 5}
    assert stored(server)["spec"]["suspend"] is True
    k8s("submit", spec)
    assert "suspend" not in stored(server)["spec"]
    assert "resources" not in stored(server)["spec"]


def test_what_may_not_be_changed_is_listed_field_by_field(server: Server, spec: str) -> None:
    k8s("submit", spec)
    ended = k8s("submit", spec, "--set", "train.steps=7", "--set", "suspend=true", "--set", "output=s3://u:pw@b/x")
    assert ended.code == 64
    assert "train.steps: 10000 -> 7" in ended.error
    assert "suspend" not in ended.error
    assert "captionless k8s cancel demo" in ended.error
    assert "pw" not in ended.error
    assert server.sent("PATCH") == []


def test_values_of_variables_are_not_shown() -> None:
    secret = {**SPEC, "pods": {"env": [{"name": "TOKEN", "value": "hush"}]}}
    (found,) = differences(SPEC, secret, "demo")
    assert "hush" not in str(found)
    assert "pods.env" in str(found)


def test_a_spec_of_another_version_is_compared_as_it_stands() -> None:
    old = {**SPEC, "data": {"source": {"kind": "parametric"}, "fromTheFuture": 1}}
    assert [d.path for d in differences(old, SPEC, "demo")][:1] == ["data.fromTheFuture"]


def test_somebody_elses_change_meanwhile_is_not_overwritten(server: Server, spec: str) -> None:
    k8s("submit", spec)
    server.refusals["PATCH", "alignments"] = (409, status(409, "Conflict", "the object has been modified"))
    ended = k8s("submit", spec, "--set", "suspend=true")
    assert (ended.code, ended.error) == (1, "the object has been modified")


def test_one_that_is_being_deleted_is_waited_for(server: Server, spec: str) -> None:
    found = alignment()
    found["metadata"]["deletionTimestamp"] = "2026-11-21T10:00:00Z"
    server.put(found)
    ended = k8s("submit", spec)
    assert ended.code == 1
    assert "is being deleted" in ended.error


def test_a_dry_run_makes_nothing(server: Server, spec: str) -> None:
    assert "would be created" in k8s("submit", spec, "--dry-run", "server").out
    printed = yaml.safe_load(k8s("submit", spec, "--dry-run", "client").out)
    assert (printed["kind"], printed["metadata"], printed["spec"]["output"]) == (
        "Alignment", {"name": "demo"}, "s3://b/demo",
    )  # fmt: skip
    assert server.objects["alignments"] == {}


def test_an_alignments_own_namespace_and_labels_are_kept(server: Server, tmp_path: Path) -> None:
    metadata = {"name": "demo", "namespace": "other", "labels": {"team": "a"}, "uid": "x"}
    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump({"kind": "Alignment", "metadata": metadata, "spec": SPEC}))
    k8s("submit", str(path))
    ((where, body),) = server.sent("POST")
    assert "/namespaces/other/" in where
    assert body["metadata"] == {"name": "demo", "labels": {"team": "a"}}


def test_without_the_operator_it_says_how_to_install_it_or_do_without(server: Server, spec: str) -> None:
    server.installed = False
    ended = k8s("submit", spec)
    assert ended.code == 64
    assert "helm install" in ended.error
    assert "captionless render" in ended.error


def test_a_missing_namespace_says_how_to_make_it(server: Server, spec: str) -> None:
    server.refusals["POST", "alignments"] = (404, status(404, "NotFound", 'namespaces "lab" not found'))
    ended = k8s("submit", spec)
    assert ended.code == 64
    assert "kubectl create namespace lab" in ended.error


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["output=runs/x"], "output: runs/x"),
        (["eval.prompt=papr"], 'prompt "papr"'),
        (["clip.model=ViT-Q"], '"ViT-Q"'),
        (["data.source.kind=folder", "data.source.url=meshes", "train.weights=[i2i]"], "data.source.url: meshes"),
        (["data.allow=[s3://bucket/textures, textures]"], "data.allow: textures"),
        (["landmarks.origin=file", "landmarks.file=/l.jsonl"], "landmarks.file: /l.jsonl"),
        (["train.batches={kind: neighbours, from: near}"], "train.batches.from: near"),
        (
            [
                "data.source={kind: folder, url: /v/m}",
                "train.weights=[i2i]",
                "pods.volumes=[{mountPath: /v, claim: c}]",
                "pods.stages=[{stage: pack, volumes: []}]",
            ],
            "data.source.url: /v/m is a local path, which the pods of pack cannot access",
        ),
    ],
    ids=["output", "prompt", "model", "source", "allow", "landmarks", "neighbours", "stage"],
)
def test_what_pods_cannot_access_is_reported_before_they_run(overrides: list[str], named: str) -> None:
    with pytest.raises(SpecError) as caught:
        check(load.build_spec(yaml.safe_load(TEXT), overrides))
    assert named in str(caught.value)


@pytest.mark.parametrize(
    "overrides",
    [
        ["landmarks.origin=file", "landmarks.file=/v/l.jsonl", "pods.volumes=[{mountPath: /v, claim: c}]"],
        ["landmarks.origin=file", "landmarks.file=/in/the/image.jsonl", "pods.image=mine"],
        ["clip.model=local-dir:/models/x"],
        [
            "landmarks.origin=file",
            "landmarks.file=/v/l.jsonl",
            "pods.stages=[{stage: landmarks, volumes: [{mountPath: /v, claim: c}]}]",
        ],
    ],
    ids=["volume", "image", "local-dir", "stage"],
)
def test_places_within_pods_are_not_looked_for_here(overrides: list[str]) -> None:
    check(load.build_spec(yaml.safe_load(TEXT), overrides))


_PATCH = "pods.patch='spec: {template: {spec: {schedulerName: volcano}}}'"


def test_patches_of_pods_are_tried_before_anything_is_made(server: Server, spec: str) -> None:
    said = 'Job.batch "demo-list-1" is invalid: spec.template.spec.schedulerName'
    server.refusals["POST", "jobs"] = (422, status(422, "Invalid", said))
    ended = k8s("submit", spec, "--set", _PATCH)
    assert ended.code == 64
    assert ended.error == f"pods.patch: the API server rejects a Job of list with it: {said}"
    assert server.objects["alignments"] == {}
    del server.refusals["POST", "jobs"]
    server.requests.clear()
    assert k8s("submit", spec, "--set", _PATCH).code == 0
    tried = [(path, body["metadata"]["name"]) for path, body in server.sent("POST") if "/jobs" in path]
    assert [n for _, n in tried] == [
        "demo-list-1", "demo-pack-1", "demo-embed-1", "demo-landmarks-1", "demo-similarity-i2i-1",
        "demo-train-avg-seed0-1", "demo-eval-1",
    ]  # fmt: skip
    assert all("dryRun=All" in path and "fieldValidation=Strict" in path for path, _ in tried)
    assert server.objects["jobs"] == {}


def test_without_permission_to_make_jobs_patches_are_left_to_the_operator(server: Server, spec: str) -> None:
    denied = (
        'jobs.batch is forbidden: User "ann" cannot create resource "jobs" in API group "batch" in the namespace "lab"'
    )
    server.refusals["POST", "jobs"] = (403, status(403, "Forbidden", denied))
    assert k8s("submit", spec, "--set", _PATCH).code == 0
    server.refusals["POST", "jobs"] = (403, status(403, "Forbidden", "admission policy forbids hostNetwork"))
    ended = k8s("submit", spec, "--set", _PATCH, "--set", "name=other")
    assert (ended.code, "admission policy forbids hostNetwork" in ended.error) == (64, True)


def test_a_patch_that_changes_what_the_operator_relies_on_is_refused_here(server: Server, spec: str) -> None:
    patch = "pods.patch='spec: {template: {spec: {restartPolicy: OnFailure}}}'"
    ended = k8s("submit", spec, "--set", patch)
    assert ended.code == 64
    assert ended.error.startswith("pods.patch: spec.template.spec.restartPolicy: must stay")
    assert server.requests == []


def test_waiting_ends_as_the_run_does(server: Server, spec: str) -> None:
    """The exit code is that of the pods that failed."""
    k8s("submit", spec)
    failed = condition("Succeeded", "False", "StageFailed", "embed: shard 2: object o7 is broken")
    current = {"observedGeneration": 1, "conditions": [failed], "stages": [stage("embed", "Failed")]}
    server.put({**stored(server), "status": current})
    server.put(pod("embed", 2, "Failed", code=65))
    ended = k8s("submit", spec, "--wait")
    assert ended.code == 65
    assert "embed: shard 2: object o7 is broken" in ended.error
