"""The environment variables that tell captionless's processes how they were started.

A stage's command is the same everywhere. Its starter (the local runner, the supervisor of a training, a pod template)
sets by these variables how the command reports its progress and its end, and which shard of the work it processes.
Users set none of them.
"""

from __future__ import annotations

import os

PROGRESS = "CAPTIONLESS_PROGRESS"
"""File that the progress is written to, a small JSON document (`telemetry.progress`)."""

QUIET = "CAPTIONLESS_QUIET"
"""Set: no progress on stderr (`--quiet`)."""

TERMINATION_MESSAGE = "CAPTIONLESS_TERMINATION_MESSAGE"
"""File that the termination message is written to (`runtime.termination_message`)."""

PARENT = "CAPTIONLESS_PARENT"
"""Process id of the parent that this process must not outlive (`runtime.parent_death`)."""

SHARDS = "CAPTIONLESS_SHARDS"
"""How many pods share a stage; JOB_COMPLETION_INDEX is which of them this one is."""

INDEX = "JOB_COMPLETION_INDEX"
"""Set by Kubernetes in the pods of an Indexed Job: the shard, or the node of a training."""

RENDEZVOUS = "CAPTIONLESS_RENDEZVOUS"
"""host:port of node 0, for the rendezvous of a training's nodes; unset: the training has one node."""

METRICS_PORT = "CAPTIONLESS_METRICS_PORT"
"""Port on which a stage serves its metrics to Prometheus; unset: no metrics."""

PUSHGATEWAY = "CAPTIONLESS_PUSHGATEWAY"
"""The Pushgateway's URL if the spec has none (`eval.pushgateway`): an operator's default."""

NAMESPACE = "POD_NAMESPACE"
"""The pod's namespace: a label of the figures, to distinguish Alignments of the same name."""

NODE_FOLDER, NODE_MEMORY = "CAPTIONLESS_NODE_FOLDER", "CAPTIONLESS_NODE_MEMORY"
"""Folder and memory in which the ranks of a training on this node cache data together (`trainer.data.node_cache`)."""

DATA_DISK = "CAPTIONLESS_DATA_DISK"
"""Folder on the disk that a pod's `resources.dataDisk` is mounted at; unset: the folder of temporary files."""

LEASE = "CAPTIONLESS_LEASE"
"""The lease that the parent holds on what this process writes into (`store.writers`): its id and its URL."""

POD = "POD_NAME"
"""The pod's name, to name it where another process finds it at work."""

JOB_UID = "CAPTIONLESS_JOB_UID"
"""The uid of the pod's Job. The Job replaces a pod only when it has terminated, so that a pod of the same Job and index
is the successor of the one before."""

NUMBA_CACHE = "CAPTIONLESS_NUMBA_CACHE"
"""Folder of an image with kernels that numba compiled when it was built (`runtime.numba_cache`)."""


_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


def threads(count: int) -> dict[str, str]:
    """The environment that limits the libraries of a worker or rank to `count` threads; read when they are imported."""
    return dict.fromkeys(_THREADS, str(count))


def cores() -> int:
    """The processor cores that this process may run on; a container's share of them may be less."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
