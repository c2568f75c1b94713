"""The `train` section and its sub-sections: optimiser, augmentation, batches and validation."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, WithJsonSchema, field_validator, model_validator

from captionless.spec.encoder import EncoderSpec
from captionless.spec.section import Section
from captionless.spec.weights import Weights

Pattern = Annotated[str, Field(min_length=1, max_length=200)]
"""A glob over the names of parameters, see `trainer.param_groups`."""


class GroupSpec(Section):
    """Parameters with a learning rate or a weight decay of their own."""

    match: Pattern
    """Pattern of the parameters' names, as in `train.freeze`. A parameter is in the first group that matches it."""
    lr_factor: float = Field(1.0, gt=0)
    """Their learning rate in multiples of the schedule's."""
    weight_decay: Annotated[float | None, Field(ge=0), WithJsonSchema({"type": "number", "minimum": 0})] = None
    """Weight decay of the weight matrices among them; absent: `optim.weightDecay`."""


class OptimSpec(Section):
    """Optimiser and learning rate schedule: linear warm-up, then cosine decay."""

    name: Literal["adamw", "adam"] = "adamw"
    """`adamw`: decoupled weight decay. `adam`: weight decay added to the gradient (L2 regularisation), as in the
    released code."""
    lr: float = Field(1e-3, gt=0)
    """Peak learning rate, reached at the end of the warm-up."""
    min_lr: float = Field(1e-7, ge=0)
    """Learning rate from which the warm-up starts and at which the cosine decay ends."""
    warmup: float = Field(0.06, ge=0, lt=1)
    """Share of the steps that make up the linear warm-up, before the cosine decay."""
    weight_decay: float = Field(0.1, ge=0)
    """Weight decay of weight matrices; norms, biases and other vectors and scalars have none."""
    beta1: float = Field(0.9, ge=0, lt=1)
    """Decay rate of Adam's first moment (moving average of the gradient)."""
    beta2: float = Field(0.98, ge=0, lt=1)
    """Decay rate of Adam's second moment (moving average of the squared gradient)."""
    eps: float = Field(1e-8, gt=0)
    """Added to the denominator of Adam's update for numerical stability."""
    clip_grad: float = Field(0.0, ge=0)
    """Maximum norm of the whole gradient, which is scaled down to it; 0: no clipping."""
    groups: tuple[GroupSpec, ...] = Field((), max_length=100)
    """Groups of parameters with a learning rate or weight decay of their own: `{match: "stages.*", lrFactor: 0.1}`."""

    LATER: ClassVar = frozenset({"groups"})


class AugmentSpec(Section):
    """Augmentation of the clouds, which are normalised to the unit sphere, in ULIP's order: point dropout, scale,
    shift, small rotation, rotation about the up axis; then jitter, as in the paper."""

    dropout: float = Field(0.875, ge=0, lt=1)
    """Point dropout: the largest share of points that is dropped; each cloud draws its share from U(0, `dropout`).
    Dropped points become copies of the first point. 0: off."""
    scale_low: float = Field(0.8, gt=0)
    """Lower bound of the uniformly drawn scale factor; 1, as `scaleHigh`: no scaling."""
    scale_high: float = Field(1.25, gt=0)
    """Upper bound of the uniformly drawn scale factor."""
    shift: float = Field(0.1, ge=0)
    """Largest shift along each axis, drawn from U(-`shift`, `shift`); 0: off."""
    perturb_sigma: float = Field(0.06, ge=0)
    """Small random rotation: standard deviation of the angle about each axis, in radians; 0: off."""
    perturb_clip: float = Field(0.18, ge=0)
    """Small random rotation: largest angle about each axis, in radians; larger draws are clipped."""
    rotate_up: bool = True
    """Rotate each cloud about the up axis by a random angle from U(0, 2π)."""
    jitter_sigma: float = Field(0.01, ge=0)
    """Jitter: standard deviation of the noise added to each coordinate; 0: off."""
    jitter_clip: float = Field(0.05, ge=0)
    """Jitter: largest change of a coordinate; larger draws are clipped."""


class BatchesSpec(Section):
    """How batches are composed: of random objects, or with hard negatives that the encoder cannot yet tell apart."""

    kind: Literal["random", "neighbours"] = "random"
    """`random`: random objects. `neighbours`: OpenShape's hard-negative batches, made of groups of a seed object and
    some of its nearest neighbours in the embedding space of the encoder being trained."""
    group: int = Field(4, ge=2)
    """`neighbours`: objects per group, including the seed object."""
    candidates: int = Field(31, ge=1, le=1024)
    """`neighbours`: number of nearest neighbours from which a group is drawn."""
    shuffle: Literal["global", "windowed"] = "global"
    """Order of the objects in an epoch, drawn anew for each. `global`: a permutation of all objects. `windowed`: for
    data in object storage that is larger than `resources.dataMemory`: shards in random order, through a buffer of
    `window` objects that mixes those that follow one another, so that few shards are in use at a time;
    with `resources.dataDisk` these are read whole, ahead of their steps."""
    window: int = Field(16_384, ge=2, le=1 << 30)
    """`windowed`: objects that are mixed. The more, the closer to a global permutation, and the more shards in use."""
    every: int = Field(5, ge=1)
    """`neighbours`: epochs between searches for nearest neighbours; batches are random until the first search. Not with
    `from`."""
    from_: str = Field("", alias="from")
    """`neighbours`: URL of what `captionless neighbours` has stored of this run's embeddings: groups are made of these
    neighbours from the first step on. Empty: the run searches for itself, every few epochs."""

    false_negatives: float = Field(0.0, ge=0, le=2)
    """`neighbours`: margin by which an object of the anchor's group is taken for a false negative and masked: where the
    anchor's picture is as similar to that object's mean view as to its own, or less so by no more than this, in CLIP's
    embeddings. OpenShape has 0.1; 0: none is masked."""

    LATER: ClassVar = frozenset({"shuffle", "window", "from_", "false_negatives"})
    OF_NEIGHBOURS: ClassVar = ("group", "candidates", "every", "from_", "false_negatives")
    """Options that random batches do not have."""

    @model_validator(mode="after")
    def _options(self) -> Self:
        if self.group > self.candidates + 1:
            raise ValueError(f"group: {self.group} exceeds candidates + 1: {self.candidates + 1}")
        for option in self.OF_NEIGHBOURS:
            if self.kind != "neighbours" and getattr(self, option) != type(self).model_fields[option].default:
                name = type(self).model_fields[option].alias
                raise ValueError(f"{name}: only an option of kind: neighbours; it does nothing with {self.kind}")
        if self.from_ and self.every != type(self).model_fields["every"].default:
            raise ValueError("every: does nothing with from, which brings the neighbours; leave it out")
        if self.shuffle != "windowed" and self.window != type(self).model_fields["window"].default:
            raise ValueError("window: only an option of shuffle: windowed; it does nothing with global")
        return self


class ViewsSpec(Section):
    """Which of an object's stored views a step uses, and what its shape is compared with."""

    count: int = Field(1, ge=1, le=360)
    """Views per object and step, drawn anew for each; at most `data.views`. With `sample` one, else two or more."""
    loss: Literal["sample", "mean", "multi-positive"] = "sample"
    """`sample`: a single view, as in the paper. `mean`: the mean of the views' embeddings, normalised, as in MixCon3D.
    `multi-positive`: each of them is a positive by itself, which competes with the negatives and not with the others,
    after HOLA (docs/method.md); with `loss: contrastive` only."""

    @model_validator(mode="after")
    def _as_many_as_it_takes(self) -> Self:
        if (self.count == 1) != (self.loss == "sample"):
            raise ValueError(
                f"count: {self.count} does not go with loss: {self.loss}; sample takes 1, others 2 or more"
            )
        return self


class ValidationSpec(Section):
    """Validation during training, by which the best weights are chosen; off by default."""

    share: float = Field(0.0, ge=0, le=0.5)
    """Share of each category's training objects held out for validation. Above 0, the result is the weights with the
    best retrieval (mean reciprocal rank) among these objects instead of the last ones; 0: no validation. The test split
    is never used for this."""
    every: int = Field(200, ge=1)
    """Steps between validations; the last step always has one."""


class TrainSpec(Section):
    """Training of the point-cloud encoder against the stored CLIP embeddings."""

    weights: tuple[Weights, ...] = Field((Weights.avg,), min_length=1, max_length=5)
    """Weights of the negatives in the loss; one training run for each. `uniform`: all 1 (plain InfoNCE). `category`:
    the category-only control, from the mean similarity of each category. `i2i`, `i2l`: from I2I or (I2L)² similarity.
    `avg`: the mean of the `i2i` and `i2l` weights."""
    seeds: tuple[int, ...] = Field((0,), min_length=1, max_length=64)
    """Seeds. Each of `weights` is trained once with every seed, so that runs can be compared in pairs."""
    steps: int = Field(10_000, ge=1)
    """Training steps (optimiser updates)."""
    batch_size: int = Field(64, ge=2)
    """Objects per step: the global batch, over all ranks."""
    batches: BatchesSpec = BatchesSpec()
    views: ViewsSpec = ViewsSpec()
    accumulate: int = Field(1, ge=1)
    """Micro-batches per global batch, to save memory (GradCache). The loss is that of the whole batch; batch
    normalisation uses the statistics of each micro-batch."""
    points: int = Field(2048, ge=16)
    """Points per cloud that the encoder sees; at most `data.points`."""
    loss: Literal["contrastive", "hcl"] = "contrastive"
    """`contrastive`: the weighted InfoNCE of both directions (docs/method.md, eq. 5). `hcl`: HCL (Robinson et al.),
    image to shape only: negatives are also weighted by their current similarity, with debiasing; for image-based shape
    retrieval with an encoder that is already aligned."""
    hcl_beta: float = Field(1.0, ge=0)
    """`hcl`: concentration on hard negatives (beta); 0: none."""
    hcl_tau_plus: float = Field(0.1, ge=0, lt=1)
    """`hcl`: assumed probability of a false negative, corrected for by debiasing (tau plus); 0: no debiasing."""
    positive_weight: Literal["one", "formula"] = "one"
    """Weight of the positive pair, which eq. 6 leaves undefined. `one`: 1, as in the released code. `formula`: eq. 6
    applied to the object itself. Not an option of `hcl`, whose positive pairs have no weight."""
    sharpen: float = Field(1.0, ge=1, le=100)
    """`i2i`, `i2l` and `avg`: exponent that spreads the weights within a category: the similarity becomes
    m * (similarity / m) ** sharpen, with m the category's mean similarity; 1: unchanged, as in the paper."""
    temperature: float = Field(0.07, ge=0.01, le=1)
    """Initial temperature tau, which is learned, with 1/tau clamped to [1, 100]; with `init` only if
    `resetTemperature`."""
    encoder: EncoderSpec = EncoderSpec()
    optim: OptimSpec = OptimSpec()
    augment: AugmentSpec = AugmentSpec()
    validation: ValidationSpec = ValidationSpec()
    ema: float = Field(0.0, ge=0, lt=1)
    """Decay of an exponential moving average of the weights, which validation scores and which is stored as the model;
    0: off. It rises to its value: (1 + t) / (10 + t) after t steps at most."""
    init: str = ""
    """URL of a model.pt whose encoder and learned temperature to start from; empty: random initialisation."""
    reset_temperature: bool = False
    """With `init`: learn the temperature anew, from `temperature`, instead of going on from that of the model."""
    freeze: tuple[Pattern, ...] = Field((), max_length=100)
    """Patterns of the names of parameters that are not trained: globs such as `stages.[01]` or `*.norm.*`, where the
    name of a module stands for all of its parameters. Norms of which nothing is trained keep their statistics."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Precision of the encoder's matrix products (mixed precision). `bfloat16` and `float16` need a GPU. Norms, loss
    and weights stay in float32."""
    compile: bool = False
    """Compile the encoder with torch.compile. Needs a GPU, and pays off in long runs."""
    gradient_checkpointing: bool = False
    """Compute the activations of the encoder's large parts again for the backward pass instead of keeping them: a third
    more time, far less memory, the same bits. Not with `compile`, which decides by itself what to keep."""
    max_skipped: int = Field(0, ge=0)
    """Number of objects with damaged stored data that may be skipped; each is reported by name. With more, the run
    fails."""
    checkpoint_every: int = Field(200, ge=1)
    """Steps between checkpoints: the most that a killed run loses."""
    keep_checkpoints: int = Field(2, ge=1)
    """Number of most recent checkpoints to keep."""
    on_change: Literal["new", "extend", "restart"] = "new"
    """What to do where a run with other settings is in the same folder. `new`: begin beside it; its checkpoints and its
    model are kept. `extend`: go on from its newest checkpoint with more `steps`, or another `optim`, `ema`,
    `freeze`, `precision`, `accumulate`, `compile` or `validation.every`; the model's provenance says which steps were
    made with what. `restart`: replace it."""
    logs: tuple[Literal["tensorboard", "wandb"], ...] = ()
    """Where to tell the figures of each step besides the run's own curve. `tensorboard`: event files in the run's
    folder, with every checkpoint. `wandb`: Weights & Biases, with `pip install 'captionless[wandb]'`."""
    engine: Literal["job", "jobset"] = "job"
    """Kubernetes: the object that runs the pods of a training run, an Indexed Job or, if JobSet is installed, a
    JobSet."""
    collective_timeout: float = Field(120.0, ge=1)
    """Seconds without progress in a step after which the ranks restart from the newest checkpoint."""
    peer_timeout: float = Field(1800.0, ge=1)
    """Seconds that a training run on several nodes waits for missing nodes."""
    readmission_interval: float = Field(600.0, ge=0)
    """With `resources.minNodes` below `nodes`: the least seconds between two interruptions of a running training for
    nodes that have come back. They are let in after the next checkpoint."""

    LATER: ClassVar = frozenset({"ema", "freeze", "reset_temperature", "views"})
    OPERATIONAL: ClassVar = frozenset(
        {
            "max_skipped", "checkpoint_every", "keep_checkpoints", "on_change", "engine", "collective_timeout",
            "peer_timeout", "readmission_interval", "gradient_checkpointing", "logs",
        }
    )  # fmt: skip
    """Fields that do not affect results (the objects that are skipped do not depend on how many may be)."""

    @field_validator("logs", mode="before")
    @classmethod
    def _one_log(cls, given: Any) -> Any:
        return (given,) if isinstance(given, str) else given

    @model_validator(mode="after")
    def _kept_or_computed_again(self) -> Self:
        if self.gradient_checkpointing and self.compile:
            raise ValueError("gradientCheckpointing: not with compile, which decides by itself what to keep")
        return self

    @model_validator(mode="after")
    def _options_of_the_loss(self) -> Self:
        for option, (loss, default) in LOSS_OPTIONS.items():
            if self.loss != loss and getattr(self, option) != default:
                name = type(self).model_fields[option].alias
                raise ValueError(f"{name}: only an option of loss: {loss}; it does nothing with {self.loss}")
        if self.views.loss == "multi-positive" and self.loss != "contrastive":
            raise ValueError(f"views.loss: multi-positive is only an option of loss: contrastive, not of {self.loss}")
        return self

    @model_validator(mode="after")
    def _options_of_the_weights(self) -> Self:
        for option, weights in WEIGHTS_OPTIONS.items():
            field = type(self).model_fields[option]
            if getattr(self, option) != field.get_default() and not set(weights) & set(self.weights):
                raise ValueError(
                    f"{field.alias}: only an option of weights: {', '.join(weights)}; none is trained with"
                )
        return self

    @model_validator(mode="after")
    def _one_temperature(self) -> Self:
        if self.reset_temperature and not self.init:
            raise ValueError("resetTemperature: only an option of init; without one the temperature is new anyway")
        if (
            self.init
            and not self.reset_temperature
            and self.temperature != type(self).model_fields["temperature"].default
        ):
            raise ValueError(
                "temperature: init brings its own, which has been learned; set resetTemperature: true to begin with "
                "this one"
            )
        return self

    @model_validator(mode="after")
    def _enough_points(self) -> Self:
        if self.encoder.name == "pointbert":
            for option in ("groups", "nsample"):
                if getattr(self.encoder, option) > self.points:
                    raise ValueError(
                        f"encoder.{option}: {getattr(self.encoder, option)} exceeds points: {self.points} (pointbert)"
                    )
        return self


LOSS_OPTIONS = {
    name: (loss, TrainSpec.model_fields[name].get_default())
    for name, loss in (("hcl_beta", "hcl"), ("hcl_tau_plus", "hcl"), ("positive_weight", "contrastive"))
}
"""The options that only one of the losses has, and their defaults, which say nothing."""

WEIGHTS_OPTIONS = {
    "sharpen": tuple(w for w in Weights if w.metrics and w is not Weights.category),
    "positive_weight": tuple(w for w in Weights if w is not Weights.uniform),
}
"""The options that not all weights of the negatives have, and those that do."""
