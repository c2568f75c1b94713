"""Arguments that several groups of commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Where = Annotated[str, typer.Argument(metavar="SPEC", help="A YAML file: path, URL, or - for stdin.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=C", help="Override a field, as in `--set train.steps=500`. May be repeated."),
]
