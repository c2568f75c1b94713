""""""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import (
    Field,
    model_validator,
)

from captionless.spec.encoder import EncoderSpec
from captionless.spec.section import Section
from captionless.spec.weights import Weights


class OptimSpec(Section):
    name: Literal["adamw", "adam"] = "adamw"
    """`adamw`: the weight decay is apart from the gradient. `adam`: it is part of it, as in the released code."""
    lr: float = Field(1e-3, gt=0)
    min_lr: float = Field(1e-7, ge=0)
    warmup: float = Field(0.06, ge=0, lt=1)
    """Share of all steps with a linear warm-up, before the cosine."""
    weight_decay: float = Field(0.1, ge=0)
    """Not on norms and biases."""
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.98, ge=0, lt=1)
    eps: float = Field(1e-8, gt=0)
    clip_grad: float = Field(0.0, ge=0)
    """Largest gradient norm; 0: no clipping."""


class AugmentSpec(Section):
    """ULIP's augmentation, in its order; a size of 0 turns a step off."""

    dropout: float = Field(0.875, ge=0, lt=1)
    scale_low: float = Field(0.8, gt=0)
    scale_high: float = Field(1.25, gt=0)
    shift: float = Field(0.1, ge=0)
    perturb_sigma: float = Field(0.06, ge=0)
    perturb_clip: float = Field(0.18, ge=0)
    rotate_up: bool = True
    """A full random rotation about the up axis."""
    jitter_sigma: float = Field(0.01, ge=0)
    jitter_clip: float = Field(0.05, ge=0)


class BatchesSpec(Section):
    """What shares a batch: random objects, or objects that the encoder cannot yet tell apart."""

    kind: Literal["random", "neighbours"] = "random"
    """`neighbours`: OpenShape's hard-negative batches, groups of an object and some of its nearest in the space of the
    encoder that is being trained."""
    group: int = Field(4, ge=2)
    """`neighbours`: objects in a group."""
    candidates: int = Field(31, ge=1, le=1024)
    """`neighbours`: the nearest objects among which those of a group are drawn."""
    every: int = Field(5, ge=1)
    """`neighbours`: epochs from one search of the nearest to the next; the first ones have random batches."""

    @model_validator(mode="after")
    def _enough_candidates(self) -> Self:
        if self.group > self.candidates + 1:
            raise ValueError(f"group: {self.group} objects, one and {self.group - 1} of {self.candidates} candidates")
        return self


class ValidationSpec(Section):
    share: float = Field(0.0, ge=0, le=0.5)
    """Of each category's training objects, kept out of training; above 0 the weights that find these best are the
    result, not the last ones. The test split has no say in it."""
    every: int = Field(200, ge=1)
    """Steps between two validations; the last step always has one."""


class TrainSpec(Section):
    weights: tuple[Weights, ...] = Field((Weights.avg,), min_length=1, max_length=5)
    """The losses to train with, one run each: `uniform` is plain InfoNCE, `category` the control with the
    category's mean similarity, `i2i`, `i2l` and `avg` the paper's."""
    seeds: tuple[int, ...] = Field((0,), min_length=1, max_length=64)
    """Seeds; every loss is trained once with each, so that runs are paired."""
    steps: int = Field(10_000, ge=1)
    batch_size: int = Field(64, ge=2)
    """The global batch, over all ranks."""
    batches: BatchesSpec = BatchesSpec()
    accumulate: int = Field(1, ge=1)
    """Micro-batches that a global batch passes through the encoder in, for memory: the loss is that of the whole batch,
    the statistics of batch normalisation are each micro-batch's."""
    points: int = Field(2048, ge=16)
    """Points per cloud in a step."""
    loss: Literal["contrastive", "hcl"] = "contrastive"
    """`contrastive`: both directions, eq. 5 of the paper. `hcl`: image to shape, each negative weighed by how near it
    already is as well, with debiasing; for retrieval by image on an encoder that is aligned already."""
    hcl_beta: float = Field(1.0, ge=0)
    """`hcl`: how much the near ones count; 0: no more than others."""
    hcl_tau_plus: float = Field(0.1, ge=0, lt=1)
    """`hcl`: the share of false negatives that is taken off."""
    positive_weight: Literal["one", "formula"] = "one"
    sharpen: float = Field(1.0, ge=1, le=100)
    """`i2i`, `i2l` and `avg`: similarity within a category becomes m * (similarity / m) ** sharpen, m the category's
    mean, before it is weighted, so that the weights within a category differ more; 1: as the paper has it."""
    temperature: float = Field(0.07, gt=0)
    """The initial tau; it is learnt, 1/tau within [1, 100]."""
    encoder: EncoderSpec = EncoderSpec()
    optim: OptimSpec = OptimSpec()
    augment: AugmentSpec = AugmentSpec()
    validation: ValidationSpec = ValidationSpec()
    init: str = ""
    """URL of a model file whose encoder the run begins with; empty: a random one."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of the encoder's products; the others need a GPU. Norms, loss and weights stay float32."""
    compile: bool = False
    """Whether torch.compile makes kernels of the encoder first; needs a GPU, and is for long runs."""
    max_skipped: int = Field(0, ge=0)
    """How many objects whose stored bytes are damaged may be left out of their batches, each counted and named; more
    than that ends the run."""
    checkpoint_every: int = Field(200, ge=1)
    """Steps between checkpoints; a run that is killed loses at most this many."""
    keep_checkpoints: int = Field(2, ge=1)
    engine: Literal["job", "jobset"] = "job"
    """Kubernetes: what keeps a training's pods together, a Job or, where it is installed, a JobSet."""
    collective_timeout: float = Field(120.0, ge=1)
    """Seconds that a step may stand still before the ranks start again from the newest checkpoint."""
    peer_timeout: float = Field(1800.0, ge=1)
    """Seconds that a training on several nodes waits for the missing ones."""

    OPERATIONAL: ClassVar = frozenset(
        {"max_skipped", "checkpoint_every", "keep_checkpoints", "engine", "collective_timeout", "peer_timeout"}
    )
    """The fields that change no result; what damage leaves out is the same whatever number of objects it may be."""

    @model_validator(mode="after")
    def _enough_points(self) -> Self:
        if self.encoder.name == "pointbert":
            for option in ("groups", "nsample"):
                if getattr(self.encoder, option) > self.points:
                    raise ValueError(
                        f"encoder.{option}: {getattr(self.encoder, option)} exceeds points: {self.points} (pointbert)"
                    )
        return self
