"""The `resources` section: how much of a machine or cluster a run uses."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from captionless.spec.quantities import _QUANTITY, Quantity, whole_bytes
from captionless.spec.section import Section


class ResourcesSpec(Section):
    """How much of a machine or cluster each stage gets. May be changed during a run; stages that have not started yet
    use the new values."""

    workers: int = Field(2, ge=1, le=10_000)
    """Processes (on one machine) or pods (on Kubernetes) that share a precompute stage."""
    nodes: int = Field(1, ge=1, le=1000)
    """Nodes of one training run: pods on Kubernetes. On one machine their ranks are local processes, with the same
    result."""
    min_nodes: int = Field(0, ge=0, le=1000)
    """Kubernetes: minimum number of pods that a training run may continue with; 0: all of `nodes`, the only setting
    with bit-identical results."""
    processes: int = Field(1, ge=1, le=64)
    """Ranks (processes) of a training run on each node."""
    threads: int = Field(1, ge=1)
    """CPU threads of a worker or rank. Two trainings are bit-identical only with the same number of threads."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device to train on; `auto`: CUDA if available, otherwise the CPU. Kubernetes: `cuda` requests one GPU per
    process, the others none."""
    cpu: Annotated[str, Field(pattern=r"^([0-9]+(\.[0-9]+)?m?)?$", max_length=20)] = ""
    """Kubernetes: CPU request of a pod; there is no CPU limit. Empty: one core per thread of each of its processes."""
    memory: Quantity = "4Gi"
    """Kubernetes: memory request and limit of a pod of any stage except training."""
    train_memory: Quantity = "8Gi"
    """Kubernetes: memory request and limit of a training pod, including `sharedMemory`."""
    data_memory: Annotated[str, Field(pattern=rf"^({_QUANTITY})?$", max_length=20)] = ""
    """Memory per node, over all its ranks, for caching training objects and, if similarity is not on a local file
    system, its tiles, which take a quarter at most; empty: half of `trainMemory`. Objects that do not fit are read
    again in every epoch; of tiles that do not fit only the rows that a batch needs are read, each time."""
    data_disk: Annotated[str, Field(pattern=rf"^({_QUANTITY})?$", max_length=20)] = ""
    """Disk space per node on which a training keeps copies of training objects and similarity from object storage that
    memory has no room for, for all its ranks and rounds; empty: none. On Kubernetes an emptyDir of its own, which is
    requested in addition to `ephemeralStorage`."""
    shared_memory: Quantity = "1Gi"
    """Kubernetes: size of /dev/shm in a training pod."""
    ephemeral_storage: Quantity = "4Gi"
    """Kubernetes: ephemeral storage (scratch space on the node's disk) of each pod."""
    disruptions: int = Field(20, ge=1, le=10_000)
    """Kubernetes: events that may disrupt a stage, one after the other, before it fails if it makes no progress in
    between. A drained node, a preemption or a reclaim is one event, however many pods it takes along."""
    gpu: str = Field("nvidia.com/gpu", max_length=253)
    """Kubernetes: resource name of a GPU."""

    @model_validator(mode="after")
    def _elastic(self) -> Self:
        if self.min_nodes > self.nodes:
            raise ValueError(f"minNodes: {self.min_nodes} exceeds nodes: {self.nodes}")
        return self

    @property
    def node_disk(self) -> int:
        """Bytes of disk for copies of a training's data."""
        return whole_bytes(self.data_disk) if self.data_disk else 0

    @property
    def rank_memory(self) -> int:
        """Bytes of memory in which each rank of a training caches objects and similarity."""
        of_node = whole_bytes(self.data_memory) if self.data_memory else whole_bytes(self.train_memory) // 2
        return of_node // self.processes
