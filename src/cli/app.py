"""The command line: the application, its command groups, and the commands that work on a whole spec.

A failure is an exception of `errors`; `__main__` turns it, or a signal, into an exit code. A command may return a
`CommandResult` for the termination message. Command modules import heavy libraries only inside the commands that need
them, so that `--help` and shell completion start fast (benchmarks/startup); tests/cli/test_startup.py enforces it.
"""

import gc
from typing import Annotated, Literal

import typer

from captionless import __version__
from captionless.cli import classify, compare, data, doctor, kubernetes, look, search, similarity, stages, upkeep
from captionless.cli import eval as evaluation
from captionless.cli.options import Json, Quiet, Set, SpecPath
from captionless.clip.demo import NAME as DEMO
from captionless.errors import DataError, Interrupted, Retryable, SpecError, UsageError
from captionless.runtime.encoding import stdout_is_unicode

_EXIT_CODES = (
    f"Exit codes: 0 success, {Retryable.exit_code} failed (retrying may help), "
    f"{UsageError.exit_code} usage error, {SpecError.exit_code} invalid spec or access denied, "
    f"{DataError.exit_code} invalid data, {Interrupted.exit_code} interrupted (rerun to resume)."
)

app = typer.Typer(
    name="captionless",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train a 3D point-cloud encoder to match CLIP, without captions.",
    epilog=_EXIT_CODES,
)


def _version(requested: bool) -> None:
    if requested:
        print(f"captionless {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    gc.enable()  # `__main__` pauses it


@app.command()
def init(
    meshes: Annotated[
        str, typer.Argument(help="A folder with one subfolder of meshes per category, or a manifest.jsonl.")
    ],
    out: Annotated[str, typer.Option("--out", "-o", help="The spec file to write; - for stdout.")] = "alignment.yaml",
    clip: Annotated[
        str,
        typer.Option(
            help=f"`{DEMO}`, an OpenCLIP MODEL/TAG such as ViT-B-32/laion2b_s34b_b79k, MODEL/PATH or MODEL/URL of a "
            "checkpoint, hf-hub:ORG/NAME, or local-dir:PATH."
        ),
    ] = DEMO,
    up: Annotated[
        Literal["x", "y", "z"] | None,
        typer.Option(help="The up axis of the meshes, for formats that do not define it."),
    ] = None,
) -> None:
    """Write a starter spec for your own meshes.

    Folders `train` and `test` become the split, ShapeNet's categories get their names, and folders that links lead to
    are allowed to be read.

    Examples: `captionless init shapes/ && captionless run alignment.yaml`,
    `captionless init ModelNet40 --up z --clip hf-hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K`
    """
    from captionless.cli import starter

    starter.write(meshes, out, clip, up or "")


@app.command()
def validate(spec: SpecPath, set_: Set = None) -> None:
    """Validate a spec and report every invalid field.

    Example: `captionless validate run.yaml --set train.steps=500`
    """
    from captionless.cli import preflight
    from captionless.spec.load import load_spec
    from captionless.spec.plan import plan

    loaded = load_spec(spec, set_ or ())
    preflight.check(loaded)
    print(f"{spec}: valid; {len(plan(loaded))} stages into {loaded.root}")


@app.command("plan")
def show_plan(
    spec: SpecPath,
    set_: Set = None,
    resolved: Annotated[bool, typer.Option("--spec", help="Print the full spec, defaults included, instead.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print the stages as JSON.")] = False,
) -> None:
    """Show the stages of a spec: command, workers, CPUs and dependencies.

    Examples: `captionless plan run.yaml`, `captionless plan run.yaml --spec`
    """
    from captionless.spec.load import dump_spec, load_spec

    loaded = load_spec(spec, set_ or ())
    if resolved:
        print(dump_spec(loaded, escaped=not stdout_is_unicode()), end="")
        return
    from captionless.spec.plan import plan

    planned = plan(loaded)
    if json_:
        import json
        from dataclasses import asdict

        print(json.dumps([asdict(s) for s in planned], indent=1))
        return
    from captionless.cli import summary

    summary.show_plan(planned)


@app.command()
def run(
    spec: SpecPath,
    set_: Set = None,
    start: Annotated[str | None, typer.Option("--from", metavar="STAGE", help="Start with this stage.")] = None,
    only: Annotated[str | None, typer.Option("--only", metavar="STAGE", help="Run only this stage.")] = None,
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Run all stages of a spec on this machine, up to the report.

    Work that is already complete is skipped: rerun an interrupted run to resume it; rerunning a finished one computes
    nothing.

    Examples: `captionless run demo.yaml`, `captionless run demo.yaml --from train --set train.steps=500`
    """
    from captionless.spec.load import load_spec

    loaded = load_spec(spec, set_ or ())
    from captionless.cli import preflight, summary
    from captionless.local import runner
    from captionless.terminal.live_view import LiveView

    preflight.check(loaded)
    runner.run(loaded, start, only, LiveView())
    (summary.show_json if json_ else summary.show)(loaded)


_STAGES, _DATA, _MODELS, _CLUSTERS = "Stages", "Data", "Models and results", "Kubernetes"  # the help's panels

app.command()(doctor.doctor)
app.command("list", rich_help_panel=_STAGES)(stages.list_)
app.command(rich_help_panel=_STAGES)(stages.pack)
app.command(rich_help_panel=_STAGES)(stages.embed)
app.command(rich_help_panel=_STAGES)(stages.landmarks)
app.add_typer(similarity.similarity, rich_help_panel=_STAGES)
app.command(rich_help_panel=_STAGES)(stages.train)
app.command("eval", rich_help_panel=_STAGES)(evaluation.evaluate)
app.add_typer(data.data, rich_help_panel=_DATA)
app.command(rich_help_panel=_DATA)(look.look)
app.command(rich_help_panel=_DATA)(upkeep.migrate)
app.command(rich_help_panel=_DATA)(upkeep.prune)
app.command(rich_help_panel=_MODELS)(stages.neighbours)
app.command(rich_help_panel=_MODELS)(compare.compare)
app.add_typer(search.search, rich_help_panel=_MODELS)
app.add_typer(classify.classify, rich_help_panel=_MODELS)
app.add_typer(kubernetes.k8s, rich_help_panel=_CLUSTERS)
app.command(rich_help_panel=_CLUSTERS)(kubernetes.render)
app.command(rich_help_panel=_CLUSTERS)(kubernetes.controller)
