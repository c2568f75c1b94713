"""Trying the patches of a run's pods (`pods.patch`): a dry run of a Job of every kind of stage that has one.

A patch that the API server rejects is told before anything runs, and not when its stage begins, hours later.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from captionless.kube.api_errors import Refused
from captionless.kube.jobs import Operator, Owner, patched_stages, stage_objects
from captionless.spec.alignment import AlignmentSpec
from captionless.spec.plan import Stage

_UNTRIED = "does not support dry run"
"""What the API server says for an admission webhook with side effects. The real request may be accepted."""


def check_allowed(spec: AlignmentSpec, stage: Stage, operator: Operator) -> None:
    """Refused if a stage has a patch and the operator allows none."""
    if spec.pods.of(stage.kind).patch and not operator.allow_pod_patches:
        raise Refused(
            f"{spec.pods.field_of(stage.kind, 'patch')}: this operator does not allow patches of pods; set "
            "allowPodPatches: true in the values of its chart (captionless), or submit the run without",
            "PodPatchesNotAllowed",
        )


def try_patches(
    spec: AlignmentSpec, owner: Owner, operator: Operator, dry_run: Callable[[dict[str, Any]], Any]
) -> None:
    """Refused if a patch is not allowed, or if the API server rejects a Job with it; SpecError for one that changes
    what it must leave alone. `dry_run` creates an object as a dry run, and raises `api_errors`."""
    for stage in patched_stages(spec):
        check_allowed(spec, stage, operator)
        job = stage_objects(owner, spec, stage, 1, operator)[-1]
        try:
            dry_run(job)
        except Refused as error:
            if _UNTRIED in error.detail:
                continue
            field = spec.pods.field_of(stage.kind, "patch")
            detail = f"{field}: the API server rejects a {job['kind']} of {stage.name} with it: {error.detail}"
            raise Refused(detail, error.reason) from error
