""""""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import (
    Field,
    model_validator,
)

from captionless.spec.quantities import _QUANTITY, Quantity, whole_bytes
from captionless.spec.section import Section


class ResourcesSpec(Section):
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
