"""The commands for similarity: `captionless similarity`, which computes it, and `captionless similarity inspect`."""

from typing import Annotated, Literal

import typer

from captionless.cli.default_command import DefaultCommandGroup
from captionless.cli.options import OutcomeJson, Quiet, Set, Shard, Wait, parse_shard
from captionless.cli.stages import report, start_stage

similarity = typer.Typer(
    name="similarity",
    cls=DefaultCommandGroup,
    rich_markup_mode="markdown",
    help="Stage 4: compute the similarity of all pairs within a category, I2I or (I2L)²; inspect it for one object.\n\n"
    "`captionless similarity SPEC` and `captionless similarity --dataset URL ...` are short for `similarity compute`.",
)


@similarity.command("compute")
def compute(
    spec: Annotated[
        str | None, typer.Argument(metavar="[SPEC]", help="A YAML file, or use --dataset and --out instead.")
    ] = None,
    set_: Set = None,
    metric: Annotated[Literal["i2i", "i2l"], typer.Option(help="The similarity to compute.")] = "i2i",
    dataset: Annotated[str | None, typer.Option(metavar="URL", help="The output folder of an embed stage.")] = None,
    landmarks: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The output folder of a landmarks stage. Default: next to the dataset."),
    ] = None,
    out: Annotated[str | None, typer.Option(metavar="URL", help="The folder to write the matrices to.")] = None,
    shard: Shard = "",
    wait: Wait = None,
    quiet: Quiet = False,
    json_: OutcomeJson = False,
) -> None:
    """Stage 4: compute the similarity of all pairs within a category, I2I or (I2L)². The name `compute` is optional.

    Examples: `captionless similarity demo.yaml --metric i2i`,
    `captionless similarity --dataset s3://b/run/embed --out s3://b/run/similarity/i2i --metric i2i --shard 0/4`
    """
    from captionless.stages import similarity as stage

    if spec is not None:
        report(stage.run(start_stage(f"similarity-{metric}", spec, set_, wait), metric, parse_shard(shard)), json_)
        return
    if dataset is None or out is None:
        raise typer.BadParameter("both are required without a SPEC", param_hint="--dataset/--out")
    report(stage.compute(dataset, landmarks, out, metric, shard=parse_shard(shard)), json_)


@similarity.command("inspect")
def inspect(
    url: Annotated[str, typer.Argument(metavar="URL", help="A similarity store, e.g. `RUN/similarity/i2i`.")],
    key: Annotated[str, typer.Argument(metavar="KEY", help="The key of an object in it.")],
    sharpen: Annotated[
        float, typer.Option(min=1, max=100, help="Also show the weights with this `train.sharpen`.")
    ] = 1.0,
    out: Annotated[
        str | None, typer.Option(metavar="FILE.html", help="Also write a page with pictures and histograms.")
    ] = None,
    pack: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="The output folder of a pack stage, for the page's pictures. Default: the run's own."
        ),
    ] = None,
) -> None:
    """Show an object's most and least similar objects, and the weights that similarities give to negatives in every
    category.

    Examples: `captionless similarity inspect runs/demo/similarity/i2i chair-train-0012`,
    `captionless similarity inspect s3://b/run/similarity/i2l chairs/oak --sharpen 3 --out oak.html`
    """
    if pack is not None and out is None:
        raise typer.BadParameter("requires --out: the pictures are for its page", param_hint="--pack")
    from captionless.stages import inspect as stage

    stage.run(url, key, sharpen, out, pack)
