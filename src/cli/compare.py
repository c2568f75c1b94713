"""`captionless compare`: runs side by side, with what of their differences other test objects would not undo."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from captionless.cli.options import Json


def compare(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="A [B ...]", help="Run folders, results.json, or JSON of `eval --checkpoint`; or URLs."),
    ],
    baseline: Annotated[
        str | None,
        typer.Option(metavar="ROW", help="The row that others are compared with, by its name. Default: the first."),
    ] = None,
    figure: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH", help="Only this figure, as `zero_shot/top1`. May be repeated."),
    ] = None,
    papers: Annotated[
        bool, typer.Option("--papers", help="Add the papers' figures, where data, prompt and CLIP model are theirs.")
    ] = False,
    json_: Json = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print it as Markdown.")] = False,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Write it there instead, as JSON if it ends so or with --json, else Markdown."
        ),
    ] = None,
) -> None:
    """Put evaluated runs side by side, with intervals, differences on the same test objects, and p-values.

    Figures that were not measured alike get tables of their own. The rows of a run are means over all of its seeds.

    Examples: `captionless compare runs/demo`,
    `captionless compare runs/a s3://b/run --baseline "a: InfoNCE" --figure zero_shot/top1`,
    `captionless compare mine.json theirs.json --papers --out compared.md`
    """
    if json_ and markdown:
        raise typer.BadParameter("--json and --markdown exclude each other", param_hint="--json/--markdown")
    from captionless.cli import summary
    from captionless.eval import comparison_text
    from captionless.stages import compare as stage
    from captionless.store import objects

    found = stage.run(inputs, figure or (), baseline, papers)
    if not (json_ or markdown or out):
        summary.show_comparison(found)
        return
    as_json = json_ or (out is not None and out.endswith(".json") and not markdown)
    document = json.dumps(found, indent=1, ensure_ascii=False) + "\n" if as_json else comparison_text.markdown(found)
    if out is None:
        print(document, end="")
    else:
        objects.write_bytes(out, document.encode())
