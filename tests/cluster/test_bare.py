"""`kubectl apply -k k8s/precompute` on a cluster without the operator: the committed manifests, a small world.

It comes first in the alphabet, so that the operator is not there yet.
"""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from tests.cluster.cluster import Cluster

K8S = Path(__file__).parents[2] / "k8s"
SMALLER = (
    "data.source.objects=64", "data.source.testObjects=32", "data.source.categories=[chair,table,lamp,bed]",
    "data.views=6", "data.imageSize=64", "data.points=256", "data.shardObjects=8", "landmarks.count=16",
    "train.points=128",
)  # fmt: skip


def overlay(cluster: Cluster, folder: Path, base: str, output: str) -> Path:
    """A kustomization of a committed folder for this cluster: its image, its Secret, a smaller world, less room."""
    container = "/spec/template/spec/containers/0"
    patch = [
        {"op": "add", "path": f"{container}/args/-", "value": f"--set={s}"} for s in (*SMALLER, f"output={output}")
    ]
    patch += [
        {"op": "replace", "path": f"{container}/envFrom/0/secretRef/name", "value": "s3"},
        {"op": "replace", "path": f"{container}/resources/requests/cpu", "value": "100m"},
    ]
    for kind in ("requests", "limits"):
        patch.append({"op": "replace", "path": f"{container}/resources/{kind}/memory", "value": "1Gi"})
    name, _, tag = cluster.image.rpartition(":")
    (folder / "kustomization.yaml").write_text(
        yaml.safe_dump(
            {
                "resources": [str(Path("base") / base)],
                "images": [{"name": "ghcr.io/captionless/captionless", "newName": name, "newTag": tag}],
                "patches": [{"target": {"kind": "Job"}, "patch": json.dumps(patch)}],
            }
        )
    )
    (folder / "base").mkdir()
    for source in (K8S / base).iterdir():
        copy = folder / "base" / base / source.name
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(source.read_bytes())
    return folder


def test_precompute_runs_without_the_operator(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    groups = cluster.kubectl("api-versions").split()
    assert not [g for g in groups if g.startswith("captionless.dev/")], "the operator's CRD is installed"
    output = cluster.url("bare")
    cluster.kubectl("apply", "-n", namespace, "-k", str(overlay(cluster, tmp_path, "precompute", output)))
    jobs = cluster.get("jobs", namespace=namespace)
    completions = {j["metadata"]["labels"]["captionless.dev/stage"]: j["spec"]["completions"] for j in jobs}
    alone = {"list": 1, "landmarks": 1}
    assert completions == {stage: alone.get(stage, 4) for stage in completions}

    def finished() -> bool:
        found = cluster.get("jobs", namespace=namespace)
        ended = {c["type"] for j in found for c in j["status"].get("conditions", []) if c["status"] == "True"}
        assert "Failed" not in ended, cluster.explain(namespace)
        return all(j["status"].get("succeeded") == j["spec"]["completions"] for j in found)

    cluster.wait_for("all precompute Jobs to complete", finished, 240, state=lambda: cluster.explain(namespace))
    for metric in ("i2i", "i2l"):
        listed = cluster.s3.list_objects_v2(Bucket=cluster.bucket, Prefix=f"{cluster.prefix}/bare/similarity/{metric}/")
        names = [o["Key"].rpartition("/")[2] for o in listed["Contents"]]
        assert "similarity.json" in names
        assert "manifest.json" in names
