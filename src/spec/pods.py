""""""

from __future__ import annotations

from typing import Literal, Self

from pydantic import (
    Field,
    model_validator,
)

from captionless.spec.quantities import ObjectName
from captionless.spec.section import Section


class Toleration(Section):
    """A taint that pods may be scheduled onto (core/v1 Toleration)."""

    key: str = Field("", max_length=316)
    operator: Literal["Equal", "Exists"] = "Equal"
    value: str = Field("", max_length=63)
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""
    toleration_seconds: int = Field(-1, ge=-1)
    """With `NoExecute`: seconds to stay; -1: for good."""


class Variable(Section):
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


class Volume(Section):
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


class PodsSpec(Section):
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
