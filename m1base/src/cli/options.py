"""Arguments and options that several command groups share."""

import os
import re
from typing import TYPE_CHECKING, Annotated

import typer

from captionless.errors import SpecError
from captionless.runtime import env

if TYPE_CHECKING:
    from captionless.stages.work_items import Shard as WorkerShard

_SECONDS = {"s": 1, "m": 60, "h": 3600}


def _set_quiet(context: typer.Context, requested: bool) -> None:
    """Sets QUIET while the command runs, so that the processes it starts inherit it."""
    if requested:
        os.environ[env.QUIET] = "1"
        context.call_on_close(lambda: os.environ.pop(env.QUIET, None))


def complete_spec(incomplete: str) -> list[str]:
    """The YAML files, and the folders that may contain some, to which a shell can complete a word."""
    import glob

    found = sorted(glob.glob(f"{glob.escape(incomplete)}*"))
    folders = [f"{name}/" for name in found if os.path.isdir(name)]
    return [name for name in found if name.endswith((".yaml", ".yml"))] + folders


def parse_duration(text: str) -> float:
    """The seconds of `90s`, `30m` or `2h`; a usage error for anything else."""
    found = re.fullmatch(r"(\d+)([smh])", text)
    if found is None:
        raise typer.BadParameter(f"expected a duration such as 90s, 30m or 2h, found {text!r}")
    return float(int(found[1]) * _SECONDS[found[2]])


def parse_shard(text: str) -> "WorkerShard":
    """The shard that `--shard I/N` selects, else the one of an Indexed Job's environment, else all of the work."""
    from captionless.stages.work_items import Shard as WorkerShard

    if not text:
        index, count = os.environ.get(env.INDEX), os.environ.get(env.SHARDS, "")
        if index is None:
            return WorkerShard()
        if not count:
            raise SpecError(f"{env.INDEX} is set but {env.SHARDS} is not; pass --shard I/N")
        text = f"{index}/{count}"
    i, _, n = text.partition("/")
    if not (i.isdigit() and n.isdigit() and int(i) < int(n)):
        raise typer.BadParameter(f"expected I/N with 0 <= I < N, found {text!r}", param_hint="--shard")
    return WorkerShard(int(i), int(n))


Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet", "-q", callback=_set_quiet, expose_value=False, help="Hide progress; show only results and errors."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the results as JSON instead of a table.")]
OutcomeJson = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print on stdout, as one line of JSON, how many units were made, kept, removed and skipped, the unit "
        "(object, pair or run) and the seconds.",
    ),
]
SpecPath = Annotated[
    str,
    typer.Argument(metavar="SPEC", help="A YAML file: path, URL, or - for stdin.", autocompletion=complete_spec),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=C", help="Override a field, e.g. `--set train.steps=500`. Repeatable."),
]
Shard = Annotated[
    str,
    typer.Option(
        "--shard",
        metavar="I/N",
        help="Process shard I of N (zero-based). Default: JOB_COMPLETION_INDEX of CAPTIONLESS_SHARDS, else everything.",
    ),
]
Wait = Annotated[
    float | None,
    typer.Option(
        "--wait-inputs",
        metavar="DURATION",
        parser=parse_duration,
        help="Wait up to this long for the stages this one depends on, e.g. 90s, 30m, 2h. Default: do not wait.",
    ),
]
