"""`captionless compare`: evaluated runs side by side, with confidence intervals and paired differences."""

from typing import Annotated

import typer

from captionless.cli.options import Json
from captionless.runtime.encoding import json_for_stdout


def compare(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="A [B ...]",
            help="Folders of runs, results.json files, or JSON files of `eval --checkpoint`; paths or URLs.",
        ),
    ],
    baseline: Annotated[
        str | None,
        typer.Option(metavar="ROW", help="The name of the row that the others are compared with. Default: the first."),
    ] = None,
    figure: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH", help="Show only this figure, e.g. `zero_shot/top1`. Repeatable."),
    ] = None,
    papers: Annotated[
        bool,
        typer.Option("--papers", help="Add published figures where data, prompt and CLIP model match the papers'."),
    ] = False,
    json_: Json = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the tables as Markdown.")] = False,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Write to this file instead: JSON if its name ends in .json or with --json, else Markdown.",
        ),
    ] = None,
) -> None:
    """Compare evaluated runs: confidence intervals, differences on the same test objects, and p-values.

    Figures measured in different ways are shown in separate tables. The rows of a run are means over all of its seeds.

    Examples: `captionless compare runs/demo`,
    `captionless compare runs/a s3://b/run --baseline "a: InfoNCE" --figure zero_shot/top1`,
    `captionless compare mine.json theirs.json --papers --out compared.md`
    """
    if json_ and markdown:
        raise typer.BadParameter("mutually exclusive", param_hint="--json/--markdown")
    import json

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
        print(json_for_stdout(document) if as_json else document, end="")
    else:
        objects.write_bytes(out, document.encode())
