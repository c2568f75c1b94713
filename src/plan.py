"""ONE PLAN: the stages that a spec asks for, and what must be done before each.

A stage is a command that anybody can run by hand, cut into `workers` equal callers
of it that differ only in `--shard I/N`. The local runner starts them as processes,
the controller as pods of an Indexed Job; neither knows more about a stage than this.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from captionless.spec import AlignmentSpec, Weights
from captionless.store import objects


@dataclass(frozen=True)
class Stage:
    """A step of the plan.

    command: the sub-command and its own options; the runner adds the spec and `--shard`.
    workers: how many callers share the work. cpus: cores that each of them keeps busy.
    after: names of the stages whose outputs it reads. output: its folder below the root.
    """

    name: str
    command: tuple[str, ...]
    output: str
    after: tuple[str, ...] = ()
    workers: int = 1
    cpus: int = 1


@dataclass(frozen=True)
class Run:
    """One training: a source of weights and a seed."""

    weights: Weights
    seed: int

    @property
    def name(self) -> str:
        return f"{self.weights.value}-seed{self.seed}"


def logs_folder(spec: AlignmentSpec) -> Path:
    """Where the stages' logs are on this machine: with the outputs when these are on it too."""
    root = objects.local_path(spec.root) if objects.is_local(spec.root) else os.path.abspath(f"runs/{spec.name}")
    return Path(root) / "logs"


def runs(spec: AlignmentSpec) -> tuple[Run, ...]:
    """The trainings a spec asks for: every source of weights with every seed, seeds outermost."""
    return tuple(Run(w, s) for s in dict.fromkeys(spec.train.seeds) for w in dict.fromkeys(spec.train.weights))


def plan(spec: AlignmentSpec) -> tuple[Stage, ...]:
    """The stages of a spec, in an order in which every stage follows what it reads."""
    workers, threads = spec.resources.workers, spec.resources.threads
    stages = [
        Stage("pack", ("pack",), "pack", workers=workers),
        Stage("embed", ("embed",), "embed", ("pack",), workers, threads),
    ]
    if "i2l" in spec.metrics:
        stages.append(Stage("landmarks", ("landmarks",), "landmarks", cpus=threads))
    for metric in spec.metrics:
        reads: tuple[str, ...] = ("embed", "landmarks") if metric == "i2l" else ("embed",)
        command = ("similarity", "--metric", metric)
        stages.append(Stage(f"similarity-{metric}", command, f"similarity/{metric}", reads, workers, threads))
    for run in runs(spec):
        reads = ("embed", *(f"similarity-{m}" for m in run.weights.metrics))
        stages.append(
            Stage(
                f"train-{run.name}",
                ("train", "--weights", run.weights.value, "--seed", str(run.seed)),
                f"train/{run.name}",
                reads,
                cpus=threads * spec.resources.processes,
            )
        )
    stages.append(Stage("eval", ("eval",), "eval", tuple(f"train-{r.name}" for r in runs(spec)), cpus=threads))
    return tuple(stages)
