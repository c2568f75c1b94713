"""The pod template of a stage: one container that runs the stage's command under the restricted pod security standard.

The root file system is read-only; local files are written to /tmp, an emptyDir whose
size is requested as ephemeral storage. No API token is mounted: a worker reports its result through its
termination message and its progress through /metrics. Credentials come from the service account's
workload identity or from a Secret, never from arguments.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from captionless.kube.jobs.failure import WORKER
from captionless.kube.jobs.names import GROUP
from captionless.kube.jobs.operator import Operator
from captionless.kube.jobs.placement import placement
from captionless.runtime import env
from captionless.spec.alignment import AlignmentSpec
from captionless.spec.plan import Stage
from captionless.spec.pods import PodSettings, Variable, Volume
from captionless.spec.quantities import whole_bytes

SPEC_FOLDER, SPEC_KEY, SPEC_VOLUME = "/etc/captionless", "spec.yaml", "spec"
DATA_FOLDER = "/var/cache/captionless"
METRICS_PORT, RENDEZVOUS_PORT = 9095, 29400
_OWN = {
    env.NAMESPACE: "metadata.namespace",
    env.POD: "metadata.name",
    env.JOB_UID: "metadata.labels['batch.kubernetes.io/controller-uid']",
}
"""Variables with fields of the pod itself; the Job controller sets the label."""
USER = 65532
"""The image's user: a number, so that `runAsNonRoot` can be checked."""


def pod_template(
    spec: AlignmentSpec,
    stage: Stage,
    operator: Operator,
    labels: dict[str, str],
    config_map: str,
    options: Sequence[str] = (),
    environ: dict[str, str] | None = None,
    subdomain: str = "",
) -> dict[str, Any]:
    """A core/v1 PodTemplateSpec. `options` are added to the command, `environ` to the environment."""
    pods = spec.pods.of(stage.kind)
    gang = {k: v for k, v in labels.items() if k.startswith(f"{GROUP}/")} if stage.gang else None
    found: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": pods.grace_seconds,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(spec, pods, stage, operator, options, environ or {})],
        "volumes": _volumes(spec, pods, stage, config_map),
        **placement(pods, gang, stage.gpus > 0),
    }
    if subdomain:
        found["subdomain"] = subdomain
    if pods.service_account:
        found["serviceAccountName"] = pods.service_account
    if pods.image_pull_secrets:
        found["imagePullSecrets"] = [{"name": n} for n in pods.image_pull_secrets]
    metadata: dict[str, Any] = {"labels": {**pods.labels, **labels}}
    if pods.annotations:
        metadata["annotations"] = dict(pods.annotations)
    return {"metadata": metadata, "spec": found}


def _container(
    spec: AlignmentSpec,
    pods: PodSettings,
    stage: Stage,
    operator: Operator,
    options: Sequence[str],
    environ: dict[str, str],
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": WORKER,
        "image": pods.image or operator.image,
        "imagePullPolicy": pods.image_pull_policy or operator.image_pull_policy,
        "args": [*stage.command, f"{SPEC_FOLDER}/{SPEC_KEY}", *options],
        "env": [*_environment(spec, stage, operator, environ), *map(_variable, pods.env)],
        "ports": [{"name": "metrics", "containerPort": METRICS_PORT}],
        "resources": _resources(spec, stage),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": SPEC_VOLUME, "mountPath": SPEC_FOLDER, "readOnly": True},
            {"name": "scratch", "mountPath": "/tmp"},
            *([{"name": "shared-memory", "mountPath": "/dev/shm"}] if stage.gang else []),
            *([{"name": "data", "mountPath": DATA_FOLDER}] if _data_disk(spec, stage) else []),
            *(
                {"name": f"volume-{i}", "mountPath": v.mount_path, "readOnly": v.read_only}
                for i, v in enumerate(pods.volumes)
            ),
        ],
    }
    if stage.gang:
        found["ports"].append({"name": "rendezvous", "containerPort": RENDEZVOUS_PORT})
    if pods.credentials_secret:
        found["envFrom"] = [{"secretRef": {"name": pods.credentials_secret}}]
    return found


def _environment(
    spec: AlignmentSpec, stage: Stage, operator: Operator, environ: dict[str, str]
) -> list[dict[str, Any]]:
    values = {
        env.TERMINATION_MESSAGE: "/dev/termination-log",
        env.METRICS_PORT: str(METRICS_PORT),
        **({env.PUSHGATEWAY: operator.pushgateway} if operator.pushgateway else {}),
        **env.threads(spec.resources.threads),
        **({env.DATA_DISK: DATA_FOLDER} if _data_disk(spec, stage) else {}),
        **environ,
    }
    return [*({"name": n, "value": v} for n, v in values.items()), *(_own(n, path) for n, path in _OWN.items())]


def _own(name: str, path: str) -> dict[str, Any]:
    """A variable with a field of the pod itself."""
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def _variable(given: Variable) -> dict[str, Any]:
    if given.secret:
        return {"name": given.name, "valueFrom": {"secretKeyRef": {"name": given.secret, "key": given.key}}}
    return {"name": given.name, "value": given.value}


def _resources(spec: AlignmentSpec, stage: Stage) -> dict[str, Any]:
    """Memory, disk and GPUs are limited to what is requested; the CPU is not: a limit would only throttle."""
    has = spec.resources
    fixed = {
        "memory": has.train_memory if stage.gang else has.memory,
        "ephemeral-storage": _disk(spec, stage),
        **({has.gpu: str(stage.gpus)} if stage.gpus else {}),
    }
    return {"requests": {"cpu": has.cpu or str(stage.cpus), **fixed}, "limits": fixed}


def _data_disk(spec: AlignmentSpec, stage: Stage) -> int:
    """Bytes of the volume for copies of a training's data, with what the copies need beside; 0: there is none."""
    size = spec.resources.node_disk if stage.gang else 0
    return size + size // 64 + (64 << 20) if size else 0


def _disk(spec: AlignmentSpec, stage: Stage) -> str:
    """All that the pod may write to its node's disk, in every volume."""
    data, scratch = _data_disk(spec, stage), spec.resources.ephemeral_storage
    return str(whole_bytes(scratch) + data) if data else scratch


def _volumes(spec: AlignmentSpec, pods: PodSettings, stage: Stage, config_map: str) -> list[dict[str, Any]]:
    has = spec.resources
    found: list[dict[str, Any]] = [
        {"name": SPEC_VOLUME, "configMap": {"name": config_map}},
        {"name": "scratch", "emptyDir": {"sizeLimit": has.ephemeral_storage}},
    ]
    if stage.gang:
        found.append({"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": has.shared_memory}})
    if data := _data_disk(spec, stage):
        found.append({"name": "data", "emptyDir": {"sizeLimit": str(data)}})
    return found + [{"name": f"volume-{i}", **_source(v)} for i, v in enumerate(pods.volumes)]


def _source(given: Volume) -> dict[str, Any]:
    if given.claim:
        return {"persistentVolumeClaim": {"claimName": given.claim, "readOnly": given.read_only}}
    if given.config_map:
        return {"configMap": {"name": given.config_map}}
    return {"secret": {"secretName": given.secret}}
