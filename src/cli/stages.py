"""The commands that run one stage each: list, pack, embed, landmarks, neighbours, train.

`similarity` and `eval`, which also work without a spec, have their own modules.
"""

import os
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from captionless.cli.options import OutcomeJson, Quiet, Set, Shard, SpecPath, Wait, parse_shard
from captionless.runtime import env
from captionless.runtime.termination_message import CommandResult
from captionless.spec.weights import Weights

if TYPE_CHECKING:
    from captionless.spec.alignment import AlignmentSpec
    from captionless.stages.work_items import Outcome


def serve_metrics(stage: str) -> None:
    """Serves the stage's metrics if the environment names a port."""
    if env.METRICS_PORT in os.environ:
        from captionless.telemetry import server

        server.serve(stage)


def start_stage(stage: str, spec: str, set_: list[str] | None, patience: float | None) -> "AlignmentSpec":
    """Serves the metrics of a stage under its name in the plan, loads its spec, and waits for the stage's inputs if
    `patience`, in seconds, is given."""
    serve_metrics(stage)
    from captionless.spec.load import load_spec

    loaded = load_spec(spec, set_ or ())
    if patience is not None:
        from captionless.stages import wait_inputs

        wait_inputs.wait(loaded, stage, patience)
    return loaded


def report(outcome: "Outcome", as_json: bool) -> None:
    """Prints what a stage's command did, if `--json` asks for it; everything else that it says is on stderr."""
    if as_json:
        print(outcome.line())


def list_(spec: SpecPath, set_: Set = None, quiet: Quiet = False, json_: OutcomeJson = False) -> None:
    """Stage 0: list the objects of the source, decide which to keep, and seal their split.

    Example: `captionless list run.yaml`
    """
    from captionless.stages import listing as stage

    report(stage.run(start_stage("list", spec, set_, None)), json_)


def pack(
    spec: SpecPath,
    set_: Set = None,
    shard: Shard = "",
    wait: Wait = None,
    retry: Annotated[bool, typer.Option("--retry", help="Try broken objects again, with more memory perhaps.")] = False,
    redraw: Annotated[bool, typer.Option("--redraw", help="Draw again what another release has drawn.")] = False,
    quiet: Quiet = False,
    json_: OutcomeJson = False,
) -> None:
    """Stage 1: render views and sample a point cloud of every object into shards.

    Examples: `captionless pack run.yaml`, `captionless pack run.yaml --shard 0/4`
    """
    from captionless.stages import pack as stage

    report(stage.run(start_stage("pack", spec, set_, wait), parse_shard(shard), retry, redraw), json_)


def embed(
    spec: SpecPath,
    set_: Set = None,
    shard: Shard = "",
    wait: Wait = None,
    quiet: Quiet = False,
    json_: OutcomeJson = False,
) -> None:
    """Stage 2: embed the views with the frozen CLIP model.

    Examples: `captionless embed run.yaml`, `captionless embed run.yaml --shard 0/4`
    """
    from captionless.stages import embed as stage

    report(stage.run(start_stage("embed", spec, set_, wait), parse_shard(shard)), json_)


def landmarks(
    spec: SpecPath,
    set_: Set = None,
    shard: Shard = "",
    wait: Wait = None,
    quiet: Quiet = False,
    json_: OutcomeJson = False,
) -> None:
    """Stage 3: get the landmark texts of every category and embed them.

    Example: `captionless landmarks run.yaml --set landmarks.count=64`
    """
    from captionless.stages import landmarks as stage

    report(stage.run(start_stage("landmarks", spec, set_, wait), parse_shard(shard)), json_)


def neighbours(
    dataset: Annotated[str, typer.Option(metavar="URL", help="The output folder of an embed stage.")],
    out: Annotated[str, typer.Option(metavar="URL", help="The folder to write the neighbours to.")],
    of: Annotated[
        str,
        typer.Option(
            metavar="views|mean|URL",
            help="What to compare: views with equal poses, the mean of an object's views, or the shape embeddings of "
            "a model.pt.",
        ),
    ] = "views",
    within: Annotated[
        Literal["category", "dataset"], typer.Option(help="Search within the object's category or the whole dataset.")
    ] = "category",
    k: Annotated[int, typer.Option(min=1, help="Neighbours per object.")] = 32,
    shard: Shard = "",
    quiet: Quiet = False,
    json_: OutcomeJson = False,
) -> None:
    """Find every training object's nearest neighbours by cosine similarity, for batches of hard negatives.

    Examples: `captionless neighbours --dataset runs/demo/embed --out runs/demo/neighbours --within dataset`,
    `captionless neighbours --dataset s3://b/run/embed --out s3://b/run/neighbours --of s3://b/run/train/avg-seed0/model.pt
    --shard 0/4`
    """
    from captionless.stages import neighbours as stage

    serve_metrics("neighbours")
    report(stage.compute(dataset, out, of, within, k, parse_shard(shard)), json_)


def train(
    spec: SpecPath,
    set_: Set = None,
    weights: Annotated[Weights | None, typer.Option(help="Train only with these weights of the negatives.")] = None,
    seed: Annotated[int | None, typer.Option(help="Train only with this seed.")] = None,
    new: Annotated[bool, typer.Option("--new", help="Begin beside a run with other settings (the default).")] = False,
    extend: Annotated[
        bool, typer.Option("--extend", help="Go on from a run with fewer steps, another schedule or precision.")
    ] = False,
    restart: Annotated[bool, typer.Option("--restart", help="Replace a run with other settings.")] = False,
    profile: Annotated[
        int, typer.Option(min=0, metavar="N", help="Trace N steps by torch's profiler, and say where the trace is.")
    ] = 0,
    wait: Wait = None,
    quiet: Quiet = False,
    json_: OutcomeJson = False,
) -> CommandResult:
    """Stage 5: train the point encoder with torchrun, for every loss and seed of the spec or only the selected ones.

    A run is resumed where it was interrupted. If settings have changed, another run begins beside it, and nothing is
    lost; `--extend` and `--restart` (`train.onChange`) say otherwise.

    Examples: `captionless train run.yaml`, `captionless train run.yaml --weights avg --seed 0`,
    `captionless train run.yaml --set train.steps=20000 --extend`, `captionless train run.yaml --profile 5`
    """
    from captionless.stages import train as stage

    chosen = [name for name, given in (("new", new), ("extend", extend), ("restart", restart)) if given]
    if len(chosen) > 1:
        raise typer.BadParameter(f"--{chosen[0]} and --{chosen[1]} exclude each other")
    name = "-".join(["train", *([weights] if weights else []), *([f"seed{seed}"] if seed is not None else [])])
    fields = [*(set_ or ()), *(f"train.onChange={name}" for name in chosen)]
    found = stage.run(start_stage(name, spec, fields, wait), weights, seed, profile)
    report(found.outcome, json_)
    return CommandResult(facts=found.facts)
