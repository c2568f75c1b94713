"""The plan: the stages of a spec, and their dependencies.

A stage is a command that can also be run by hand. Its `workers` equal callers either process
shards of it (`--shard I/N`) or, as a gang, train one model together. The local runner starts
them as processes, the controller as pods of an Indexed Job; neither knows more about a stage
than this.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from captionless.spec.alignment import AlignmentSpec
from captionless.spec.variant import training_variants
from captionless.store import objects

LIST, PACK, EMBED, LANDMARKS, SIMILARITY, TRAIN, EVAL = (
    "list",
    "pack",
    "embed",
    "landmarks",
    "similarity",
    "train",
    "eval",
)
"""The folders of the stages' outputs below the root of a run. Each metric has one below SIMILARITY, each training one
below TRAIN."""


@dataclass(frozen=True)
class Stage:
    """A step of the plan.

    command: the sub-command and its own options; the runner adds the spec and `--shard`.
    workers: how many callers share the work. cpus, gpus: what each of them uses.
    gang: the workers are nodes of one training, which start and end together.
    after: the stages whose outputs it reads. output: its folder below the root.
    """

    name: str
    command: tuple[str, ...]
    output: str
    after: tuple[str, ...] = ()
    workers: int = 1
    cpus: int = 1
    gpus: int = 0
    gang: bool = False

    @property
    def kind(self) -> str:
        """Its sub-command, one of `pods.StageKind`: `similarity` for every metric, `train` for every training."""
        return self.command[0]


def logs_folder(spec: AlignmentSpec) -> Path:
    """Where the stages' logs are on this machine: with the outputs when these are on it too."""
    root = objects.local_path(spec.root) if objects.is_local(spec.root) else os.path.abspath(f"runs/{spec.name}")
    return Path(root) / "logs"


def plan(spec: AlignmentSpec) -> tuple[Stage, ...]:
    """The stages of a spec, in an order in which every stage follows what it reads."""
    has = spec.resources
    workers, threads = has.workers, has.threads
    clip_gpus = 1 if spec.clip.device == "cuda" else 0
    train_gpus = has.processes if has.device == "cuda" else 0
    stages = [
        Stage("list", ("list",), LIST),
        Stage("pack", ("pack",), PACK, ("list",), workers),
        Stage("embed", ("embed",), EMBED, ("pack",), workers, threads, clip_gpus),
    ]
    if "i2l" in spec.metrics:
        stages.append(Stage("landmarks", ("landmarks",), LANDMARKS, ("list",), cpus=threads, gpus=clip_gpus))
    for metric in spec.metrics:
        reads: tuple[str, ...] = ("embed", "landmarks") if metric == "i2l" else ("embed",)
        command = ("similarity", "--metric", metric)
        stages.append(Stage(f"similarity-{metric}", command, f"{SIMILARITY}/{metric}", reads, workers, threads))
    for variant in training_variants(spec):
        reads = ("embed", *(f"similarity-{m}" for m in variant.weights.metrics))
        options = ("--weights", variant.weights.value, "--seed", str(variant.seed))
        output, cpus = f"{TRAIN}/{variant.name}", threads * has.processes
        stages.append(
            Stage(f"train-{variant.name}", ("train", *options), output, reads, has.nodes, cpus, train_gpus, gang=True)
        )
    trained = tuple(f"train-{v.name}" for v in training_variants(spec))
    stages.append(Stage("eval", ("eval",), EVAL, trained, cpus=threads, gpus=clip_gpus))
    return tuple(stages)
