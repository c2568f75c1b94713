"""`captionless doctor`: what works on this machine, and what to do where something does not."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from captionless.cli.options import Set
from captionless.clip.demo import NAME as DEMO
from captionless.doctor.finding import Finding, Subject, Verdict
from captionless.errors import Retryable, SpecError
from captionless.spec import load

_SIGNS = {Verdict.ok: "[green]ok[/]  ", Verdict.absent: "[dim]none[/]", Verdict.warning: "[yellow]note[/]",
          Verdict.failed: "[bold red]bad[/] "}  # fmt: skip


def doctor(
    spec: Annotated[
        str | None, typer.Argument(metavar="[SPEC]", help="Look at what this spec needs: its model, storage, GPU.")
    ] = None,
    set_: Set = None,
    clip: Annotated[
        str, typer.Option(metavar="MODEL[/TAG]", help="The CLIP model to load, where no spec names one.")
    ] = DEMO,
    storage: Annotated[
        str, typer.Option(metavar="URL", help="A folder to write to, where no spec names one, as s3://bucket/try.")
    ] = "",
    context: Annotated[str, typer.Option(metavar="CONTEXT", help="Of the kubeconfig. Default: its current one.")] = "",
    namespace: Annotated[str, typer.Option("--namespace", "-n", metavar="NS", help="Of the cluster.")] = "",
    only: Annotated[list[str] | None, typer.Option(metavar="CHECK", help="Only this check. May be repeated.")] = None,
    patience: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="What a check may take.")] = 120,
    json_: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Try everything that captionless does on a machine, and say what to do where it does not work.

    Renders a view, compiles an operator, embeds a text, writes to the storage, asks the cluster; changes nothing.
    Ends with 64 when something is wrong, with 1 when it may pass by itself.

    Examples: `captionless doctor`, `captionless doctor run.yaml`,
    `captionless doctor --storage s3://my-bucket/try --clip ViT-B-32/laion2b_s34b_b79k --only clip --only storage`
    """
    from captionless.doctor import checkup

    unknown = [name for name in only or () if name not in checkup.CHECKS]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]} is none of {', '.join(checkup.CHECKS)}", param_hint="--only")
    names = tuple(name for name in checkup.CHECKS if not only or name in only)
    found = checkup.run(_subject(spec, set_, clip, storage, context, namespace), names, patience)
    findings = dict(found if json_ else _shown(found))
    if json_:
        print(json.dumps({name: asdict(finding) for name, finding in findings.items()}, indent=1))
    bad = [name for name, finding in findings.items() if finding.state is Verdict.failed]
    if bad:
        kind = Retryable if all(findings[name].passing for name in bad) else SpecError
        raise kind(f"doctor: {len(bad)} of {len(findings)} checks failed: {', '.join(bad)}")


def _subject(
    spec: str | None, set_: list[str] | None, clip: str, storage: str, context: str, namespace: str
) -> Subject:
    if spec is None:
        model, _, tag = (clip, "", "") if clip.startswith(("hf-hub:", "local-dir:")) else clip.partition("/")
        return Subject(model, tag, storage, context=context, namespace=namespace)
    loaded = load.load_spec(spec, set_ or ())
    return Subject(
        loaded.clip.model,
        loaded.clip.pretrained,
        storage or loaded.root,
        loaded.resources.device,
        loaded.eval.pushgateway,
        context,
        namespace,
    )


def _shown(findings: Iterable[tuple[str, Finding]]) -> Iterable[tuple[str, Finding]]:
    """Prints every finding as it comes."""
    console = Console(soft_wrap=True, highlight=False)
    with console.status("trying"):
        for name, finding in findings:
            console.print(f"{_SIGNS[finding.state]}  {name:<12} {escape(finding.found)}")
            if finding.remedy:
                console.print(f"      {'':<12} [dim]→ {escape(finding.remedy)}[/]")
            yield name, finding
