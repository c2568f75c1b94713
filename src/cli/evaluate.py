"""`captionless eval --checkpoint URL --data SPEC`: one encoder on any labelled objects, without a run."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

import typer

from captionless.precompute.testsets import NAMES
from captionless.runtime.termination_message import CommandResult

Checkpoint = Annotated[
    str | None, typer.Option(metavar="URL", help="A trained encoder: its model.pt, or its run's folder.")
]
Data = Annotated[
    str | None,
    typer.Option(
        metavar="DATA",
        help=f"NAME=FOLDER, a published test set ({', '.join(NAMES)}); a file of clouds, .npz or .h5; or a YAML file "
        "with `data:`. NAME alone says where to get it.",
    ),
]


class Protocol(StrEnum):
    """Those of `eval.checkpoint`, and all that apply; typer takes no list of literals."""

    zero_shot = "zero-shot"
    gallery = "gallery"
    in_batch = "in-batch"
    all = "all"


Protocols = Annotated[
    list[Protocol] | None,
    typer.Option("--protocol", help="What to measure; may be repeated. Default: retrieval on pix3d, else zero-shot."),
]
Prompt = Annotated[str, typer.Option(help="paper, released, ensemble, or a template with {}.")]
Split = Annotated[
    Literal["test", "train", "all"] | None,
    typer.Option(help="Which objects. Default: test of a YAML file, all of a file of clouds."),
]
Up = Annotated[Literal["x", "y", "z"] | None, typer.Option(help="The up axis of a file of clouds.")]
Points = Annotated[
    int | None, typer.Option(min=1, help="Points of each cloud. Default: as many as it was trained with.")
]
Crop = Annotated[bool, typer.Option("--crop", help="Cut pix3d's pictures to the object's square.")]
MaxSkipped = Annotated[
    int | None,
    typer.Option(min=0, help="How many broken objects and pictures may be left out, each named. Default: 0."),
]
Seed = Annotated[int, typer.Option(min=0, help="Of the in-batch protocol's shuffle.")]
TableFile = Annotated[str | None, typer.Option("--table", metavar="URL", help="Write the table as Markdown, too.")]


def evaluate(
    checkpoint: str | None,
    data: str | None,
    protocols: list[Protocol] | None,
    prompt: str,
    split: Literal["test", "train", "all"] | None,
    up: Literal["x", "y", "z"] | None,
    points: int | None,
    crop: bool,
    max_skipped: int | None,
    seed: int,
    out: str | None,
    table: str | None,
) -> CommandResult:
    """Measures it, prints the table and writes what was asked for; `out` "-" prints the JSON instead."""
    if data is None:
        raise typer.BadParameter("without a SPEC it is needed, beside --checkpoint", param_hint="--data")
    from captionless.stages.eval_dataset import Options, open_eval_dataset

    given = open_eval_dataset(
        data, Options(up, split, max_skipped, crop)
    )  # tells where to get a set, also without checkpoint
    if checkpoint is None:
        raise typer.BadParameter("without a SPEC it is needed, beside --data", param_hint="--checkpoint")
    from captionless.cli import summary
    from captionless.eval import checkpoint_figures as figures
    from captionless.eval import results
    from captionless.stages import eval_checkpoint as stage
    from captionless.store import objects

    found = stage.evaluate(checkpoint, given, protocols or (), prompt, points, seed)
    if table is not None:
        objects.write_bytes(table, figures.markdown(found).encode())
    if out == "-":
        print(results.dumps(found).decode(), end="")
    else:
        if out is not None:
            objects.write_bytes(out, results.dumps(found))
        summary.show_checkpoint(found)
    return CommandResult(figures=figures.percentages(found))
