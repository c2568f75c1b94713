"""A run: the spec of `captionless run` and of the `Alignment` resource, made of its sections."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from captionless.spec.clip import ClipSpec
from captionless.spec.data import DataSpec, SourceKind
from captionless.spec.evaluation import EvalSpec
from captionless.spec.landmarks import LandmarkOrigin, LandmarksSpec
from captionless.spec.pods import PodsSpec
from captionless.spec.quantities import Name, ObjectName
from captionless.spec.resources import ResourcesSpec
from captionless.spec.section import Section
from captionless.spec.similarity import SimilaritySpec
from captionless.spec.train import TrainSpec


class AlignmentSpec(Section):
    """A run: which objects to align, with which CLIP model and which losses, and where its outputs go."""

    name: Name = "alignment"
    """Name of the run: lowercase letters, digits and hyphens. On Kubernetes, the name of the Alignment."""
    output: str = Field("", max_length=1024)
    """Folder or `s3://` prefix for all outputs of the run; empty: `runs/<name>`."""
    data: DataSpec
    clip: ClipSpec = ClipSpec()
    landmarks: LandmarksSpec = LandmarksSpec()
    similarity: SimilaritySpec = SimilaritySpec()
    train: TrainSpec = TrainSpec()
    eval: EvalSpec = EvalSpec()
    resources: ResourcesSpec = ResourcesSpec()
    pods: PodsSpec = PodsSpec()
    queue: ObjectName = ""
    """Kubernetes: Kueue LocalQueue for the Jobs, which are created suspended and started by Kueue; empty: no queue."""
    suspend: bool = False
    """Kubernetes: suspend the run. Its current Job is deleted and completed work is kept; `false` resumes it."""
    ttl_seconds_after_finished: int = Field(-1, ge=-1)
    """Kubernetes: seconds after which a finished Alignment and its Jobs are deleted (its outputs stay); -1: never."""

    OPERATIONAL: ClassVar = frozenset(
        {"name", "output", "resources", "pods", "queue", "suspend", "ttl_seconds_after_finished"}
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        kind, origin = self.data.source.kind, self.landmarks.origin
        needs_landmarks = any("i2l" in w.metrics for w in self.train.weights)
        if needs_landmarks and origin is LandmarkOrigin.grammar and kind is not SourceKind.parametric:
            raise ValueError(
                f"landmarks.origin: grammar needs data.source.kind: parametric, not {kind}; "
                "use `file` or `llm`, or train.weights that need no landmarks (uniform, category, i2i)"
            )
        if kind is SourceKind.points:
            raise ValueError(
                "data.source.kind: points has no meshes to render and cannot be aligned with images; "
                "use it with `captionless eval --data` and `captionless classify`"
            )
        if self.train.points > self.data.points:
            raise ValueError(f"train.points: {self.train.points} exceeds data.points: {self.data.points}")
        return self

    @property
    def root(self) -> str:
        """Where the outputs are: `output`, or `runs/<name>` in the current folder."""
        return self.output or f"runs/{self.name}"

    def described(self) -> dict[str, Any]:
        """What determines the results, as plain values: everything except where and on what they are computed."""
        parts = {
            "train": self.train.determining(TrainSpec.OPERATIONAL, by_alias=True),
            "eval": self.eval.determining(EvalSpec.OPERATIONAL, by_alias=True),
        }
        return {**self.determining(self.OPERATIONAL, by_alias=True), **parts}

    @property
    def metrics(self) -> tuple[str, ...]:
        """The similarities that the trainings read, in a fixed order."""
        return tuple(m for m in ("i2i", "i2l") if any(m in w.metrics for w in self.train.weights))
