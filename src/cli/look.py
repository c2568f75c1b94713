"""`captionless look`: what one does before trusting a data set."""

from typing import Annotated, Literal

import typer

from captionless.cli.options import Set


def look(
    what: Annotated[
        str, typer.Argument(metavar="FILE|SPEC", help="A mesh file; or a spec, with the key of an object.")
    ],
    key: Annotated[str | None, typer.Argument(metavar="[KEY]", help="The key of an object of the spec.")] = None,
    out: Annotated[
        str, typer.Option("--out", "-o", metavar="FILE", help="The file to write, HTML or PNG by its suffix.")
    ] = "look.html",
    up: Annotated[
        Literal["x", "y", "z"] | None,
        typer.Option(help="The up axis of a mesh file, for formats that do not define it; a spec says it itself."),
    ] = None,
    views: Annotated[int, typer.Option(min=1, max=64, help="The number of views.")] = 8,
    augmented: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=64, help="Draw the clouds of N objects as a training step gets them."),
    ] = None,
    step: Annotated[int, typer.Option(min=0, help="With --augmented: the step, from 0.")] = 0,
    set_: Set = None,
) -> None:
    """Draw one object as it is read: views, cloud, textures, bounds, faces, and what of its file was lost.

    With --augmented, draw clouds after sampling and augmentation beside the stored ones, which `embed` has left.

    Writes one HTML file, or one PNG, in seconds. Exits with 65 if the object cannot be read.

    Examples: `captionless look chair.glb`, `captionless look scan.ply --up z --out scan.png`,
    `captionless look run.yaml chair/oak-01 --out oak.html`, `captionless look run.yaml --augmented 8`
    """
    from captionless.stages import look as stage

    if up is not None and key is not None:
        raise typer.BadParameter("a spec says it itself, in data.source.up", param_hint="--up")
    if augmented is not None:
        if key is not None:
            raise typer.BadParameter("draws objects of a batch; leave out the key", param_hint="--augmented")
        stage.augmented(what, augmented, step, out, tuple(set_ or ()))
        print(f"wrote {out}")
        return
    if step:
        raise typer.BadParameter("is for --augmented", param_hint="--step")
    if set_ and key is None:
        raise typer.BadParameter("is for a spec; a mesh file has no fields", param_hint="--set")
    seen = stage.run(what, key, out, up, tuple(set_ or ()), views)
    for warning in seen.warnings:
        print(f"warning: {warning}")
    print(f"wrote {out}")
