"""The command line: one sub-command per stage, and those that work on a whole spec.

A failure is an exception of `errors`; what becomes of it, and of a signal, is
`__main__`'s. A command may return what it leaves for its ending (`Told`). Heavy
libraries are imported by the command that needs them, so that `--help` and
`validate` answer at once.
"""

from __future__ import annotations

import os
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from captionless import __version__
from captionless.cli import classify, compare, doctor, evaluate, kubernetes, search
from captionless.cli.default_command import DefaultCommandGroup
from captionless.cli.options import Json, Quiet, Set, Where, patience
from captionless.errors import SpecError
from captionless.runtime import env
from captionless.runtime.termination_message import CommandResult
from captionless.spec import load
from captionless.spec.alignment import AlignmentSpec
from captionless.spec.weights import Weights
from captionless.stages import wait_inputs, work_items

app = typer.Typer(
    name="captionless",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Teach a 3D point-cloud encoder to see as CLIP does, without captions.",
    epilog="Exit codes: 0 done, 1 failed (try again), 2 usage, 64 wrong spec or access, 65 bad data, 75 interrupted.",
)

Shard = Annotated[
    str,
    typer.Option(
        "--shard",
        metavar="I/N",
        help="Do share I (from 0) of N. Default: JOB_COMPLETION_INDEX of CAPTIONLESS_SHARDS, or all of it.",
    ),
]


Wait = Annotated[
    float | None,
    typer.Option(
        "--wait-inputs",
        metavar="TIME",
        parser=patience,
        help="Wait as long for the stages that this one reads, as in 90s, 30m, 2h. Default: they must be finished.",
    ),
]


def _version(asked: bool) -> None:
    if asked:
        print(f"captionless {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    pass


@app.command()
def init(
    meshes: Annotated[
        str, typer.Argument(help="A folder with one sub-folder of meshes per category, or a manifest.jsonl.")
    ],
    out: Annotated[str, typer.Option("--out", "-o", help="Where to write the spec; - for stdout.")] = "alignment.yaml",
    clip: Annotated[
        str, typer.Option(help="`captionless-demo`, or MODEL/TAG of OpenCLIP such as ViT-B-32/laion2b_s34b_b79k.")
    ] = "captionless-demo",
    up: Annotated[str, typer.Option(help="The meshes' up axis, where the format does not say it.")] = "",
) -> None:
    """Write a spec for your own meshes, to look at and to run.

    Example: `captionless init shapes/ && captionless run alignment.yaml`
    """
    from captionless.spec.init import write_spec

    where = write_spec(meshes, out, clip, up)
    if where != "-":
        print(f"wrote {where}; next: captionless run {where}")


@app.command()
def validate(spec: Where, set_: Set = None) -> None:
    """Check a spec and say what is wrong with it, field by field."""
    loaded = load.load_spec(spec, set_ or ())
    from captionless.cli import preflight
    from captionless.spec.plan import plan

    preflight.check(loaded)
    print(f"{spec}: valid; {len(plan(loaded))} stages into {loaded.root}")


@app.command("plan")
def show_plan(
    spec: Where,
    set_: Set = None,
    resolved: Annotated[bool, typer.Option("--spec", help="Print the whole spec with its defaults instead.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print the stages as JSON.")] = False,
) -> None:
    """Show the stages of a spec: command, workers, what each waits for."""
    loaded = load.load_spec(spec, set_ or ())
    if resolved:
        print(load.dump_spec(loaded), end="")
        return
    from captionless.spec.plan import plan

    stages = plan(loaded)
    if json_:
        import json
        from dataclasses import asdict

        print(json.dumps([asdict(s) for s in stages], indent=1))
        return
    table = Table(box=None, header_style="dim")
    for column in ("stage", "command", "workers", "cpus", "after"):
        table.add_column(column, overflow="fold")
    for s in stages:
        table.add_row(s.name, "captionless " + " ".join(s.command), str(s.workers), str(s.cpus), ", ".join(s.after))
    Console().print(table)


@app.command()
def run(
    spec: Where,
    set_: Set = None,
    start: Annotated[str | None, typer.Option("--from", metavar="STAGE", help="Begin with this stage.")] = None,
    only: Annotated[str | None, typer.Option("--only", metavar="STAGE", help="Do this stage only.")] = None,
    quiet: Quiet = False,
    json_: Json = False,
) -> None:
    """Run a spec on this machine, from what is already there to the report.

    Stopped anywhere, the same command goes on; run again when done, it computes nothing.

    Examples: `captionless run demo.yaml`, `captionless run demo.yaml --from train --set train.steps=500`
    """
    loaded = load.load_spec(spec, set_ or ())
    from captionless.cli import preflight, summary
    from captionless.local import runner
    from captionless.terminal.live_view import LiveView

    preflight.check(loaded)
    runner.run(loaded, start, only, LiveView())
    (summary.show_json if json_ else summary.show)(loaded)


app.command()(doctor.doctor)
app.command()(kubernetes.render)
app.command()(kubernetes.controller)
app.add_typer(kubernetes.k8s)
app.add_typer(classify.classify)
app.command()(compare.compare)
app.add_typer(search.search)


def _serve(name: str) -> None:
    if env.METRICS_PORT in os.environ:
        from captionless.telemetry import server

        server.serve(name)


def _stage(name: str, spec: str, set_: list[str] | None, seconds: float | None) -> AlignmentSpec:
    """The beginning of a stage: its metrics are served under its name in the plan, its spec is read, and what it
    reads itself is waited for."""
    _serve(name)
    loaded = load.load_spec(spec, set_ or ())
    if seconds is not None:
        wait_inputs.wait(loaded, name, seconds)
    return loaded


@app.command()
def pack(spec: Where, set_: Set = None, shard: Shard = "", wait: Wait = None, quiet: Quiet = False) -> None:
    """Stage 1: render views and sample points of every object into shards."""
    from captionless.stages import pack as stage

    stage.run(_stage("pack", spec, set_, wait), _share(shard))


@app.command()
def embed(spec: Where, set_: Set = None, shard: Shard = "", wait: Wait = None, quiet: Quiet = False) -> None:
    """Stage 2: embed the views with the frozen CLIP model."""
    from captionless.stages import embed as stage

    stage.run(_stage("embed", spec, set_, wait), _share(shard))


@app.command()
def landmarks(spec: Where, set_: Set = None, shard: Shard = "", wait: Wait = None, quiet: Quiet = False) -> None:
    """Stage 3: get the landmark texts of every category and embed them."""
    from captionless.stages import landmarks as stage

    stage.run(_stage("landmarks", spec, set_, wait), _share(shard))


_similarity = typer.Typer(
    name="similarity",
    cls=DefaultCommandGroup,
    rich_markup_mode="markdown",
    help="Stage 4: similarity of all pairs of a category, I2I or (I2L)²; and what it is of one object.\n\n"
    "`captionless similarity SPEC` and `captionless similarity --dataset URL ...` stand for `similarity compute`.",
)
app.add_typer(_similarity)


@_similarity.command("compute")
def similarity(
    spec: Annotated[str | None, typer.Argument(metavar="[SPEC]", help="A spec; or name the data by options.")] = None,
    set_: Set = None,
    metric: Annotated[Literal["i2i", "i2l"], typer.Option(help="Which similarity.")] = "i2i",
    dataset: Annotated[str | None, typer.Option(metavar="URL", help="An embed stage's folder.")] = None,
    landmarks_: Annotated[
        str | None,
        typer.Option("--landmarks", metavar="URL", help="A landmarks stage's folder (default: beside the dataset)."),
    ] = None,
    out: Annotated[str | None, typer.Option(metavar="URL", help="Where the matrices go.")] = None,
    shard: Shard = "",
    wait: Wait = None,
    quiet: Quiet = False,
) -> None:
    """Stage 4: similarity of all pairs of a category, I2I or (I2L)². The name `compute` may be left out.

    Examples: `captionless similarity demo.yaml --metric i2i`,
    `captionless similarity --dataset s3://b/run/embed --out s3://b/run/similarity/i2i --metric i2i --shard 0/4`
    """
    from captionless.stages import similarity as stage

    if spec is not None:
        stage.run(_stage(f"similarity-{metric}", spec, set_, wait), metric, _share(shard))
        return
    if dataset is None or out is None:
        raise typer.BadParameter("without a SPEC both --dataset and --out are needed", param_hint="--dataset/--out")
    stage.compute(dataset, landmarks_, out, metric, shard=_share(shard))


@_similarity.command("inspect")
def similarity_inspect(
    url: Annotated[str, typer.Argument(metavar="URL", help="A store, as `RUN/similarity/i2i`.")],
    key: Annotated[str, typer.Argument(metavar="KEY", help="An object of it.")],
    sharpen: Annotated[float, typer.Option(min=1, max=100, help="Show it with this `train.sharpen` too.")] = 1.0,
    out: Annotated[
        str | None, typer.Option(metavar="FILE.html", help="Write a page with pictures and histograms, too.")
    ] = None,
    pack: Annotated[
        str | None,
        typer.Option(metavar="URL", help="A pack stage's folder, for the page's pictures (default: the run's)."),
    ] = None,
) -> None:
    """Show an object's nearest and farthest, and what similarities weigh as negatives, in every category.

    Examples: `captionless similarity inspect runs/demo/similarity/i2i chair-train-0012`,
    `captionless similarity inspect s3://b/run/similarity/i2l chairs/oak --sharpen 3 --out oak.html`
    """
    if pack is not None and out is None:
        raise typer.BadParameter("its pictures are for the page; name one with --out", param_hint="--pack")
    from captionless.stages import inspect as stage

    stage.run(url, key, sharpen, out, pack)


@app.command()
def neighbours(
    dataset: Annotated[str, typer.Option(metavar="URL", help="An embed stage's folder.")],
    out: Annotated[str, typer.Option(metavar="URL", help="Where the neighbours go.")],
    of: Annotated[
        str,
        typer.Option(
            metavar="views|mean|URL", help="What is compared: views by pose, their mean, or a model.pt's shapes."
        ),
    ] = "views",
    within: Annotated[
        Literal["category", "dataset"], typer.Option(help="Where neighbours are looked for.")
    ] = "category",
    k: Annotated[int, typer.Option(min=1, help="How many of every object.")] = 32,
    shard: Shard = "",
    quiet: Quiet = False,
) -> None:
    """Every training object's nearest neighbours by cosine, for batches of hard negatives.

    Examples: `captionless neighbours --dataset runs/demo/embed --out runs/demo/neighbours --within dataset`,
    `captionless neighbours --dataset s3://b/run/embed --out s3://b/run/neighbours --of s3://b/run/train/avg-seed0/model.pt
    --shard 0/4`
    """
    from captionless.stages import neighbours as stage

    _serve("neighbours")
    stage.compute(dataset, out, of, within, k, _share(shard))


@app.command()
def train(
    spec: Where,
    set_: Set = None,
    weights: Annotated[Weights | None, typer.Option(help="Train with these weights only.")] = None,
    seed: Annotated[int | None, typer.Option(help="Train with this seed only.")] = None,
    wait: Wait = None,
    quiet: Quiet = False,
) -> CommandResult:
    """Stage 5: train the point encoder, by torchrun; all losses and seeds of the spec, or one."""
    from captionless.stages import train as stage

    name = "-".join(["train", *([weights] if weights else []), *([f"seed{seed}"] if seed is not None else [])])
    return CommandResult(facts=stage.run(_stage(name, spec, set_, wait), weights, seed))


@app.command("eval")
def eval_(
    spec: Annotated[str | None, typer.Argument(metavar="[SPEC]", help="A spec; or name a checkpoint and data.")] = None,
    set_: Set = None,
    checkpoint: evaluate.Checkpoint = None,
    data: evaluate.Data = None,
    protocol: evaluate.Protocols = None,
    prompt: evaluate.Prompt = "paper",
    split: evaluate.Split = None,
    up: evaluate.Up = None,
    points: evaluate.Points = None,
    crop: evaluate.Crop = False,
    max_skipped: evaluate.MaxSkipped = None,
    seed: evaluate.Seed = 0,
    out: Annotated[str | None, typer.Option(metavar="URL", help="Write the results as JSON; - for stdout.")] = None,
    table: evaluate.TableFile = None,
    wait: Wait = None,
    quiet: Quiet = False,
) -> CommandResult:
    """Stage 6: evaluate the trained encoders on unseen objects; results.json and report.html.

    With `--checkpoint` and `--data` instead of a SPEC: one encoder on a published test set, a file of labelled clouds
    or the objects of any source, as in
    `captionless eval --checkpoint runs/demo/train/avg-seed0 --data modelnet40=modelnet40_ply_hdf5_2048`,
    `captionless eval --checkpoint model.pt --data pix3d-masked=pix3d --out pix3d.json --table pix3d.md`
    """
    if spec is None:
        return evaluate.evaluate(
            checkpoint, data, protocol, prompt, split, up, points, crop, max_skipped, seed, out, table
        )
    if checkpoint is not None or data is not None:
        raise typer.BadParameter("a spec says itself what is measured on what", param_hint="--checkpoint/--data")
    from captionless.cli import summary
    from captionless.stages import eval as stage

    loaded = _stage("eval", spec, set_, wait)
    stage.run(loaded)
    summary.show(loaded)
    return CommandResult(figures=stage.figures(loaded))


def _share(text: str) -> work_items.Shard:
    """The share of `--shard I/N`, of an Indexed Job's environment, or all of it."""
    if not text:
        index, count = os.environ.get(env.INDEX), os.environ.get(env.SHARDS, "")
        if index is None:
            return work_items.Shard()
        if not count:
            raise SpecError(f"{env.INDEX} is set but {env.SHARDS} is not; pass --shard I/N")
        text = f"{index}/{count}"
    i, _, n = text.partition("/")
    if not (i.isdigit() and n.isdigit() and int(i) < int(n)):
        raise typer.BadParameter(f"expected I/N with 0 <= I < N, found {text!r}", param_hint="--shard")
    return work_items.Shard(int(i), int(n))
