"""The commands for classifiers: `captionless classify`, which trains one, and `captionless classify evaluate`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from captionless.cli.default_command import DefaultCommandGroup
from captionless.cli.options import Quiet, Set
from captionless.runtime.termination_message import CommandResult
from captionless.spec import load
from captionless.spec.classification import ClassificationSpec

classify = typer.Typer(
    name="classify",
    cls=DefaultCommandGroup,
    rich_markup_mode="markdown",
    help="Train a linear head on an encoder with labelled clouds, fine-tuned or frozen; measure one on others.\n\n"
    "`captionless classify SPEC` stands for `captionless classify train SPEC`.",
)


@classify.command("train")
def train(
    spec: Annotated[str, typer.Argument(metavar="SPEC", help="A YAML file with `data:` and `classify:`; - for stdin.")],
    set_: Set = None,
    quiet: Quiet = False,
) -> CommandResult:
    """Train a classifier and measure it: model.pt, results.json, table.md. The name `train` may be left out.

    A share of each class's training objects is kept out and chooses the best weights; the test split, where the data
    has one, is looked at in the end. Stopped anywhere, the same command goes on; run again, it computes nothing.

    Examples: `captionless classify examples/modelnet40.yaml --set data.source.url=modelnet40_train.npz`,
    `captionless classify my.yaml --set classify.init=runs/demo/train/avg-seed0/model.pt --set classify.frozen=true`
    """
    from captionless.cli import summary
    from captionless.eval import classification
    from captionless.stages import classify as stage

    loaded = load.validated(ClassificationSpec, load.read_document(spec), set_ or (), spec)
    found = stage.run(loaded)
    summary.show_classifier(found, loaded.name)
    print(f"model: {stage.model_of(loaded)}")
    return CommandResult(figures=classification.percentages(found["figures"]))


@classify.command("evaluate")
def evaluate(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A classifier's model.pt, or its run's folder.")],
    data: Annotated[
        str, typer.Argument(metavar="DATA", help="An .npz or .h5 file of clouds, or a YAML file with `data:`.")
    ],
    split: Annotated[
        Literal["test", "train", "all"] | None,
        typer.Option(help="Which objects. Default: all of a file of clouds, the test split of a YAML file."),
    ] = None,
    up: Annotated[
        Literal["x", "y", "z"] | None,
        typer.Option(help="The clouds' up axis. Default: as in the training; a YAML file says it itself."),
    ] = None,
    out: Annotated[str | None, typer.Option(metavar="URL", help="Write the results as JSON; - for stdout.")] = None,
) -> CommandResult:
    """Measure a classifier on other clouds.

    Labels may be names, or numbers into the file's `classes` or, where it has none, into those of the training's file.

    Examples: `captionless classify evaluate runs/modelnet40/model.pt test.npz`,
    `captionless classify evaluate runs/modelnet40 modelnet40.yaml --split test --out figures.json`
    """
    from captionless.cli import summary
    from captionless.eval import classification, results
    from captionless.stages import classify as stage
    from captionless.store import objects

    found = stage.evaluate(model, data, split, up)
    if out == "-":
        print(results.dumps(found).decode(), end="")
    else:
        if out is not None:
            objects.write_bytes(out, results.dumps(found))
        summary.show_classifier(found, data)
    return CommandResult(figures=classification.percentages(found["figures"]))
