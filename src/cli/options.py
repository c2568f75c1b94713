"""Arguments that several groups of commands share."""

from __future__ import annotations

import glob
import os
from typing import Annotated

import typer

from captionless.runtime import env
from captionless.stages import wait_inputs


def _hush(context: typer.Context, asked: bool) -> None:
    """For as long as the command runs, and in the ranks that it starts."""
    if asked:
        os.environ[env.QUIET] = "1"
        context.call_on_close(lambda: os.environ.pop(env.QUIET, None))


def specs(incomplete: str) -> list[str]:
    """The YAML files, and folders on the way to some, that a shell may complete a word to."""
    found = sorted(glob.glob(f"{glob.escape(incomplete)}*"))
    folders = [f"{name}/" for name in found if os.path.isdir(name)]
    return [name for name in found if name.endswith((".yaml", ".yml"))] + folders


Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", callback=_hush, expose_value=False, help="No progress; errors and results only."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the results as JSON instead of a table.")]
Where = Annotated[
    str,
    typer.Argument(metavar="SPEC", help="A YAML file: path, URL, or - for stdin.", autocompletion=specs),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=C", help="Override a field, as in `--set train.steps=500`. May be repeated."),
]


def patience(text: str) -> float:
    """Seconds of `90s`, `30m` or `2h`; a usage error for anything else."""
    try:
        return wait_inputs.parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
