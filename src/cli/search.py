"""The commands of search: `captionless search`, which finds shapes, and `captionless search build`, its gallery."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from captionless.cli.default_command import DefaultCommandGroup
from captionless.cli.options import Json, Quiet

search = typer.Typer(
    name="search",
    cls=DefaultCommandGroup,
    rich_markup_mode="markdown",
    help="Find shapes by words, a picture, or a shape, in a gallery that a trained encoder made.\n\n"
    "`captionless search --index URL QUERY` stands for `captionless search query --index URL QUERY`.",
)


@search.command("query")
def query(
    queries: Annotated[
        list[str],
        typer.Argument(
            metavar="QUERY...", help="Words, a picture's file, a mesh's or a cloud's (.npy), or `key:NAME` of a shape."
        ),
    ],
    index: Annotated[str, typer.Option(metavar="URL", help="A gallery, made by `captionless search build`.")],
    checkpoint: Annotated[
        str | None, typer.Option(metavar="URL", help="The model.pt that made it: needed for meshes and clouds.")
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many to find.")] = 10,
    within: Annotated[str | None, typer.Option(metavar="CATEGORY", help="Look in this category only.")] = None,
    prompt: Annotated[
        str, typer.Option(help="What words are put into: paper, released, ensemble, or a template with {}.")
    ] = "{}",
    up: Annotated[
        Literal["x", "y", "z"] | None,
        typer.Option(help="Up axis of a mesh or cloud whose format does not say it."),
    ] = None,
    out: Annotated[str | None, typer.Option(metavar="FILE.html", help="Write a page with pictures, too.")] = None,
    pack: Annotated[
        str | None, typer.Option(metavar="URL", help="A pack stage's folder, for pictures (default: the run's).")
    ] = None,
    json_: Json = False,
) -> None:
    """Find the shapes nearest to words, pictures, meshes, clouds or other shapes. The name `query` may be left out.

    Examples: `captionless search --checkpoint runs/demo/train/avg-seed0/model.pt --index runs/demo/search/avg-seed0
    "a chair with arms"`, `captionless search --index s3://b/run/search/avg photo.jpg key:chair-test-0012 -k 20 --out
    found.html`
    """
    from captionless.stages import search as stage

    stage.run(index, queries, checkpoint, k, within, prompt, up, out, pack, json_)


@search.command("build")
def build(
    checkpoint: Annotated[str, typer.Option(metavar="URL", help="A trained encoder, model.pt.")],
    dataset: Annotated[str, typer.Option(metavar="URL", help="An embed stage's folder.")],
    out: Annotated[str, typer.Option(metavar="URL", help="Where the gallery goes.")],
    split: Annotated[Literal["all", "train", "test"], typer.Option(help="Which of its objects.")] = "all",
    pack: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The folder of their pictures (default: `pack`, beside the dataset)."),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Make the gallery: every shape of a run's data through the encoder, into a faiss index.

    Stopped anywhere, the same command goes on; run again, it computes nothing.

    Example: `captionless search build --checkpoint runs/demo/train/avg-seed0/model.pt --dataset runs/demo/embed --out
    runs/demo/search/avg-seed0`
    """
    from captionless.stages.search import build as stage

    stage.build(checkpoint, dataset, out, split, pack)
