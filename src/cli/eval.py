"""`captionless eval`: the encoders of a run on its test split, or one encoder on any labelled objects."""

from enum import StrEnum
from typing import Annotated, Literal

import typer

from captionless.cli.options import OutcomeJson, Quiet, Set, Wait
from captionless.cli.stages import report, start_stage
from captionless.precompute.testsets import NAMES
from captionless.runtime.encoding import json_for_stdout
from captionless.runtime.termination_message import CommandResult


class ProtocolChoice(StrEnum):
    """The protocols of `eval.checkpoint_figures`, and `all` that apply; typer accepts no list of literals."""

    zero_shot = "zero-shot"
    gallery = "gallery"
    in_batch = "in-batch"
    all = "all"


def evaluate(
    spec: Annotated[
        str | None, typer.Argument(metavar="[SPEC]", help="A YAML file, or use --checkpoint and --data instead.")
    ] = None,
    set_: Set = None,
    checkpoint: Annotated[
        str | None, typer.Option(metavar="URL", help="A trained encoder: its model.pt, or the folder of its run.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help=f"NAME=FOLDER, a published test set ({', '.join(NAMES)}); an .npz or .h5 file of point clouds; or a "
            "YAML file with `data:`. NAME alone prints where to get the set.",
        ),
    ] = None,
    protocol: Annotated[
        list[ProtocolChoice] | None,
        typer.Option(help="What to measure. Repeatable. Default: gallery and in-batch on pix3d, else zero-shot."),
    ] = None,
    prompt: Annotated[str, typer.Option(help="paper, released, ensemble, or a template with {}.")] = "paper",
    split: Annotated[
        Literal["test", "train", "all"] | None,
        typer.Option(help="The objects to use. Default: test for a YAML file, all for a file of point clouds."),
    ] = None,
    up: Annotated[Literal["x", "y", "z"] | None, typer.Option(help="The up axis of a file of point clouds.")] = None,
    points: Annotated[int | None, typer.Option(min=1, help="Points per cloud. Default: as in training.")] = None,
    crop: Annotated[bool, typer.Option("--crop", help="Crop the pictures of pix3d to the object's square.")] = False,
    max_skipped: Annotated[
        int | None,
        typer.Option(min=0, help="How many broken objects and pictures may be skipped; each is reported. Default: 0."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The seed of the in-batch protocol's shuffle.")] = 0,
    out: Annotated[str | None, typer.Option(metavar="URL", help="Write the results as JSON; - for stdout.")] = None,
    table: Annotated[str | None, typer.Option(metavar="URL", help="Also write the table as Markdown.")] = None,
    wait: Wait = None,
    quiet: Quiet = False,
    json_: OutcomeJson = False,
) -> CommandResult:
    """Stage 6: evaluate the trained encoders on unseen objects; writes results.json and report.html.

    With `--checkpoint` and `--data` instead of a SPEC: evaluate one encoder on a published test set, a file of labelled
    point clouds, or the objects of any source, e.g.
    `captionless eval --checkpoint runs/demo/train/avg-seed0 --data modelnet40=modelnet40_ply_hdf5_2048`,
    `captionless eval --checkpoint model.pt --data pix3d-masked=pix3d --out pix3d.json --table pix3d.md`
    """
    if spec is None:
        if json_:
            raise typer.BadParameter("requires a SPEC; for results as JSON, use --out -", param_hint="--json")
        return _evaluate_checkpoint(
            checkpoint, data, protocol, prompt, split, up, points, crop, max_skipped, seed, out, table
        )
    if checkpoint is not None or data is not None:
        raise typer.BadParameter("not allowed with a SPEC, which defines both", param_hint="--checkpoint/--data")
    from captionless.cli import summary
    from captionless.stages import eval as stage

    loaded = start_stage("eval", spec, set_, wait)
    outcome = stage.run(loaded)
    if json_:
        report(outcome, json_)
    else:
        summary.show(loaded)
    return CommandResult(figures=stage.figures(loaded))


def _evaluate_checkpoint(
    checkpoint: str | None,
    data: str | None,
    protocols: list[ProtocolChoice] | None,
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
    """Evaluates one encoder, prints the table and writes the requested files; `out` "-" prints the JSON instead."""
    if data is None:
        raise typer.BadParameter("required without a SPEC, together with --checkpoint", param_hint="--data")
    from captionless.stages.eval_dataset import Options, open_eval_dataset

    # before the checkpoint is looked at: a test set's name alone prints where to get it
    dataset = open_eval_dataset(data, Options(up, split, max_skipped, crop))
    if checkpoint is None:
        raise typer.BadParameter("required without a SPEC, together with --data", param_hint="--checkpoint")
    from captionless.cli import summary
    from captionless.eval import checkpoint_figures as figures
    from captionless.eval import results
    from captionless.stages import eval_checkpoint as stage
    from captionless.store import objects

    found = stage.evaluate(checkpoint, dataset, protocols or (), prompt, points, seed)
    if table is not None:
        objects.write_bytes(table, figures.markdown(found).encode())
    if out == "-":
        print(json_for_stdout(results.dumps(found).decode()), end="")
    else:
        if out is not None:
            objects.write_bytes(out, results.dumps(found))
        summary.show_checkpoint(found)
    return CommandResult(figures=figures.percentages(found))
