"""ONE DESCRIPTION: `AlignmentSpec` says what a run is, wherever it runs.

The same class is the YAML file of `captionless run`, the `spec` of the `Alignment`
custom resource, the values schema of the chart and the reference page of the docs.
That it must become a structural Kubernetes schema shapes it: no unions, no free-form
maps beside fields; a choice is an enumeration plus fields that belong to it.

`AlignmentSpec.described` is the part of it that decides the results; the rest says where
and on what they are computed, and enters no record.

`ClassificationSpec`, the file of `captionless classify`, stands beside it and shares its sections.

In YAML the names are camelCase, as Kubernetes writes them; snake_case is taken too.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic.alias_generators import to_camel

from captionless.demo_clip import NAME as DEMO


class _Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid", alias_generator=to_camel, populate_by_name=True, frozen=True, use_attribute_docstrings=True
    )


class SourceKind(StrEnum):
    parametric = "parametric"
    folder = "folder"
    manifest = "manifest"
    points = "points"


class Weights(StrEnum):
    """Where the negatives' weights of the contrastive loss come from (method.md, eq. 6)."""

    uniform = "uniform"
    category = "category"
    i2i = "i2i"
    i2l = "i2l"
    avg = "avg"

    @property
    def metrics(self) -> tuple[str, ...]:
        """The stored similarities that it reads."""
        return {"uniform": (), "category": ("i2i",), "i2i": ("i2i",), "i2l": ("i2l",), "avg": ("i2i", "i2l")}[self]


class SourceSpec(_Section):
    kind: SourceKind
    """`parametric` (the embedded demo world), `folder` (a sub-folder per category of meshes), `manifest`
    (JSONL of key, category, mesh, source, licence), `points` (npz or h5 of labelled clouds)."""
    url: str = ""
    """Where the folder, manifest or training clouds are; unused by `parametric`."""
    test_url: str = ""
    """`points` only: a second file whose clouds are the test split."""
    up: Literal["", "x", "y", "z"] = ""
    """The up axis of the meshes or clouds. May be left out where the format has a default (GLB, GLTF, OBJ: y)."""
    objects: int = Field(720, ge=1)
    """`parametric` only: training objects, dealt evenly over the categories."""
    test_objects: int = Field(240, ge=0)
    """`parametric` only: test objects, of attribute combinations that training never sees."""
    categories: tuple[str, ...] = ()
    """Only these categories; empty: all of them."""
    seed: int = 0
    """`parametric` only: which objects are drawn."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.kind is not SourceKind.parametric and not self.url:
            raise ValueError(f"url is required for kind: {self.kind}")
        return self


class DataSpec(_Section):
    source: SourceSpec
    split: Literal["hash", "manifest"] = "hash"
    """`hash`: an object's split follows from a stable hash of its key; `manifest`: the source says it.
    `parametric` and `points` with a `testUrl` bring their own split whatever this says."""
    test_fraction: float = Field(0.2, ge=0, lt=1)
    """The share of objects that `split: hash` holds out."""
    views: int = Field(30, ge=1, le=360)
    """Views per object, at equally spaced azimuths (the method's R)."""
    image_size: int = Field(224, ge=16, le=2048)
    """Edge of a rendered view in pixels."""
    elevation: float = Field(20.0, ge=-89, le=89)
    """The camera's height above the horizon in degrees."""
    points: int = Field(10_000, ge=16)
    """Points stored per object, in farthest-point order."""
    shard_objects: int = Field(256, ge=1)
    """About how many objects a shard holds; the number of shards is a power of two, so that adding a few
    objects leaves the other shards as they are."""
    max_skipped: int = Field(0, ge=0)
    """How many broken objects may be left out, each counted and named; more than that ends the stage."""


class ClipSpec(_Section):
    model: str = "ViT-B-32"
    """Any OpenCLIP model name, `hf-hub:...`, `local-dir:...`, or the embedded `captionless-demo`."""
    pretrained: str = "laion2b_s34b_b79k"
    """A tag of OpenCLIP, a path or a URL of a checkpoint; empty where the model brings its weights."""
    batch_size: int = Field(256, ge=1)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"

    @model_validator(mode="before")
    @classmethod
    def _weights_of_its_own(cls, values: Any) -> Any:
        if isinstance(values, dict) and str(values.get("model", "")).startswith((DEMO, "hf-hub:", "local-dir:")):
            return {"pretrained": "", **values}
        return values


class LandmarkOrigin(StrEnum):
    grammar = "grammar"
    file = "file"
    llm = "llm"


class LandmarksSpec(_Section):
    origin: LandmarkOrigin = LandmarkOrigin.grammar
    """`grammar` (the source's own, `parametric` only), `file` (JSONL), `llm` (an OpenAI-compatible endpoint)."""
    count: int = Field(128, ge=1)
    """Texts per category (the method's L)."""
    file: str = ""
    """`file`: URL of a JSONL with `category` and `text`."""
    filter: Literal["report", "drop"] = "report"
    """`file`: what to do with texts that name a colour or a material. An LLM's are always asked for again."""
    endpoint: str = "https://api.openai.com/v1"
    """`llm`: base URL of the chat completions API."""
    model: str = "gpt-4o-mini"
    api_key_env: str = "OPENAI_API_KEY"
    """`llm`: the environment variable that holds the key; the key itself never stands in a spec."""
    temperature: float = Field(1.0, ge=0, le=2)
    texts_per_request: int = Field(32, ge=1)
    max_cost: float = Field(5.0, gt=0)
    """`llm`: the run's cost cap, in the currency of the prices."""
    input_price: float = Field(0.15, ge=0)
    """`llm`: price of a million prompt tokens."""
    output_price: float = Field(0.60, ge=0)
    """`llm`: price of a million completion tokens."""
    timeout_seconds: float = Field(60.0, gt=0)
    hints: tuple[str, ...] = ()
    """`llm`: metadata of categories for the prompt, each as `category: what it is`."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.origin is LandmarkOrigin.file and not self.file:
            raise ValueError("file is required for origin: file")
        return self


class SimilaritySpec(_Section):
    cross_category_sim: float = Field(0.25, gt=0, le=1)
    """The constant similarity of objects of different categories (the paper's alpha)."""


class EncoderSpec(_Section):
    """Which network encodes the clouds, and its sizes. An option that another encoder has is refused."""

    name: Literal["pointnext-s", "pointbert", "sparseconv"] = "pointnext-s"
    """`pointnext-s`: set abstractions, as in the paper. `pointbert`: a transformer over groups of points, as ULIP's.
    `sparseconv`: a residual network of sparse voxel convolutions, as OpenShape's. See docs/training.md."""
    width: int = Field(32, ge=4)
    """Channels. `pointnext-s`: of the first stage; 32 is PointNeXt-S as the paper uses it. `pointbert`: of a token, a
    multiple of `heads`; 384 unless given. `sparseconv`: of the stem."""
    depth: int = Field(12, ge=1)
    """`pointbert`: transformer blocks. `sparseconv`: 11, 18 or 34 as of a ResNet; 34 unless given."""
    heads: int = Field(6, ge=1)
    """`pointbert`: attention heads."""
    groups: int = Field(512, ge=1)
    """`pointbert`: groups of points, one token each; at most `train.points`."""
    nsample: int = Field(32, ge=1)
    """`pointnext-s`: neighbours per ball query. `pointbert`: points of a group."""
    in_channels: Literal[3, 4] = 3
    """3: xyz. 4: xyz and height above the lowest point, as ULIP feeds it."""
    radius: float = Field(0.15, gt=0)
    """`pointnext-s`: of the first ball query."""
    voxel: float = Field(0.02, gt=0)
    """`sparseconv`: edge of a voxel, the clouds being in the unit sphere; 0.02 is for 10,000 points, 0.05 for 2048."""
    dropout: float = Field(0.5, ge=0, lt=1)
    """`pointnext-s`, `sparseconv`: of the layers before the projection."""
    drop_path: float = Field(0.1, ge=0, lt=1)
    """`pointbert`: how often the last block is left out in training (stochastic depth), from 0 at the first on."""
    operators: Literal["own", "pointnext"] = "own"
    """`pointnext-s`, `pointbert`: what samples points and finds balls on a GPU. `pointnext`: the CUDA kernels of that
    package, which has to be installed; another run, since they round otherwise."""

    TAKES: ClassVar[dict[str, tuple[str, ...]]] = {
        "pointnext-s": ("width", "nsample", "in_channels", "radius", "dropout", "operators"),
        "pointbert": ("width", "depth", "heads", "groups", "nsample", "in_channels", "drop_path", "operators"),
        "sparseconv": ("width", "depth", "in_channels", "voxel", "dropout"),
    }
    """The options of each encoder. A dump has no others, nor `operators` unless they are another's, so that what is
    of no account or came later enters no fingerprint."""
    OWN: ClassVar[dict[str, dict[str, int]]] = {"pointbert": {"width": 384}, "sparseconv": {"depth": 34}}
    """Where an encoder's default is another than the field's."""
    DEPTHS: ClassVar = (11, 18, 34)
    """Of `sparseconv`."""

    @model_validator(mode="after")
    def _of_its_own(self) -> Self:
        takes, fields = self.TAKES[self.name], type(self).model_fields
        foreign = [str(fields[f].alias) for f in fields if f in self.model_fields_set - {"name", *takes}]
        if foreign:
            known = ", ".join(str(fields[f].alias) for f in takes)
            raise ValueError(f"{', '.join(foreign)}: not of {self.name}, whose options are {known}")
        for option, default in self.OWN.get(self.name, {}).items():
            if option not in self.model_fields_set:
                self.__dict__[option] = default  # still not set, so that what was written stays what was written
        if self.name == "pointbert" and self.width % self.heads:
            raise ValueError(f"width: {self.width} is no multiple of heads: {self.heads}")
        if self.name == "sparseconv" and self.depth not in self.DEPTHS:
            raise ValueError(f"depth: {self.depth} is not one of {', '.join(map(str, self.DEPTHS))} (sparseconv)")
        return self

    @model_serializer(mode="wrap")
    def _taken(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = type(self).model_fields
        left_out = fields.keys() - {"name", *self.TAKES[self.name]}
        if self.operators == "own":
            left_out |= {"operators"}
        names = {name for field in left_out for name in (field, fields[field].alias)}
        return {name: value for name, value in dump(self).items() if name not in names}


class OptimSpec(_Section):
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


class AugmentSpec(_Section):
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


class BatchesSpec(_Section):
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


class ValidationSpec(_Section):
    share: float = Field(0.0, ge=0, le=0.5)
    """Of each category's training objects, kept out of training; above 0 the weights that find these best are the
    result, not the last ones. The test split has no say in it."""
    every: int = Field(200, ge=1)
    """Steps between two validations; the last step always has one."""


class TrainSpec(_Section):
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


class EvalSpec(_Section):
    prompt: str = "paper"
    """`paper` ("a point cloud of a ..."), `released`, `ensemble`, or a template with `{}`."""
    views: Literal["all", "one"] = "one"
    """Queries of image to shape retrieval: one seeded view per object, or every view."""
    seed: int = 0
    """Which view is the query, and which objects the intervals' resamples draw."""
    pushgateway: str = ""
    """URL of a Prometheus Pushgateway that gets the figures; empty: they are in results.json only."""

    OPERATIONAL: ClassVar = frozenset({"pushgateway"})


_QUANTITY = r"[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?"
Quantity = Annotated[str, Field(pattern=rf"^{_QUANTITY}$", max_length=20)]
ObjectName = Annotated[str, Field(pattern=r"^([a-z0-9]([a-z0-9.-]*[a-z0-9])?)?$", max_length=253)]

_UNITS = {"m": "0.001", "k": "1e3", "M": "1e6", "G": "1e9", "T": "1e12"} | {
    unit: str(1 << 10 * power) for power, unit in enumerate(("", "Ki", "Mi", "Gi", "Ti"))
}


def whole_bytes(quantity: str) -> int:
    """A quantity as Kubernetes writes it, in bytes."""
    number = quantity.rstrip("mkKMGTi")
    return int(Decimal(number) * Decimal(_UNITS[quantity[len(number) :]]))


class ResourcesSpec(_Section):
    """How much of a machine or cluster the stages get. May be changed while a run goes on: stages that have not
    begun take the new values."""

    workers: int = Field(2, ge=1, le=10_000)
    """Processes (on this machine) or pods that share a precompute stage."""
    nodes: int = Field(1, ge=1, le=1000)
    """Pods of one training run. On this machine their ranks are processes, so that the result is the same."""
    min_nodes: int = Field(0, ge=0, le=1000)
    """Kubernetes: the fewest pods that a training may go on with; 0: all of `nodes`, which alone promises the
    same result to the bit."""
    processes: int = Field(1, ge=1, le=64)
    """Ranks of a training run on each node."""
    threads: int = Field(1, ge=1)
    """CPU threads of a worker or rank. Part of what makes two runs equal to the bit."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where training runs. Kubernetes: `cuda` asks for a GPU for each process, anything else for none."""
    cpu: Annotated[str, Field(pattern=r"^([0-9]+(\.[0-9]+)?m?)?$", max_length=20)] = ""
    """Kubernetes: CPU that a pod asks for; empty: a core for each thread of each of its processes."""
    memory: Quantity = "4Gi"
    """Kubernetes: memory of a pod of any stage but training."""
    train_memory: Quantity = "8Gi"
    """Kubernetes: memory of a training pod, `sharedMemory` included."""
    data_memory: Annotated[str, Field(pattern=rf"^({_QUANTITY})?$", max_length=20)] = ""
    """Memory of a node in which its ranks together keep training objects that they have read; empty: half of
    `trainMemory`. Objects that there is no room for are read again in every epoch."""
    shared_memory: Quantity = "1Gi"
    """Kubernetes: size of /dev/shm in a training pod."""
    ephemeral_storage: Quantity = "4Gi"
    """Kubernetes: scratch space on the node's disk, for each pod."""
    gpu: str = Field("nvidia.com/gpu", max_length=253)
    """Kubernetes: the resource name of a GPU."""

    @model_validator(mode="after")
    def _elastic(self) -> Self:
        if self.min_nodes > self.nodes:
            raise ValueError(f"minNodes: {self.min_nodes} exceeds nodes: {self.nodes}")
        return self

    @property
    def rank_memory(self) -> int:
        """Bytes in which each rank of a training keeps objects."""
        of_node = whole_bytes(self.data_memory) if self.data_memory else whole_bytes(self.train_memory) // 2
        return of_node // self.processes


class Toleration(_Section):
    """A taint that pods may be scheduled onto (core/v1 Toleration)."""

    key: str = Field("", max_length=316)
    operator: Literal["Equal", "Exists"] = "Equal"
    value: str = Field("", max_length=63)
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""
    toleration_seconds: int = Field(-1, ge=-1)
    """With `NoExecute`: seconds to stay; -1: for good."""


class Variable(_Section):
    """An environment variable: a value, or a key of a Secret."""

    name: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=253)
    value: str = Field("", max_length=8192)
    secret: ObjectName = ""
    """Name of a Secret; its `key` is the value."""
    key: str = Field("", max_length=253)

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if bool(self.secret) != bool(self.key) or (self.secret and self.value):
            raise ValueError(f"{self.name}: give either value, or both secret and key")
        return self


class Volume(_Section):
    """Something mounted into every pod: exactly one of `claim`, `configMap` and `secret`."""

    mount_path: str = Field(pattern=r"^/", max_length=1024)
    claim: ObjectName = ""
    """Name of a PersistentVolumeClaim."""
    config_map: ObjectName = ""
    secret: ObjectName = ""
    read_only: bool = True

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if sum(map(bool, (self.claim, self.config_map, self.secret))) != 1:
            raise ValueError(f"{self.mount_path}: expected exactly one of claim, configMap, secret")
        return self


class PodsSpec(_Section):
    """Kubernetes: how and where the pods of a run are made. Nothing here changes a result, and nothing is read
    on a single machine."""

    image: str = Field("", max_length=1024)
    """The container image; empty: the operator's own."""
    image_pull_policy: Literal["", "Always", "IfNotPresent", "Never"] = ""
    image_pull_secrets: tuple[ObjectName, ...] = Field((), max_length=16)
    service_account: ObjectName = ""
    """The pods' service account: where workload identity gives access to the storage, it is all that is needed.
    Its token is not mounted."""
    credentials_secret: ObjectName = ""
    """A Secret whose keys become environment variables (AWS_ACCESS_KEY_ID and so on), where there is no
    workload identity."""
    node_selector: dict[str, str] = Field({}, max_length=32)
    tolerations: tuple[Toleration, ...] = Field((), max_length=32)
    topology_key: str = Field("", max_length=316)
    """A node label, as `topology.kubernetes.io/zone`: the pods of a training are put where its value is the same."""
    topology: Literal["preferred", "required"] = "preferred"
    priority_class: ObjectName = ""
    env: tuple[Variable, ...] = Field((), max_length=64)
    volumes: tuple[Volume, ...] = Field((), max_length=32)
    labels: dict[str, str] = Field({}, max_length=32)
    """Labels of every pod, besides our own."""
    annotations: dict[str, str] = Field({}, max_length=32)
    grace_seconds: int = Field(120, ge=30, le=3600)
    """How long a pod that must go may take to store a checkpoint."""


Name = Annotated[str, Field(pattern=r"^[a-z]([a-z0-9-]*[a-z0-9])?$", max_length=40)]


class AlignmentSpec(_Section):
    """A run: what to align, with which CLIP, by which losses, and where its outputs go."""

    name: Name = "alignment"
    output: str = Field("", max_length=1024)
    """The folder or s3:// prefix of everything the run makes; empty: `runs/<name>`."""
    data: DataSpec
    clip: ClipSpec = ClipSpec()
    landmarks: LandmarksSpec = LandmarksSpec()
    similarity: SimilaritySpec = SimilaritySpec()
    train: TrainSpec = TrainSpec()
    eval: EvalSpec = EvalSpec()
    resources: ResourcesSpec = ResourcesSpec()
    pods: PodsSpec = PodsSpec()
    queue: ObjectName = ""
    """Kubernetes: the Kueue queue that the Jobs wait in; they are made suspended and Kueue lets them go."""
    suspend: bool = False
    """Kubernetes: hold the run; its current Job is removed and what is whole is kept. `false` goes on."""
    ttl_seconds_after_finished: int = Field(-1, ge=-1)
    """Kubernetes: remove the Alignment and its Jobs this long after it finished (its outputs stay); -1: never."""

    OPERATIONAL: ClassVar = frozenset(
        {"name", "output", "resources", "pods", "queue", "suspend", "ttl_seconds_after_finished"}
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        kind, origin = self.data.source.kind, self.landmarks.origin
        needs_landmarks = any("i2l" in w.metrics for w in self.train.weights)
        if needs_landmarks and origin is LandmarkOrigin.grammar and kind is not SourceKind.parametric:
            raise ValueError(
                f"landmarks.origin: grammar has texts for data.source.kind: parametric only, not {kind}; "
                "use `file` or `llm`, or train with weights that need no landmarks (uniform, category, i2i)"
            )
        if kind is SourceKind.points:
            raise ValueError(
                "data.source.kind: points has no meshes to render, so it cannot be aligned with images; "
                "it serves `captionless eval --data` and `captionless classify`"
            )
        if self.train.points > self.data.points:
            raise ValueError(f"train.points: {self.train.points} exceeds data.points: {self.data.points}")
        return self

    @property
    def root(self) -> str:
        """Where the outputs are: `output`, or `runs/<name>` beneath the current folder."""
        return self.output or f"runs/{self.name}"

    def described(self) -> dict[str, Any]:
        """What decides the results, as plain values: all but where and on what they are computed."""
        whole: dict[str, Any] = dict.fromkeys(self.OPERATIONAL, True)
        parts = {"train": set(TrainSpec.OPERATIONAL), "eval": set(EvalSpec.OPERATIONAL)}
        return self.model_dump(by_alias=True, mode="json", exclude={**whole, **parts})

    @property
    def metrics(self) -> tuple[str, ...]:
        """The similarities that the training's losses read, in a fixed order."""
        return tuple(m for m in ("i2i", "i2l") if any(m in w.metrics for w in self.train.weights))


class ClassifyAugmentSpec(AugmentSpec):
    """The augmentation of a classifier's clouds: scale and shift, for clouds that are aligned. Those that stand at any
    angle about the up axis, as ScanObjectNN's, want `rotateUp`."""

    dropout: float = Field(0.0, ge=0, lt=1)
    perturb_sigma: float = Field(0.0, ge=0)
    rotate_up: bool = False
    """A full random rotation about the up axis."""
    jitter_sigma: float = Field(0.0, ge=0)


class ClassifySpec(_Section):
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


class ClassificationSpec(_Section):
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
