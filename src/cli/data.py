"""The commands for a run's data: `captionless data broken`, `describe`, `export`."""

from typing import Annotated

import typer

from captionless.cli.options import Json, Set, SpecPath

data = typer.Typer(name="data", no_args_is_help=True, rich_markup_mode="markdown", help="Inspect the objects of a run.")


@data.command()
def broken(
    spec: SpecPath,
    set_: Set = None,
    examples: Annotated[
        int, typer.Option("--examples", min=1, help="How many objects to name of each kind of failure.")
    ] = 20,
    json_: Json = False,
) -> None:
    """List the objects that could not be read, and those that lack something of their files, with what can be done.

    Works as soon as `captionless pack` has finished a shard, also while it runs and if it failed. `--json` lists all.

    Examples: `captionless data broken run.yaml`, `captionless data broken run.yaml --json`
    """
    from captionless.cli import broken_text
    from captionless.spec.load import load_spec
    from captionless.spec.plan import PACK
    from captionless.stages.remedies import broken_objects, lossy_objects
    from captionless.store import objects

    loaded = load_spec(spec, set_ or ())
    url = objects.join(loaded.root, PACK)
    if json_:
        broken_text.show_json(broken_objects(url), lossy_objects(url))
    else:
        broken_text.show(broken_objects(url), examples, lossy_objects(url))


@data.command()
def describe(spec: SpecPath, set_: Set = None) -> None:
    """Print the data card: counts, splits, licences, sources, sizes, copies and what was left out, as Markdown.

    It needs `captionless list`, and tells more after `captionless pack`. It is also stored as `list/card.md` of the
    run's outputs.

    Example: `captionless data describe run.yaml`
    """
    from captionless.spec.load import load_spec
    from captionless.stages.listing import card

    print(card.describe(load_spec(spec, set_ or ())), end="")


@data.command()
def export(
    spec: SpecPath,
    out: Annotated[str, typer.Option("--out", "-o", metavar="URL", help="The Parquet file to write.")],
    set_: Set = None,
) -> None:
    """Export the listing as Parquet: every object with its split, version, licence and why it was left out, if it was.

    Example: `captionless data export run.yaml --out objects.parquet`
    """
    from captionless.spec.load import load_spec
    from captionless.stages.listing import export as stage

    if not out.endswith(".parquet"):
        raise typer.BadParameter(f"{out}: expected the name of a file that ends in .parquet", param_hint="--out")
    written = stage.export(load_spec(spec, set_ or ()), out)
    print(f"wrote {out}: {written.count:,} objects")
