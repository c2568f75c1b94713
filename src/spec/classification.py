""""""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import (
    Field,
)

from captionless.spec.data import DataSpec
from captionless.spec.encoder import EncoderSpec
from captionless.spec.quantities import Name
from captionless.spec.section import Section
from captionless.spec.train import AugmentSpec, OptimSpec


class ClassifyAugmentSpec(AugmentSpec):
    """The augmentation of a classifier's clouds: scale and shift, for clouds that are aligned. Those that stand at any
    angle about the up axis, as ScanObjectNN's, want `rotateUp`."""

    dropout: float = Field(0.0, ge=0, lt=1)
    perturb_sigma: float = Field(0.0, ge=0)
    rotate_up: bool = False
    """A full random rotation about the up axis."""
    jitter_sigma: float = Field(0.0, ge=0)


class ClassifySpec(Section):
    """`captionless classify` only, beside `name`, `output` and `data`: a linear layer over an encoder's embeddings,
    trained on the objects' categories."""

    init: str = ""
    """URL of a model.pt whose encoder to begin with; empty: a fresh one, made as `encoder` says."""
    frozen: bool = False
    """The encoder stays as it is and embeds every cloud once, without augmentation (a linear probe); otherwise it is
    trained too."""
    seed: int = 0
    """Of the validation split, of initial weights, order, augmentation and dropout."""
    validation_share: float = Field(0.1, gt=0, lt=1)
    """Share of each category's training objects that is kept out of training and chooses the best weights."""
    validate_every: int = Field(250, ge=1)
    """Steps between two validations, each with a checkpoint; the last step always has both."""
    steps: int = Field(10_000, ge=1)
    batch_size: int = Field(32, ge=2)
    points: int = Field(1024, ge=16)
    """Points per cloud."""
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    encoder: EncoderSpec = EncoderSpec()
    optim: OptimSpec = OptimSpec()
    augment: ClassifyAugmentSpec = ClassifyAugmentSpec()
    threads: int = Field(1, ge=1)
    """CPU threads. Part of what makes two trainings equal to the bit."""
    device: Literal["auto", "cpu", "cuda"] = "auto"

    OPERATIONAL: ClassVar = frozenset({"threads", "device"})


class ClassificationSpec(Section):
    """A classifier of labelled objects: the YAML file of `captionless classify`.

    It is no section of AlignmentSpec: an Alignment needs meshes to render, classification needs labels and is mostly
    done on `points`, which no Alignment can have; as a section it would also stand in the Kubernetes schema, where
    nothing reads it. What both describe, the data, they describe by the same class.
    """

    name: Name = "classification"
    output: str = Field("", max_length=1024)
    """The folder or s3:// prefix of everything the training makes; empty: `runs/<name>`."""
    data: DataSpec
    classify: ClassifySpec = ClassifySpec()

    @property
    def root(self) -> str:
        """Where the outputs are: `output`, or `runs/<name>` beneath the current folder."""
        return self.output or f"runs/{self.name}"
