"""A classifier of labelled clouds: the spec of `captionless classify`."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from captionless.spec.data import DataSpec
from captionless.spec.encoder import EncoderSpec
from captionless.spec.quantities import Name
from captionless.spec.section import Section
from captionless.spec.train import AugmentSpec, OptimSpec


class ClassifyAugmentSpec(AugmentSpec):
    """Augmentation of a classifier's clouds. The defaults, scale and shift, suit aligned clouds; for clouds in any
    orientation about the up axis, such as ScanObjectNN's, set `rotateUp`."""

    dropout: float = Field(0.0, ge=0, lt=1)
    """Point dropout: the largest share of points that is dropped; each cloud draws its share from U(0, `dropout`).
    Dropped points become copies of the first point. 0: off."""
    perturb_sigma: float = Field(0.0, ge=0)
    """Small random rotation: standard deviation of the angle about each axis, in radians; 0: off."""
    rotate_up: bool = False
    """Rotate each cloud about the up axis by a random angle from U(0, 2π)."""
    jitter_sigma: float = Field(0.0, ge=0)
    """Jitter: standard deviation of the noise added to each coordinate; 0: off."""


class ClassifySpec(Section):
    """Only in the spec of `captionless classify`, which also has `name`, `output` and `data`: a linear classification
    head on an encoder, trained on the objects' categories."""

    init: str = ""
    """URL of a model.pt whose encoder to start from; empty: a randomly initialised one, as `encoder` specifies."""
    frozen: bool = False
    """`true`: linear probe. The encoder is not trained and embeds every cloud once, without augmentation. `false`:
    fine-tune the encoder together with the head."""
    seed: int = 0
    """Seed of the validation split, initial weights, sample order, augmentation and dropout."""
    validation_share: float = Field(0.1, gt=0, lt=1)
    """Share of each category's training objects held out for validation, by which the best weights are chosen."""
    validate_every: int = Field(250, ge=1)
    """Steps between validations, each with a checkpoint; the last step always has both."""
    steps: int = Field(10_000, ge=1)
    """Training steps (optimiser updates)."""
    batch_size: int = Field(32, ge=2)
    """Clouds per step."""
    points: int = Field(1024, ge=16)
    """Points per cloud."""
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    """Label smoothing of the cross-entropy: the share of a label's probability spread over all categories; 0: off."""
    encoder: EncoderSpec = EncoderSpec()
    optim: OptimSpec = OptimSpec()
    augment: ClassifyAugmentSpec = ClassifyAugmentSpec()
    threads: int = Field(1, ge=1)
    """CPU threads. Two trainings are bit-identical only with the same number of threads."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device to train on; `auto`: CUDA if available, otherwise the CPU."""

    OPERATIONAL: ClassVar = frozenset({"threads", "device"})


class ClassificationSpec(Section):
    """A classifier of labelled objects: the YAML file of `captionless classify`.

    It is not a section of AlignmentSpec: an Alignment needs meshes to render, whereas classification needs labels and
    mostly uses `points` sources, which an Alignment cannot use. As a section it would also be part of the Kubernetes
    schema, where nothing reads it. Both describe their data by the same class, DataSpec.
    """

    name: Name = "classification"
    """Name of the classifier: lowercase letters, digits and hyphens."""
    output: str = Field("", max_length=1024)
    """Folder or `s3://` prefix for all outputs of the training; empty: `runs/<name>`."""
    data: DataSpec
    classify: ClassifySpec = ClassifySpec()

    @property
    def root(self) -> str:
        """Where the outputs are: `output`, or `runs/<name>` in the current folder."""
        return self.output or f"runs/{self.name}"
