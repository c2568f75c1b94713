"""The commands for clusters: `captionless render`, `captionless controller` and `captionless k8s ...`.

`render` needs no cluster: it prints what the operator would create. The `k8s` commands talk to the API server of the
kubeconfig, with the user's own permissions.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from captionless.cli.options import Set, SpecPath, parse_duration
from captionless.errors import CaptionlessError
from captionless.runtime.encoding import stdout_is_unicode

if TYPE_CHECKING:
    from captionless.kube.api import KubernetesApi

k8s = typer.Typer(
    name="k8s",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Submit, watch and cancel runs on a cluster where the operator is installed.",
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The name of the Alignment.")]
Namespace = Annotated[
    str | None,
    typer.Option("--namespace", "-n", metavar="NS", help="The namespace. Default: the context's."),
]
Context = Annotated[
    str | None,
    typer.Option("--context", metavar="CONTEXT", help="The kubeconfig context. Default: the current one."),
]
Image = Annotated[
    str | None, typer.Option("--image", metavar="IMAGE", help="The image of the pods; overrides pods.image.")
]


def render(
    spec: SpecPath,
    set_: Set = None,
    stage: Annotated[
        list[str] | None,
        typer.Option(
            "--stage", metavar="STAGE", help="Only this stage, or this group: precompute, train, eval. Repeatable."
        ),
    ] = None,
    namespace: Annotated[
        str,
        typer.Option("--namespace", "-n", metavar="NS", help="The namespace to set. Default: none; kubectl's applies."),
    ] = "",
    image: Image = None,
    wait_inputs: Annotated[
        str,
        typer.Option("--wait-inputs", metavar="DURATION", help="How long a stage waits for the stages it depends on."),
    ] = "30m",
    out: Annotated[
        str | None, typer.Option("--out", "-o", metavar="DIR", help="Write kustomizations to this folder instead.")
    ] = None,
) -> None:
    """Print the stages of a spec as Job manifests, for a cluster without the operator.

    Examples: `captionless render run.yaml | kubectl apply -f -`, `captionless render run.yaml --stage precompute`,
    `captionless render run.yaml --out k8s && kubectl apply -k k8s/precompute`
    """
    from captionless.spec.load import load_spec

    loaded = load_spec(spec, [*(set_ or ()), *_image(image)])
    from captionless.kube import render as rendering
    from captionless.kube.jobs import Operator

    parse_duration(wait_inputs)  # only checked: the Jobs get it as it was written
    operator = Operator(rendering.IMAGE, wait_inputs=wait_inputs)
    if out is None:
        found = rendering.manifests(loaded, operator, namespace, stage or ())
        print(rendering.documents((o for objects in found.values() for o in objects), not stdout_is_unicode()), end="")
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
    """Run the operator, which reconciles the Alignments of a cluster. Its Deployment runs this command.

    Configured by environment variables: CAPTIONLESS_IMAGE (the image of the stages; required),
    CAPTIONLESS_IMAGE_PULL_POLICY, CAPTIONLESS_PUSHGATEWAY, CAPTIONLESS_WATCH_NAMESPACES (comma-separated; empty: all),
    CAPTIONLESS_ALLOW_POD_PATCHES (true or false), CAPTIONLESS_LOG_LEVEL, POD_NAMESPACE, POD_NAME.
    """
    from captionless.controller.manager import Settings, run_manager

    run_manager(Settings.read())


@k8s.command()
def submit(
    spec: SpecPath,
    set_: Set = None,
    namespace: Namespace = None,
    context: Context = None,
    image: Image = None,
    dry_run: Annotated[
        Literal["client", "server"] | None,
        typer.Option(
            help="`client`: print the Alignment. `server`: let the API server validate it. Neither creates anything."
        ),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Watch the run until it ends, and exit with its exit code.")
    ] = False,
) -> None:
    """Submit a spec to the operator as an Alignment. Submit it again to update the fields that may change.

    Examples: `captionless k8s submit run.yaml -n lab --wait`, `captionless k8s submit run.yaml --set suspend=true`
    """
    from captionless.spec import load

    document = load.read_document(spec)
    loaded = load.build_spec(document, [*(set_ or ()), *_image(image)], spec)
    from captionless.client import submit as submitting

    submitting.check(loaded)
    wanted = submitting.manifest(document, loaded)
    if dry_run == "client":
        from captionless.kube.render import documents

        print(documents([wanted], not stdout_is_unicode()), end="")
        return
    cluster = _connect(context, namespace or submitting.namespace(document))
    submitting.try_patches(cluster, loaded)
    print(submitting.submit(cluster, wanted, dry_run == "server"))
    if dry_run is not None:
        return
    if wait:
        _follow(cluster, loaded.name)
    else:
        print(f"next: captionless k8s status {loaded.name}{_flags(context, namespace)} --watch")


@k8s.command()
def status(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="The name of an Alignment. Default: all of them.")
    ] = None,
    namespace: Namespace = None,
    context: Context = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Watch the run until it ends, and exit with its exit code.")
    ] = False,
    output: Annotated[
        Literal["json"] | None, typer.Option("--output", "-o", help="Print the Kubernetes objects instead.")
    ] = None,
) -> None:
    """Show the status of runs: a table of all of them, or the stages of one.

    Examples: `captionless k8s status`, `captionless k8s status demo --watch`
    """
    if watch and (name is None or output):
        raise typer.BadParameter("requires a NAME, and excludes --output", param_hint="--watch")
    cluster = _connect(context, namespace)
    if watch and name:
        _follow(cluster, name)
        return
    from captionless.client import status as showing

    if output:
        showing.show_json(cluster, name)
    elif name:
        showing.show(cluster, name)
    else:
        showing.show_all(cluster)


@k8s.command()
def logs(
    name: Name,
    namespace: Namespace = None,
    context: Context = None,
    stage: Annotated[
        str,
        typer.Option(
            "--stage", metavar="STAGE", help="Only this stage. Default: the failed one, else the running ones."
        ),
    ] = "",
    index: Annotated[
        int | None, typer.Option("--index", min=0, metavar="I", help="Only this shard, or this node of a training.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Keep printing, new pods included, until the run ends.")
    ] = False,
    previous_attempts: Annotated[
        bool, typer.Option("--previous-attempts", help="Include pods that have been replaced.")
    ] = False,
    tail: Annotated[
        int | None, typer.Option("--tail", min=0, metavar="N", help="Only the last N lines of each pod.")
    ] = None,
) -> None:
    """Print the logs of the failed stage's pods, or of the running pods.

    Examples: `captionless k8s logs demo`, `captionless k8s logs demo --stage embed --index 2 --follow`
    """
    from captionless.client import logs as logging

    selection = logging.Selection(stage, index, previous_attempts, tail)
    (logging.follow if follow else logging.show)(_connect(context, namespace), name, selection)


@k8s.command()
def cancel(
    name: Name,
    namespace: Namespace = None,
    context: Context = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Delete a run with its Jobs and pods, and wait until they are gone. Its stored outputs are kept.

    To pause a run and resume it later: `captionless k8s submit SPEC --set suspend=true`, then submit without it.
    """
    cluster = _connect(context, namespace)
    from captionless.client import cancel as cancelling
    from captionless.client.alignment_view import find
    from captionless.terminal.live_view import LiveView

    run = find(cluster, name)
    if not yes:
        if not sys.stdin.isatty():
            raise typer.BadParameter("required if stdin is not a terminal", param_hint="--yes")
        if not typer.confirm(f"Delete alignment {name} in namespace {cluster.namespace} and its pods?"):
            print("nothing deleted")
            return
    cancelling.cancel(cluster, run, LiveView())
    print(f"alignment {name} deleted; its outputs are kept in {run.output}; submit it again to resume")


def _connect(context: str | None, namespace: str | None) -> "KubernetesApi":
    from captionless.kube.connection import connect

    return connect(context, namespace)


def _follow(cluster: "KubernetesApi", name: str) -> None:
    from captionless.client import status as showing
    from captionless.terminal.live_view import LiveView

    showing.follow(cluster, name, LiveView())


def _flags(context: str | None, namespace: str | None) -> str:
    return (f" -n {namespace}" if namespace else "") + (f" --context {context}" if context else "")


def _image(image: str | None) -> Sequence[str]:
    return [f"pods.image={image}"] if image else []
