"""Arguments that several groups of commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from captionless.stages import inputs

Where = Annotated[str, typer.Argument(metavar="SPEC", help="A YAML file: path, URL, or - for stdin.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=C", help="Override a field, as in `--set train.steps=500`. May be repeated."),
]


def patience(text: str) -> float:
    """Seconds of `90s`, `30m` or `2h`; a usage error for anything else."""
    try:
        return inputs.seconds(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
