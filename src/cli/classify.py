"""The commands for classifiers: `captionless classify`, which trains one, and `captionless classify evaluate`."""

from typing import Annotated, Literal

import typer

from captionless.cli.default_command import DefaultCommandGroup
from captionless.cli.options import Quiet, Set
from captionless.runtime.encoding import json_for_stdout
from captionless.runtime.termination_message import CommandResult

classify = typer.Typer(
    name="classify",
    cls=DefaultCommandGroup,
    rich_markup_mode="markdown",
    help="Train a linear head on an encoder with labelled point clouds, fine-tuned or frozen, and evaluate it.\n\n"
    "`captionless classify SPEC` is short for `captionless classify train SPEC`.",
)


@classify.command("train")
def train(
    spec: Annotated[str, typer.Argument(metavar="SPEC", help="A YAML file with `data:` and `classify:`; - for stdin.")],
    set_: Set = None,
    quiet: Quiet = False,
) -> CommandResult:
    """Train and evaluate a classifier; writes model.pt, results.json and table.md. The name `train` is optional.

    A fraction of each class's training objects is held out to select the best weights; the test split, if the data has
    one, is used only for the final evaluation. Rerun an interrupted training to resume it; rerunning a finished one
    computes nothing.

    Examples: `captionless classify examples/modelnet40.yaml --set data.source.url=modelnet40_train.npz`,
    `captionless classify my.yaml --set classify.init=runs/demo/train/avg-seed0/model.pt --set classify.frozen=true`
    """
    from captionless.cli import summary
    from captionless.eval import classification
    from captionless.spec import load
    from captionless.spec.classification import ClassificationSpec
    from captionless.stages import classify as stage

    loaded = load.validated(ClassificationSpec, load.read_document(spec), set_ or (), spec)
    found = stage.run(loaded)
    summary.show_classifier(found, loaded.name)
    print(f"model: {stage.model_of(loaded)}")
    return CommandResult(figures=classification.percentages(found["figures"]))


@classify.command("evaluate")
def evaluate(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="The model.pt of a classifier, or the folder of its run.")
    ],
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="An .npz or .h5 file of point clouds, or a YAML file with `data:`.")
    ],
    split: Annotated[
        Literal["test", "train", "all"] | None,
        typer.Option(help="The objects to use. Default: all for a file of point clouds, test for a YAML file."),
    ] = None,
    up: Annotated[
        Literal["x", "y", "z"] | None,
        typer.Option(help="The up axis of the point clouds. Default: as in training; a YAML file defines its own."),
    ] = None,
    out: Annotated[str | None, typer.Option(metavar="URL", help="Write the results as JSON; - for stdout.")] = None,
) -> CommandResult:
    """Evaluate a classifier on other point clouds.

    Labels are names, or indices into the file's `classes` or, if it has none, into those of the training file.

    Examples: `captionless classify evaluate runs/modelnet40/model.pt test.npz`,
    `captionless classify evaluate runs/modelnet40 modelnet40.yaml --split test --out figures.json`
    """
    from captionless.cli import summary
    from captionless.eval import classification, results
    from captionless.stages import classify as stage
    from captionless.store import objects

    found = stage.evaluate(model, data, split, up)
    if out == "-":
        print(json_for_stdout(results.dumps(found).decode()), end="")
    else:
        if out is not None:
            objects.write_bytes(out, results.dumps(found))
        summary.show_classifier(found, data)
    return CommandResult(figures=classification.percentages(found["figures"]))
