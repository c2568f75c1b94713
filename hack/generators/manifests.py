"""`k8s/precompute`, `k8s/train`, `k8s/eval`: the Jobs of `examples/kubernetes.yaml` for kubectl."""

from __future__ import annotations

from pathlib import Path

from captionless import specfile
from captionless.controller.jobs import Operator
from captionless.controller.render import IMAGE, tree

_SPEC = Path(__file__).parents[2] / "examples" / "kubernetes.yaml"


def files() -> dict[str, str]:
    spec = specfile.load(str(_SPEC))
    return {f"k8s/{path}": text for path, text in tree(spec, Operator(IMAGE, wait_inputs="30m")).items()}
