"""The API server holds Alignments to what the spec's classes hold them to: by field, at admission."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config

from captionless.kube.crd import crd
from tests.cluster.cluster import Cluster, minutes
from tests.controller.documents import RIGHT, WRONG, document

_NAME = crd()["metadata"]["name"]


@pytest.fixture(scope="module")
def lab(cluster: Cluster) -> Iterator[str]:
    """A namespace on a cluster that has the CRD; one that was not there before is removed again."""
    new = not cluster.kubectl("get", "crd", _NAME, "--ignore-not-found")
    if new:
        cluster.kubectl("create", "-f", str(Path(__file__).parents[2] / "k8s" / "crd.yaml"))
    cluster.kubectl("wait", "--for=condition=Established", f"crd/{_NAME}", f"--timeout={minutes(1)}")
    cluster.kubectl("get", "alignments", "--all-namespaces")  # kubectl's discovery has it now
    with cluster.namespace("crd", credentials=False) as name:
        yield name
    if new:
        cluster.kubectl("delete", "crd", _NAME)


@pytest.fixture(scope="module")
def api(cluster: Cluster) -> client.CustomObjectsApi:
    """The API without kubectl, which takes half a second to start."""
    return client.CustomObjectsApi(config.new_client_from_config(cluster.variables["KUBECONFIG"]))


@dataclass
class Asked:
    """Dry runs, as strict as `captionless k8s submit`."""

    api: client.CustomObjectsApi
    namespace: str

    def create(self, spec: dict[str, Any], name: str = "run") -> str:
        kind = {"apiVersion": "captionless.dev/v1alpha1", "kind": "Alignment"}
        return self._said(self.api.create_namespaced_custom_object, {**kind, "metadata": {"name": name}, "spec": spec})

    def change(self, name: str, changes: dict[str, Any]) -> str:
        """By a merge patch, in which null removes."""
        call = self.api.patch_namespaced_custom_object
        return self._said(call, {"spec": changes}, name, _content_type="application/merge-patch+json")

    def _said(self, call: Any, body: dict[str, Any], *name: str, **options: Any) -> str:
        """What the API server says; empty when it accepts."""
        where = ("captionless.dev", "v1alpha1", self.namespace, "alignments")
        try:
            call(*where, *name, body, dry_run="All", field_validation="Strict", **options)
        except client.ApiException as error:
            return str(json.loads(error.body)["message"])
        return ""


@pytest.fixture(scope="module")
def asked(api: client.CustomObjectsApi, lab: str) -> Asked:
    return Asked(api, lab)


@pytest.mark.parametrize("text", RIGHT.values(), ids=RIGHT)
def test_right(asked: Asked, text: str) -> None:
    assert asked.create(document(text)) == ""


@pytest.mark.parametrize(("text", "field"), WRONG.values(), ids=WRONG)
def test_wrong(asked: Asked, text: str, field: str) -> None:
    assert f"spec.{field}" in asked.create(document(text))


@pytest.mark.parametrize("name", ["a" * 41, "1st", "a.b", "a-"], ids=["too-long", "digit-first", "dot", "dash-last"])
def test_a_name_that_could_not_begin_a_jobs(asked: Asked, name: str) -> None:
    assert "metadata.name" in asked.create(document("{}"), name)
    assert asked.create(document("{}"), "a" * 40) == ""


def test_only_what_may_change_does(cluster: Cluster, asked: Asked, lab: str) -> None:
    """A suspended Alignment, so that nothing comes of it where a controller runs."""
    spec = document("{suspend: true, train: {steps: 100}, pods: {labels: {team: a}}, resources: {workers: 2}}")
    kind = {"apiVersion": "captionless.dev/v1alpha1", "kind": "Alignment"}
    cluster.apply(lab, {**kind, "metadata": {"name": "held"}, "spec": spec})
    changes: list[tuple[dict[str, Any], str]] = [
        ({"suspend": False}, ""),
        ({"ttlSecondsAfterFinished": 60}, ""),
        ({"resources": {"workers": 8, "memory": "8Gi"}}, ""),
        ({"resources": None}, ""),
        ({"train": {"steps": 200}}, "spec.train: Forbidden"),
        ({"train": None}, "spec.train: Forbidden"),
        ({"eval": {"prompt": "ensemble"}}, "spec.eval: Forbidden"),
        ({"clip": {"model": "captionless-demo"}}, "spec.clip: Forbidden"),
        ({"landmarks": {"count": 2}}, "spec.landmarks: Forbidden"),
        ({"similarity": {"crossCategorySim": 0.5}}, "spec.similarity: Forbidden"),
        ({"data": {"source": {"kind": "parametric", "seed": 1}}}, "spec.data: Forbidden"),
        ({"output": "s3://bucket/other"}, "spec.output: Forbidden"),
        ({"pods": {"labels": {"team": "b"}}}, "spec.pods: Forbidden"),
        ({"pods": None}, "spec.pods: Forbidden"),
        ({"queue": "team-a"}, "spec.queue: Forbidden"),
    ]
    for change, refusal in changes:
        said = asked.change("held", change)
        assert refusal in said if refusal else said == "", f"{change}: {said or 'accepted'}"


def test_kubectl_explains_the_fields(cluster: Cluster, lab: str) -> None:
    explained = cluster.kubectl("explain", "alignment.spec.train.checkpointEvery")
    assert "checkpointEvery <integer>" in explained
    assert "Default: 200." in explained
