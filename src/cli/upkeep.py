"""`captionless migrate` and `captionless prune`: what keeps a run's folder in order."""

from typing import Annotated

import typer

from captionless.cli.options import Json, Set, SpecPath
from captionless.runtime.encoding import json_text


def migrate(
    where: Annotated[
        str,
        typer.Argument(
            metavar="SPEC|URL", help="The spec of a run, as it was when the run was made; or a gallery's folder."
        ),
    ],
    set_: Set = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
) -> None:
    """Bring the folder of a run of an earlier release to today's formats, without making anything again.

    Only records are written; shards, tiles and models stay as they are. Stopped anywhere, the same command goes on.
    `captionless run` then finds everything that is still what the spec describes.

    Examples: `captionless migrate run.yaml --dry-run`, `captionless migrate s3://b/search/avg-seed0`
    """
    from captionless.stages import migration
    from captionless.store import objects

    if where == "-" or objects.size(where) is not None:
        from captionless.spec.load import load_spec

        migration.migrate(load_spec(where, set_ or ()), dry_run, print)
    else:
        migration.migrate_folder(where, dry_run, print)


def prune(
    spec: SpecPath,
    set_: Set = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
    trainings: Annotated[
        bool, typer.Option("--trainings", help="Also delete the trainings that the spec does not have.")
    ] = False,
    json_: Json = False,
) -> None:
    """Delete what a run no longer describes, and search all of its files for the objects that are gone.

    Objects are gone that have been removed from the source, or left out by `data.deny` or another field. Run the
    stages first: they take such objects out of their own outputs. Galleries and neighbours below the run's folder that
    hold one are deleted. Killed uploads and temporary files are removed as well. Exits with 65 if a removed key is
    still stored.

    Examples: `captionless prune run.yaml --dry-run`, `captionless prune run.yaml --set data.deny=taken-down.txt --json`
    """
    from captionless.spec.load import load_spec
    from captionless.stages import pruning

    report = pruning.prune(load_spec(spec, set_ or ()), dry_run, trainings)
    if json_:
        print(json_text(report.document()))
    else:
        print("\n".join(report.lines()))
    report.check()
