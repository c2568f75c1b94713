"""The pod template: what runs, as whom, with what."""

from __future__ import annotations

from typing import Any

from captionless.kube.jobs import Operator
from tests.kube.jobs.build import container, job, objects, pod


def _env(found: dict[str, Any]) -> dict[str, str]:
    return {e["name"]: e.get("value", e.get("valueFrom")) for e in found["env"]}


def test_the_command_is_the_stages_own() -> None:
    assert container("similarity-i2l")["args"] == ["similarity", "--metric", "i2l", "/etc/captionless/spec.yaml"]
    assert _env(container("embed", "resources.workers=7"))["CAPTIONLESS_SHARDS"] == "7"
    assert "CAPTIONLESS_RENDEZVOUS" not in _env(container("embed"))
    training = _env(container("train-avg-seed0", "resources.nodes=2"))
    assert training["CAPTIONLESS_RENDEZVOUS"] == "shapes-train-avg-seed0-1-0.shapes-train-avg-seed0-1:29400"
    assert "CAPTIONLESS_SHARDS" not in training


def test_stages_wait_for_their_inputs_where_nobody_keeps_the_order() -> None:
    alone = Operator("i", wait_inputs="30m")

    def args(stage: str) -> list[str]:
        made = objects(stage, operator=alone)[-1]
        found: list[str] = made["spec"]["template"]["spec"]["containers"][0]["args"]
        return found

    assert args("embed")[-2:] == ["--wait-inputs", "30m"]
    assert "--wait-inputs" not in args("list")  # reads no stage
    assert "--wait-inputs" not in container("embed")["args"]


def test_pods_meet_the_restricted_standard() -> None:
    for stage in ("pack", "train-avg-seed0", "eval"):
        found = pod(stage)
        assert found["automountServiceAccountToken"] is False
        assert found["securityContext"]["runAsNonRoot"] is True
        assert found["securityContext"]["runAsUser"] > 0
        assert found["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container(stage)["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {m["mountPath"] for m in container(stage)["volumeMounts"]} >= {"/tmp", "/etc/captionless"}


def test_resources_follow_the_stage() -> None:
    embed = container("embed", "resources.threads=4", "clip.device=cuda")["resources"]
    assert embed["requests"] == {
        "cpu": "4", "memory": "4Gi", "ephemeral-storage": "4Gi", "nvidia.com/gpu": "1",
    }  # fmt: skip
    assert "cpu" not in embed["limits"]
    assert embed["limits"].items() <= embed["requests"].items()
    training = container("train-avg-seed0", "resources.device=cuda", "resources.processes=8", "resources.cpu=500m")
    assert training["resources"]["limits"]["nvidia.com/gpu"] == "8"
    assert training["resources"]["limits"]["memory"] == "8Gi"
    assert training["resources"]["requests"]["cpu"] == "500m"
    assert "nvidia.com/gpu" not in container("pack", "resources.device=cuda", "clip.device=cuda")["resources"]["limits"]


def test_a_training_has_shared_memory_and_everybody_a_bounded_scratch() -> None:
    volumes = {v["name"]: v for v in pod("train-avg-seed0", "resources.sharedMemory=2Gi")["volumes"]}
    assert volumes["shared-memory"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "2Gi"}
    assert volumes["scratch"]["emptyDir"] == {"sizeLimit": "4Gi"}
    assert "shared-memory" not in {v["name"] for v in pod("embed")["volumes"]}


def test_credentials_come_from_the_service_account_or_a_secret_and_stand_nowhere() -> None:
    plain = pod("embed")
    assert "serviceAccountName" not in plain
    assert "envFrom" not in container("embed")
    assert pod("embed", "pods.serviceAccount=trainer")["serviceAccountName"] == "trainer"
    assert container("embed", "pods.credentialsSecret=s3")["envFrom"] == [{"secretRef": {"name": "s3"}}]
    keyed = container("landmarks", "pods.env=[{name: OPENAI_API_KEY, secret: llm, key: token}]")
    assert _env(keyed)["OPENAI_API_KEY"] == {"secretKeyRef": {"name": "llm", "key": "token"}}


def test_image_and_pull_secrets() -> None:
    assert container("embed")["image"] == "captionless:test"
    own = ("pods.image=mine:1", "pods.imagePullPolicy=Always", "pods.imagePullSecrets=[registry]")
    assert container("embed", *own)["image"] == "mine:1"
    assert container("embed", *own)["imagePullPolicy"] == "Always"
    assert pod("embed", *own)["imagePullSecrets"] == [{"name": "registry"}]


def test_extra_volumes_labels_and_annotations() -> None:
    given = (
        "pods.volumes=[{mountPath: /data, claim: meshes}, {mountPath: /ca, configMap: ca}, "
        "{mountPath: /key, secret: k, readOnly: false}]",
        "pods.labels={team: vision, captionless.dev/stage: forged}",
        "pods.annotations={note: hello}",
    )
    volumes = {v["name"]: v for v in pod("embed", *given)["volumes"]}
    assert volumes["volume-0"]["persistentVolumeClaim"] == {"claimName": "meshes", "readOnly": True}
    assert volumes["volume-1"]["configMap"] == {"name": "ca"}
    assert volumes["volume-2"]["secret"] == {"secretName": "k"}
    mounts = {m["name"]: m for m in container("embed", *given)["volumeMounts"]}
    assert mounts["volume-2"] == {"name": "volume-2", "mountPath": "/key", "readOnly": False}
    metadata = job("embed", *given)["spec"]["template"]["metadata"]
    assert metadata["labels"]["team"] == "vision"
    assert metadata["labels"]["captionless.dev/stage"] == "embed"
    assert metadata["annotations"] == {"note": "hello"}


def test_the_grace_period_is_the_specs() -> None:
    assert pod("train-avg-seed0", "pods.graceSeconds=300")["terminationGracePeriodSeconds"] == 300


def test_copies_of_training_data_have_a_disk_of_their_own() -> None:
    sizes = ("resources.dataDisk=64Gi", "resources.ephemeralStorage=2Gi")
    training = container("train-avg-seed0", *sizes)
    assert {"name": "data", "mountPath": "/var/cache/captionless"} in training["volumeMounts"]
    assert _env(training)["CAPTIONLESS_DATA_DISK"] == "/var/cache/captionless"
    limit = 65 * (1 << 30) + (64 << 20)  # with a byte for each block of a copy, and what else there is
    volumes = {v["name"]: v for v in pod("train-avg-seed0", *sizes)["volumes"]}
    assert volumes["data"] == {"name": "data", "emptyDir": {"sizeLimit": str(limit)}}
    assert training["resources"]["limits"]["ephemeral-storage"] == str(limit + (2 << 30))
    assert container("embed", *sizes)["resources"]["limits"]["ephemeral-storage"] == "2Gi"
    for other in (pod("embed", *sizes), pod("train-avg-seed0")):
        assert "data" not in {v["name"] for v in other["volumes"]}
    assert "CAPTIONLESS_DATA_DISK" not in _env(container("train-avg-seed0"))


def test_a_stages_own_settings_are_used_in_its_pods_alone() -> None:
    given = (
        "pods.image=all:1",
        "pods.nodeSelector={pool: cpu}",
        "pods.stages=[{stage: train, image: 'train:1', nodeSelector: {pool: gpu}, graceSeconds: 300, labels: {a: b}, "
        "env: [{name: A, value: b}], volumes: [{mountPath: /fast, claim: f}]}]",
    )
    assert (container("pack", *given)["image"], pod("pack", *given)["nodeSelector"]) == ("all:1", {"pool": "cpu"})
    assert pod("pack", *given)["terminationGracePeriodSeconds"] == 120
    for engine in ("job", "jobset"):
        made = job("train-avg-seed0", *given, f"train.engine={engine}")["spec"]
        body = made["replicatedJobs"][0]["template"]["spec"] if engine == "jobset" else made
        template = body["template"]
        assert template["metadata"]["labels"]["a"] == "b"
        assert template["spec"]["nodeSelector"] == {"pool": "gpu"}
        assert template["spec"]["terminationGracePeriodSeconds"] == 300
        [worker] = template["spec"]["containers"]
        assert worker["image"] == "train:1"
        assert _env(worker)["A"] == "b"
        assert worker["volumeMounts"][-1] == {"name": "volume-0", "mountPath": "/fast", "readOnly": True}
