"""The Job builder: pure functions from a stage of the plan to Kubernetes objects.

The Jobs of the controller, of `captionless render` and in `k8s/` all come from `stage_objects`; no
other code describes a Job.

    names       names and labels
    pod         the pod template: command, environment, security, volumes, resources
    placement   scheduling constraints
    failure     how the Job reacts to a pod's exit code
    job         the Indexed Job around the template
    jobset      the same Job within a JobSet
    queue       queueing by Kueue
    patch       `pods.patch`, by strategic_merge
"""

from __future__ import annotations

from typing import Any

from captionless.kube.jobs import jobset
from captionless.kube.jobs.job import job_spec
from captionless.kube.jobs.names import job_name, labels
from captionless.kube.jobs.operator import Operator, Owner
from captionless.kube.jobs.patch import patched
from captionless.kube.jobs.pod import RENDEZVOUS_PORT, SPEC_KEY, pod_template
from captionless.kube.jobs.queue import queued
from captionless.runtime import env
from captionless.spec import load
from captionless.spec.alignment import AlignmentSpec
from captionless.spec.plan import Stage, plan

__all__ = ["Operator", "Owner", "check_patches", "job_name", "labels", "patched_stages", "stage_objects"]


def stage_objects(
    owner: Owner, spec: AlignmentSpec, stage: Stage, attempt: int, operator: Operator
) -> list[dict[str, Any]]:
    """The objects of one attempt at a stage, in the order in which they are created; the Job (or JobSet) is last.

    All have the attempt's name: an immutable ConfigMap with the spec, for a training a headless Service, and the Job.
    SpecError for a patch that changes what it must leave alone.
    """
    name, marks = job_name(owner.name, stage.name, attempt), labels(owner.name, stage.name, attempt)
    is_set = stage.gang and spec.train.engine == "jobset"
    environ, subdomain = {env.SHARDS: str(stage.workers)}, ""
    found: list[dict[str, Any]] = [_config_map(owner, name, marks, spec)]
    if stage.gang:
        host = jobset.node_zero(name) if is_set else f"{name}-0.{name}"
        environ = {env.RENDEZVOUS: f"{host}:{RENDEZVOUS_PORT}"}
        if not is_set:
            subdomain = name
            found.append(_service(owner, name, marks))
    options = ("--wait-inputs", operator.wait_inputs) if operator.wait_inputs and stage.after else ()
    metadata = owner.metadata(name, marks)
    template = pod_template(spec, stage, operator, marks, name, options, environ, subdomain)
    if patch := spec.pods.of(stage.kind).patch:
        metadata, template = patched(metadata, template, patch, spec.pods.field_of(stage.kind, "patch"), marks)
    job = job_spec(stage, template)
    if is_set:
        body = jobset.jobset_spec(name, job, marks)
        made = {"apiVersion": jobset.API_VERSION, "kind": jobset.KIND, "metadata": metadata, "spec": body}
    else:
        made = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": job}
    return [*found, queued(made, spec.queue)]


def patched_stages(spec: AlignmentSpec) -> list[Stage]:
    """The first stage of every kind whose pods are patched: the others of its kind are patched alike."""
    found: dict[str, Stage] = {}
    for stage in plan(spec):
        if spec.pods.of(stage.kind).patch:
            found.setdefault(stage.kind, stage)
    return list(found.values())


def check_patches(spec: AlignmentSpec) -> None:
    """SpecError for a patch of pods that changes what it must leave alone."""
    for stage in patched_stages(spec):
        stage_objects(Owner(spec.name), spec, stage, 1, Operator(image=""))


def _config_map(owner: Owner, name: str, marks: dict[str, str], spec: AlignmentSpec) -> dict[str, Any]:
    metadata = owner.metadata(name, marks)
    data = {SPEC_KEY: load.dump_spec(spec)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "immutable": True, "data": data}


def _service(owner: Owner, name: str, marks: dict[str, str]) -> dict[str, Any]:
    """Headless, and with the addresses of pods that are not ready: the nodes meet before they are."""
    body = {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": dict(marks),
        "ports": [{"name": "rendezvous", "port": RENDEZVOUS_PORT}],
    }
    return {"apiVersion": "v1", "kind": "Service", "metadata": owner.metadata(name, marks), "spec": body}
