"""The commands for search: `captionless search`, which queries a gallery, and `captionless search build`."""

from typing import Annotated, Literal

import typer

from captionless.cli.default_command import DefaultCommandGroup
from captionless.cli.options import Json, Quiet

search = typer.Typer(
    name="search",
    cls=DefaultCommandGroup,
    rich_markup_mode="markdown",
    help="Find shapes by words, a picture, or a shape, in a gallery built with a trained encoder.\n\n"
    "`captionless search --index URL QUERY` is short for `captionless search query --index URL QUERY`.",
)


@search.command("query")
def query(
    queries: Annotated[
        list[str],
        typer.Argument(
            metavar="QUERY...",
            help="Words; a picture, mesh or point cloud (.npy) file; or `key:NAME`, a shape of the gallery.",
        ),
    ],
    index: Annotated[str, typer.Option(metavar="URL", help="A gallery built by `captionless search build`.")],
    checkpoint: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="The model.pt it was built with, if moved (default: the URL that the gallery names)."
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="The number of results.")] = 10,
    within: Annotated[str | None, typer.Option(metavar="CATEGORY", help="Search only this category.")] = None,
    prompt: Annotated[
        str, typer.Option(help="The prompt for words: paper, released, ensemble, or a template with {}.")
    ] = "{}",
    up: Annotated[
        Literal["x", "y", "z"] | None,
        typer.Option(help="The up axis of a mesh or point cloud, for formats that do not define it."),
    ] = None,
    out: Annotated[str | None, typer.Option(metavar="FILE.html", help="Also write a page with pictures.")] = None,
    pack: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The output folder of a pack stage, for pictures. Default: the run's own."),
    ] = None,
    json_: Json = False,
) -> None:
    """Find the shapes nearest to words, pictures, meshes, point clouds or other shapes. The name `query` is optional.

    Examples: `captionless search --checkpoint runs/demo/train/avg-seed0/model.pt --index runs/demo/search/avg-seed0
    "a chair with arms"`, `captionless search --index s3://b/run/search/avg photo.jpg key:chair-test-0012 -k 20 --out
    found.html`
    """
    from captionless.stages import search as stage

    stage.run(index, queries, checkpoint, k, within, prompt, up, out, pack, json_)


@search.command("build")
def build(
    checkpoint: Annotated[str, typer.Option(metavar="URL", help="The model.pt of a trained encoder.")],
    dataset: Annotated[str, typer.Option(metavar="URL", help="The output folder of an embed stage.")],
    out: Annotated[str, typer.Option(metavar="URL", help="The folder to write the gallery to.")],
    split: Annotated[Literal["all", "train", "test"], typer.Option(help="The objects to index.")] = "all",
    pack: Annotated[
        str | None,
        typer.Option(metavar="URL", help="The folder of their pictures. Default: `pack`, next to the dataset."),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Build a gallery: embed every shape of a dataset with the encoder, and index the embeddings with faiss.

    Rerun an interrupted build to resume it; rerunning a finished one computes nothing.

    Example: `captionless search build --checkpoint runs/demo/train/avg-seed0/model.pt --dataset runs/demo/embed --out
    runs/demo/search/avg-seed0`
    """
    from captionless.stages.search import build as stage

    stage.build(checkpoint, dataset, out, split, pack)
