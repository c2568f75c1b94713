"""`k8s/precompute`, `k8s/train`, `k8s/eval`: the Jobs of `examples/kubernetes.yaml` for kubectl."""

from __future__ import annotations

from pathlib import Path

from captionless.kube.jobs import Operator
from captionless.kube.render import IMAGE, tree
from captionless.spec import load

_SPEC = Path(__file__).parents[2] / "examples" / "kubernetes.yaml"


def files() -> dict[str, str]:
    spec = load.load_spec(str(_SPEC))
    return {f"k8s/{path}": text for path, text in tree(spec, Operator(IMAGE, wait_inputs="30m")).items()}
