"""The `pods` section: Kubernetes settings of a run's pods, and of the pods of single stages."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from captionless.spec import pod_patch
from captionless.spec.quantities import ObjectName
from captionless.spec.section import Section

StageKind = Literal["list", "pack", "embed", "landmarks", "similarity", "train", "eval"]
"""What a stage does: its sub-command (`plan.Stage.kind`), of which a run may have several stages."""


class Toleration(Section):
    """A taint that the pods tolerate (a core/v1 Toleration)."""

    key: str = Field("", max_length=316)
    """Key of the taint; empty, with `operator: Exists`: any key."""
    operator: Literal["Equal", "Exists"] = "Equal"
    """`Equal`: the taint must have `value`. `Exists`: any value."""
    value: str = Field("", max_length=63)
    """Value of the taint, for `operator: Equal`."""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""
    """Effect of the taint; empty: any effect."""
    toleration_seconds: int = Field(-1, ge=-1)
    """`NoExecute` only: seconds that a pod may stay on a node after it is tainted; -1: unlimited."""


class Variable(Section):
    """An environment variable, given as a value or as a key of a Secret."""

    name: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=253)
    """Name of the variable."""
    value: str = Field("", max_length=8192)
    """The value itself; leave empty if `secret` and `key` are given."""
    secret: ObjectName = ""
    """Name of a Secret in the run's namespace, whose `key` holds the value."""
    key: str = Field("", max_length=253)
    """Key in the Secret."""

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if bool(self.secret) != bool(self.key) or (self.secret and self.value):
            raise ValueError(f"{self.name}: expected either value, or both secret and key")
        return self


class Volume(Section):
    """A volume mounted into every pod: exactly one of `claim`, `configMap` and `secret`."""

    mount_path: str = Field(pattern=r"^/", max_length=1024)
    """Absolute path in the container."""
    claim: ObjectName = ""
    """Name of a PersistentVolumeClaim."""
    config_map: ObjectName = ""
    """Name of a ConfigMap, each of whose keys becomes a file."""
    secret: ObjectName = ""
    """Name of a Secret, each of whose keys becomes a file."""
    read_only: bool = True
    """Mount read-only. Must be `false` for the claim that `output` is on."""

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if sum(map(bool, (self.claim, self.config_map, self.secret))) != 1:
            raise ValueError(f"{self.mount_path}: expected exactly one of claim, configMap, secret")
        return self


class GpuPlacement(Section):
    """Placement of the pods that request a GPU, in addition to `nodeSelector` and `tolerations`: those of trainings
    with `resources.device: cuda`, and of `embed`, `landmarks` and `eval` with `clip.device: cuda`. Other pods neither
    need GPU nodes nor tolerate their taints."""

    node_selector: dict[str, str] = Field({}, max_length=32)
    """Labels that a node must have to run the pods. Replaces a label of `pods.nodeSelector` with the same key."""
    tolerations: tuple[Toleration, ...] = Field((), max_length=32)
    """Taints of GPU nodes that the pods tolerate."""


class PodSettings(Section):
    """The settings of the pods of one stage."""

    image: str = Field("", max_length=1024)
    """Container image; empty: the operator's image."""
    image_pull_policy: Literal["", "Always", "IfNotPresent", "Never"] = ""
    """When the kubelet pulls the image; empty: the operator's setting."""
    image_pull_secrets: tuple[ObjectName, ...] = Field((), max_length=16)
    """Names of Secrets with registry credentials for pulling the image."""
    service_account: ObjectName = ""
    """ServiceAccount of the pods; empty: the namespace's `default`. With workload identity this is all that storage
    access needs. Its token is not mounted."""
    credentials_secret: ObjectName = ""
    """Secret whose keys become environment variables (such as AWS_ACCESS_KEY_ID), for storage access without workload
    identity."""
    node_selector: dict[str, str] = Field({}, max_length=32)
    """Labels that a node must have to run the pods; empty: any node. Those of GPU nodes belong in `gpu`."""
    tolerations: tuple[Toleration, ...] = Field((), max_length=32)
    """Taints that the pods tolerate. Those of GPU nodes belong in `gpu`."""
    gpu: GpuPlacement = GpuPlacement()
    topology_key: str = Field("", max_length=316)
    """Node label, such as `topology.kubernetes.io/zone`, by which the pods of a training run are placed together: on
    nodes with the same value; empty: no constraint."""
    topology: Literal["preferred", "required"] = "preferred"
    """Whether placement by `topologyKey` is `preferred` or `required`, in which case pods wait until it is possible."""
    priority_class: ObjectName = ""
    """PriorityClass of the pods; empty: the cluster's default."""
    env: tuple[Variable, ...] = Field((), max_length=64)
    """Additional environment variables of every pod."""
    volumes: tuple[Volume, ...] = Field((), max_length=32)
    """Volumes mounted into every pod, for meshes, CLIP checkpoints or outputs that are not on object storage."""
    labels: dict[str, str] = Field({}, max_length=32)
    """Additional labels of every pod."""
    annotations: dict[str, str] = Field({}, max_length=32)
    """Annotations of every pod."""
    grace_seconds: int = Field(120, ge=30, le=3600)
    """Termination grace period: seconds that an evicted or deleted pod has to store a checkpoint."""
    patch: str = Field("", max_length=16384)
    """Strategic-merge patch, in YAML, of the Jobs: of `metadata.labels` and `metadata.annotations` (of the JobSet, if
    it is one) and of `spec.template`, the pod template, whose main container is `worker`. For what has no field here.
    The operator must allow it (`allowPodPatches` of its chart)."""

    @field_validator("patch")
    @classmethod
    def _can_be_read(cls, given: str) -> str:
        if given:
            pod_patch.read(given)
        return given


class StagePods(PodSettings):
    """The pods of the stages of one kind. Has every field of `pods` except `stages`. A field that is set here replaces
    that of `pods`, lists and maps as a whole (`[]` and `{}` mean none); the others are as in `pods`."""

    stage: StageKind
    """The kind of stage: `train` is every training, `similarity` every metric."""

    @model_serializer(mode="wrap")
    def _what_is_set(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Only what was set, or a spec that is written and read again would set all fields."""
        names = {n for f in self.model_fields_set for n in (f, type(self).model_fields[f].alias)}
        found = {k: v for k, v in dump(self).items() if k in names}
        return {"stage": found.pop("stage"), **found}


class PodsSpec(PodSettings):
    """Kubernetes: image, placement, environment and volumes of a run's pods. Does not affect results, and is ignored on
    a single machine."""

    stages: tuple[StagePods, ...] = Field(
        (),
        max_length=7,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["stage"]},
    )
    """Other settings for the pods of some stages, by kind of stage."""

    @field_validator("stages")
    @classmethod
    def _once(cls, given: tuple[StagePods, ...]) -> tuple[StagePods, ...]:
        kinds = [s.stage for s in given]
        for kind in kinds:
            if kinds.count(kind) > 1:
                raise ValueError(f"stage: {kind} is listed {kinds.count(kind)} times; expected one entry per stage")
        return given

    def of(self, stage: str) -> PodSettings:
        """The settings for the pods of a stage, given its kind."""
        own = next((s for s in self.stages if s.stage == stage), None)
        found = {n: getattr(self, n) for n in PodSettings.model_fields}
        if own is not None:
            found |= {n: getattr(own, n) for n in own.model_fields_set if n in found}
        return PodSettings.model_construct(**found)

    def field_of(self, stage: str, name: str) -> str:
        """Where the spec sets a field for the pods of a stage: in `pods`, or in the stage's entry."""
        own = any(s.stage == stage and name in s.model_fields_set for s in self.stages)
        return f"pods.stages[{stage}].{name}" if own else f"pods.{name}"

    def volumes_by_field(self) -> dict[str, tuple[Volume, ...]]:
        """The volumes of `pods`, and of the stages that have others, by the field that lists them."""
        own = {f"pods.stages[{s.stage}].volumes": s.volumes for s in self.stages if "volumes" in s.model_fields_set}
        return {"pods.volumes": self.volumes, **own}
