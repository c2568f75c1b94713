"""Submitting a run to the operator: an Alignment with only the fields that the author wrote.

Defaults are left out, so that `kubectl get -o yaml` shows what was meant. Submitting the same
spec again changes nothing; mutable fields (`cel_validation.MUTABLE`) of an existing run are patched; anything
else would be another run.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from captionless.clip.names import check as check_model
from captionless.errors import SpecError
from captionless.eval import prompts
from captionless.kube import pod_patches
from captionless.kube.api_errors import Conflict, NoPermission, NoSuchKind, NotFound
from captionless.kube.cel_validation import MUTABLE
from captionless.kube.jobs import Operator, Owner, check_patches
from captionless.kube.jobs.operator import KIND, VERSION
from captionless.kube.render import IMAGE
from captionless.kube.shared_output import check_shared, volume_of
from captionless.runtime.redaction import redacted
from captionless.spec import load
from captionless.spec.alignment import AlignmentSpec
from captionless.spec.landmarks import LandmarkOrigin
from captionless.spec.pods import StageKind
from captionless.store import objects

if TYPE_CHECKING:
    from captionless.kube.api import KubernetesApi, Object

_NOT_SHOWN = ("pods.env", "pods.patch", "pods.stages")


@dataclass(frozen=True)
class Difference:
    """A field with different values before and after; None where it is absent."""

    path: str
    before: Any
    after: Any

    @property
    def allowed(self) -> bool:
        """It may be changed in an existing Alignment."""
        return self.path.split(".")[0] in MUTABLE

    def __str__(self) -> str:
        if self.path.startswith(_NOT_SHOWN):
            return f"{self.path}: changed (not shown, may be secret)"
        return f"{self.path}: {_shown(self.before)} -> {_shown(self.after)}"


def manifest(document: dict[str, Any], spec: AlignmentSpec) -> Object:
    """The Alignment of a spec. `document` is what it was read from; an Alignment's labels and annotations are kept."""
    body = spec.model_dump(by_alias=True, mode="json", exclude_unset=True, exclude={"name"})
    metadata: Object = {"name": spec.name}
    if document.get("kind") == KIND:
        given = document.get("metadata") or {}
        metadata |= {k: given[k] for k in ("labels", "annotations") if given.get(k)}
    return {"apiVersion": VERSION, "kind": KIND, "metadata": metadata, "spec": body}


def namespace(document: dict[str, Any]) -> str | None:
    """The namespace in an Alignment's document."""
    return (document.get("metadata") or {}).get("namespace") if document.get("kind") == KIND else None


def check(spec: AlignmentSpec) -> None:
    """SpecError for what would fail in the pods and can be checked here: names, and paths that pods cannot access."""
    check_shared(spec)
    check_patches(spec)
    prompts.templates(spec.eval.prompt)
    if not spec.clip.model.startswith("local-dir:") and "/" not in spec.clip.pretrained:
        check_model(spec.clip.model, spec.clip.pretrained or None)
    _check_input("data.source.url", spec.data.source.url, spec, "list", "pack")
    if spec.data.deny:
        _check_input("data.deny", spec.data.deny, spec, "list")
    for folder in spec.data.allow:
        _check_input("data.allow", folder, spec, "pack")
    _check_input("train.batches.from", spec.train.batches.from_, spec, "train")
    if "i2l" in spec.metrics and spec.landmarks.origin is LandmarkOrigin.file:
        _check_input("landmarks.file", spec.landmarks.file, spec, "landmarks")


def try_patches(api: KubernetesApi, spec: AlignmentSpec) -> None:
    """Refused if the API server rejects a Job with one of the spec's patches of pods, as a dry run. Without permission
    to create Jobs that is left to the operator, which tries them too."""

    def dry_run(job: Object) -> None:
        with suppress(NoPermission, NotFound, NoSuchKind):  # `submit` tells that there is no such namespace
            api.create(job, api.namespace, dry_run=True)

    pod_patches.try_patches(spec, Owner(spec.name), Operator(IMAGE, allow_pod_patches=True), dry_run)


def submit(api: KubernetesApi, wanted: Object, dry_run: bool = False) -> str:
    """Creates or updates the Alignment; returns one line that says what was done. SpecError if neither is possible."""
    name = wanted["metadata"]["name"]
    there = api.get(KIND, api.namespace, name)
    if there is None:
        return _create(api, wanted, dry_run)
    if there["metadata"].get("deletionTimestamp"):
        raise Conflict(f"alignment {name} is being deleted; submit again afterwards")
    found = differences(there["spec"], wanted["spec"], name)
    if not found:
        return f"alignment {name} already exists with the same spec"
    fixed = [d for d in found if not d.allowed]
    if fixed:
        listed = "".join(f"\n  {d}" for d in fixed)
        raise SpecError(
            f"alignment {name} already exists, and these fields cannot be changed:{listed}\n"
            f"to replace it (its outputs are kept): captionless k8s cancel {name}; to run both: --set name=..."
        )
    changes = {
        k: _merge_patch(there["spec"].get(k), wanted["spec"].get(k)) for k in {d.path.split(".")[0] for d in found}
    }
    version = {"resourceVersion": there["metadata"]["resourceVersion"]}
    if api.patch(KIND, api.namespace, name, {"metadata": version, "spec": changes}, dry_run) is None:
        raise NotFound(f"alignment {name} was deleted in the meantime")
    return f"alignment {name} {_done('changed', dry_run)}: {', '.join(map(str, found))}"


def _create(api: KubernetesApi, wanted: Object, dry_run: bool) -> str:
    name = wanted["metadata"]["name"]
    try:
        made = api.create(wanted, api.namespace, dry_run)
    except NotFound as error:
        raise SpecError(f"{error}; create it first: kubectl create namespace {api.namespace}") from None
    if made is None:
        raise Conflict(f"alignment {name} was created by somebody else in the meantime")
    return f"alignment {name} {_done('created', dry_run)} in namespace {api.namespace}"


def differences(before: Object, after: Object, name: str) -> list[Difference]:
    """The fields in which two specs differ once their defaults are filled in."""
    old, new = _flat(_whole(before, name)), _flat(_whole(after, name))
    paths = [p for p in {**old, **new} if old.get(p) != new.get(p)]
    return [Difference(p, old.get(p), new.get(p)) for p in paths]


def _whole(body: Object, name: str) -> Object:
    """A spec with its defaults; unchanged if this version does not accept it."""
    try:
        return load.build_spec({**body, "name": name}).model_dump(by_alias=True, mode="json")
    except SpecError:
        return {**body, "name": name}


def _flat(node: Object, path: str = "") -> dict[str, Any]:
    """Values by dotted path; a list is one value."""
    found: dict[str, Any] = {}
    for key, value in node.items():
        found |= _flat(value, f"{path}{key}.") if isinstance(value, dict) else {f"{path}{key}": value}
    return found


def _merge_patch(before: Any, after: Any) -> Any:
    """The merge patch (RFC 7396) that makes one value the other; absent values are None."""
    if not (isinstance(before, dict) and isinstance(after, dict)):
        return after
    changed = {k: _merge_patch(before.get(k), v) for k, v in after.items() if before.get(k) != v}
    return changed | dict.fromkeys(before.keys() - after.keys())


def _check_input(field: str, url: str, spec: AlignmentSpec, *stages: StageKind) -> None:
    """The pods of the stages that read it cannot access a path of this machine, unless a volume or a custom image
    provides it."""
    if not url or not objects.is_local(url):
        return
    for stage in stages:
        pods = spec.pods.of(stage)
        if not pods.image and volume_of(url, pods.volumes) is None:
            raise SpecError(
                f"{field}: {url} is a local path, which the pods of {stage} cannot access; upload it "
                "(s3://bucket/folder), or mount it below a volume of pods.volumes"
            )


def _done(what: str, dry_run: bool) -> str:
    return f"would be {what}" if dry_run else what


def _shown(value: Any) -> str:
    if value in (None, ""):
        return "(none)"
    text = redacted(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    return text if len(text) <= 80 else text[:79] + "…"
