"""The commands for clusters: `captionless render` and `captionless k8s ...`.

`render` needs no cluster: it prints what the operator would make. The others speak to the API server that
the kubeconfig names, with the permissions of whoever calls them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from captionless import specfile
from captionless.cli_options import Set, Where
from captionless.errors import CaptionlessError

k8s = typer.Typer(
    name="k8s",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Submit, watch and cancel runs on a cluster where the operator is installed.",
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The Alignment.")]
Namespace = Annotated[
    str | None, typer.Option("--namespace", "-n", metavar="NS", help="Default: the namespace of the context.")
]
Context = Annotated[
    str | None, typer.Option("--context", metavar="CONTEXT", help="Of the kubeconfig. Default: its current one.")
]
Image = Annotated[str | None, typer.Option("--image", metavar="IMAGE", help="The pods' image; sets pods.image.")]


def render(
    spec: Where,
    set_: Set = None,
    stage: Annotated[
        list[str] | None,
        typer.Option("--stage", metavar="STAGE", help="A stage, or precompute, train, eval. May be repeated."),
    ] = None,
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", metavar="NS", help="Written into the objects. Default: kubectl's.")
    ] = "",
    image: Image = None,
    wait_inputs: Annotated[
        str, typer.Option("--wait-inputs", metavar="TIME", help="How long a stage waits for those before it.")
    ] = "30m",
    out: Annotated[
        str | None, typer.Option("--out", "-o", metavar="DIR", help="Write kustomizations there instead.")
    ] = None,
) -> None:
    """Print a spec's stages as Jobs, for a cluster without the operator.

    Examples: `captionless render run.yaml | kubectl apply -f -`, `captionless render run.yaml --stage precompute`,
    `captionless render run.yaml --out k8s && kubectl apply -k k8s/precompute`
    """
    loaded = specfile.load(spec, [*(set_ or ()), *_image(image)])
    from captionless.controller import render as rendering
    from captionless.controller.jobs import Operator

    operator = Operator(rendering.IMAGE, wait_inputs=wait_inputs)
    if out is None:
        found = rendering.manifests(loaded, operator, namespace, stage or ())
        print(rendering.documents(o for objects in found.values() for o in objects), end="")
        return
    files = rendering.tree(loaded, operator, namespace, stage or ())
    try:
        for path, text in files.items():
            target = Path(out, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
    except OSError as error:
        raise CaptionlessError(f"--out {out}: cannot write {error.filename}: {error.strerror}") from None
    for folder in dict.fromkeys(p.partition("/")[0] for p in files):
        print(f"kubectl apply -k {Path(out, folder)}")


def controller() -> None:
    """Keep the Alignments of a cluster: what the operator's Deployment runs. Its settings are in the environment.

    CAPTIONLESS_IMAGE (of the stages; required), CAPTIONLESS_IMAGE_PULL_POLICY, CAPTIONLESS_PUSHGATEWAY,
    CAPTIONLESS_WATCH_NAMESPACES (a comma list; empty: all), CAPTIONLESS_LOG_LEVEL, POD_NAMESPACE, POD_NAME.
    """
    from captionless.controller.operate import Settings, operate

    operate(Settings.read())


def _image(image: str | None) -> Sequence[str]:
    return [f"pods.image={image}"] if image else []
