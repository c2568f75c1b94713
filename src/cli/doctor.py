"""`captionless doctor`: what works on this machine, and how to fix what does not."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from captionless.cli.options import Set
from captionless.clip.demo import NAME as DEMO
from captionless.errors import Retryable, SpecError

if TYPE_CHECKING:
    from captionless.doctor.finding import Finding, Subject

_LABELS = {"ok": "[green]ok[/]     ", "absent": "[dim]absent[/] ", "warning": "[yellow]warning[/]",
           "failed": "[bold red]failed[/] "}  # fmt: skip


def doctor(
    spec: Annotated[
        str | None, typer.Argument(metavar="[SPEC]", help="Check what this spec needs: its model, storage, GPU.")
    ] = None,
    set_: Set = None,
    clip: Annotated[
        str, typer.Option(metavar="MODEL[/TAG]", help="The CLIP model to load if no spec is given.")
    ] = DEMO,
    storage: Annotated[
        str, typer.Option(metavar="URL", help="A folder to write to if no spec is given, e.g. s3://bucket/try.")
    ] = "",
    context: Annotated[
        str, typer.Option(metavar="CONTEXT", help="The kubeconfig context. Default: the current one.")
    ] = "",
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", metavar="NS", help="The namespace. Default: the context's.")
    ] = "",
    only: Annotated[list[str] | None, typer.Option(metavar="CHECK", help="Run only this check. Repeatable.")] = None,
    patience: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="The time limit of each check.")] = 120,
    gpu: Annotated[bool, typer.Option("--gpu", help="Check only the GPUs, by work on all of them together.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Check that reading, rendering, CLIP, compilers, storage and the cluster work here, and say how to fix what does
    not.

    Reads a mesh of every format, renders a view, compiles an operator, embeds a text, writes to the storage, queries
    the cluster; leaves no changes.
    Exits with 64 if a check failed, or with 1 if every failure may be transient.

    `--gpu` runs a small training step on every GPU of this machine at once, and tells what is slow: a GPU among the
    others, clocks, connections, /dev/shm. It warns, and exits with 1 if there is no GPU.

    Examples: `captionless doctor`, `captionless doctor run.yaml`, `captionless doctor --gpu`,
    `captionless doctor --storage s3://my-bucket/try --clip ViT-B-32/laion2b_s34b_b79k --only clip --only storage`
    """
    from captionless.doctor import checkup
    from captionless.doctor.finding import Verdict

    unknown = [name for name in only or () if name not in checkup.CHECKS]
    if unknown:
        raise typer.BadParameter(f"{unknown[0]!r} is not one of {', '.join(checkup.CHECKS)}", param_hint="--only")
    names = tuple(name for name in checkup.CHECKS if not only or name in only)
    found = (
        _of_gpus(patience)
        if gpu
        else checkup.run(_subject(spec, set_, clip, storage, context, namespace), names, patience)
    )
    findings = dict(found if json_ else _shown(found))
    if json_:
        import json
        from dataclasses import asdict

        print(json.dumps({name: asdict(finding) for name, finding in findings.items()}, indent=1))
    failed = [name for name, finding in findings.items() if finding.state is Verdict.failed]
    if failed:
        kind = Retryable if all(findings[name].passing for name in failed) else SpecError
        raise kind(f"doctor: {len(failed)} of {len(findings)} checks failed: {', '.join(failed)}")


def _of_gpus(patience: float) -> "Iterable[tuple[str, Finding]]":
    """The findings of all GPUs of this machine."""
    from captionless.doctor import gpu_findings, gpu_together
    from captionless.runtime import env

    figures = gpu_together.measure(gpu_together.gpus(), patience)
    return gpu_findings.findings(figures, gpu_findings.shared_memory(), env.cores())


def _subject(
    spec: str | None, set_: list[str] | None, clip: str, storage: str, context: str, namespace: str
) -> "Subject":
    from captionless.doctor.finding import Subject

    if spec is None:
        from captionless.clip import names

        model, pretrained = names.parse(clip)
        return Subject(model, pretrained, storage, context=context, namespace=namespace)
    from captionless.spec.load import load_spec

    loaded = load_spec(spec, set_ or ())
    return Subject(
        loaded.clip.model,
        loaded.clip.pretrained,
        storage or loaded.root,
        loaded.resources.device,
        loaded.eval.pushgateway,
        context,
        namespace,
    )


def _shown(findings: "Iterable[tuple[str, Finding]]") -> "Iterable[tuple[str, Finding]]":
    """Prints each finding as it arrives."""
    from rich.console import Console
    from rich.markup import escape

    console = Console(soft_wrap=True, highlight=False)
    with console.status("checking"):
        for name, finding in findings:
            console.print(f"{_LABELS[finding.state]}  {name:<12} {escape(finding.found)}")
            if finding.remedy:
                console.print(f"         {'':<12} [dim]→ {escape(finding.remedy)}[/]")
            yield name, finding
