"""`pods.patch` applied to what the builder made, and what a patch must leave alone.

The operator finds Jobs and pods by their labels, reads ends and progress of the worker container, and relies on the
Job's indexes and on how its pods end. These are compared before and after, so that no directive gets around it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from captionless.errors import SpecError
from captionless.kube.jobs.failure import WORKER
from captionless.kube.jobs.names import GROUP
from captionless.kube.jobs.pod import METRICS_PORT, RENDEZVOUS_PORT, SPEC_FOLDER, SPEC_VOLUME
from captionless.kube.jobs.queue import LABEL as QUEUE
from captionless.kube.jobs.strategic_merge import JOB, merge
from captionless.runtime import env
from captionless.spec import pod_patch

Object = dict[str, Any]

_RESERVED = (f"{GROUP}/", "batch.kubernetes.io/", "jobset.sigs.k8s.io/", QUEUE)
"""Beginnings of labels and annotations that the operator and the controllers of Jobs read."""
_POD = (
    "restartPolicy",
    "subdomain",
    "hostname",
    "setHostnameAsFQDN",
    "hostnameOverride",
    "terminationGracePeriodSeconds",
)
_CONTAINER = ("command", "args", "terminationMessagePath", "terminationMessagePolicy")
_KEYED = {
    "env": ("name", frozenset(v for n, v in vars(env).items() if n.isupper() and isinstance(v, str))),
    "ports": ("containerPort", frozenset({METRICS_PORT, RENDEZVOUS_PORT})),
    "volumeMounts": ("mountPath", frozenset({SPEC_FOLDER})),
}
"""Of the worker's keyed lists: the key, and the elements that it depends on."""
_INSTEAD = {"terminationGracePeriodSeconds": "pods.graceSeconds", QUEUE: "queue"}


def patched(metadata: Object, template: Object, text: str, field: str, own: Mapping[str, str]) -> tuple[Object, Object]:
    """The metadata of a Job (or JobSet) and its pod template, with the patch applied that `field` of the spec has.

    `own` are the run's labels. SpecError names what the patch must leave alone.
    """
    before = {"metadata": metadata, "spec": {"template": template}}
    try:
        after = merge(before, pod_patch.read(text), JOB)
    except ValueError as error:
        raise SpecError(f"{field}: {error}") from None
    kept, found = dict(_depended_on(before, own)), dict(_depended_on(after, own))
    for path in {**kept, **found}:
        if kept.get(path) != found.get(path):
            instead = next((i for end, i in _INSTEAD.items() if path.endswith(end)), "")
            why = f"; set {instead} instead" if instead else ", which relies on it"
            raise SpecError(f"{field}: {path}: must stay as the operator sets it{why}")
    return after["metadata"], after["spec"]["template"]


def _depended_on(job: Object, own: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    """Paths and values of what the operator relies on in a Job."""
    template = job["spec"].get("template") or {}
    pod, at = template.get("spec") or {}, "spec.template.spec"
    for where, metadata in (("metadata", job["metadata"]), ("spec.template.metadata", template.get("metadata") or {})):
        for kind in ("labels", "annotations"):
            for name, value in (metadata.get(kind) or {}).items():
                if name.startswith(_RESERVED) or (kind == "labels" and name in own):
                    yield f"{where}.{kind}.{name}", value
    yield from ((f"{at}.{name}", pod[name]) for name in _POD if name in pod)
    for volume in _elements(pod.get("volumes")):
        if volume.get("name") == SPEC_VOLUME:
            yield f"{at}.volumes[{SPEC_VOLUME}]", volume
    for worker in _elements(pod.get("containers")):
        if worker.get("name") == WORKER:
            yield from _of_worker(worker, f"{at}.containers[{WORKER}]")


def _of_worker(worker: Object, at: str) -> Iterator[tuple[str, Any]]:
    yield at, True
    yield from ((f"{at}.{name}", worker[name]) for name in _CONTAINER if name in worker)
    for field, (key, names) in _KEYED.items():
        for each in _elements(worker.get(field)):
            if isinstance(each.get(key), str | int) and each[key] in names:
                yield f"{at}.{field}[{each[key]}]", each


def _elements(found: Any) -> list[Object]:
    """The elements of a list of objects; none of what is not one, which the API server rejects."""
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
