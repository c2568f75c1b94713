"""A run's stages as manifests for kubectl, without an operator: `captionless render`, and the folder `k8s/`.

The Jobs are those that the controller would create. Since nobody enforces their order, each stage
waits for its inputs (`--wait-inputs`); since nobody counts attempts, all are the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import yaml

from captionless import __version__
from captionless.errors import SpecError, did_you_mean
from captionless.kube.jobs import Operator, Owner, stage_objects
from captionless.kube.shared_output import check_shared
from captionless.spec.alignment import AlignmentSpec
from captionless.spec.plan import Stage, plan

IMAGE = f"ghcr.io/captionless/captionless:{__version__}"
GROUPS = ("precompute", "train", "eval")


def group(stage: Stage) -> str:
    """The folder of `k8s/` that a stage belongs to."""
    return "train" if stage.gang else "eval" if stage.name == "eval" else "precompute"


def chosen(spec: AlignmentSpec, names: Sequence[str]) -> list[Stage]:
    """The stages by name or by group (precompute, train, eval); all without names. SpecError for an unknown one."""
    stages = plan(spec)
    known = [*GROUPS, *(s.name for s in stages)]
    for name in names:
        if name not in known:
            raise SpecError(f"no stage {name!r}{did_you_mean(name, known)} (stages: {', '.join(known)})")
    return [s for s in stages if not names or s.name in names or group(s) in names]


def manifests(
    spec: AlignmentSpec, operator: Operator, namespace: str = "", names: Sequence[str] = ()
) -> dict[str, list[dict[str, Any]]]:
    """The objects of each stage, in the plan's order. SpecError when not all pods can access the outputs."""
    check_shared(spec)
    owner = Owner(spec.name, namespace)
    return {s.name: stage_objects(owner, spec, s, 1, operator) for s in chosen(spec, names)}


class _Dumper(yaml.SafeDumper):
    """Multi-line strings as blocks, so that the spec is readable in its ConfigMap."""

    def represent_text(self, text: str) -> yaml.Node:
        return self.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _Dumper.represent_text)


def documents(found: Iterable[dict[str, Any]], escaped: bool = False) -> str:
    """Objects as one YAML stream, in ASCII if `escaped`."""
    return "---\n".join(
        yaml.dump(f, Dumper=_Dumper, sort_keys=False, allow_unicode=not escaped, width=1000) for f in found
    )


def tree(spec: AlignmentSpec, operator: Operator, namespace: str = "", names: Sequence[str] = ()) -> dict[str, str]:
    """The files of `k8s/precompute`, `k8s/train` and `k8s/eval`, each a kustomization: path -> text."""
    by_stage = manifests(spec, operator, namespace, names)
    files: dict[str, str] = {}
    for folder in GROUPS:
        listed = [s.name for s in chosen(spec, names) if group(s) == folder]
        if not listed:
            continue
        files |= {f"{folder}/{n}.yaml": documents(by_stage[n]) for n in listed}
        kustomization = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [f"{n}.yaml" for n in listed],
        }
        files[f"{folder}/kustomization.yaml"] = documents([kustomization])
    return files
