"""The environment variables by which captionless's processes know how they were started.

A stage's command is the same wherever it runs; who starts it (the local runner, the
training's supervisor, a pod template) says through these how progress and the ending
are to be told, and which share of the work is meant. A person sets none of them.
"""

from __future__ import annotations

import os

PROGRESS = "CAPTIONLESS_PROGRESS"
"""File that gets the progress, a small JSON document (`progress`)."""

QUIET = "CAPTIONLESS_QUIET"
"""Set: no progress on stderr (`--quiet`)."""

ENDING = "CAPTIONLESS_ENDING"
"""File that gets how the command ended, a small JSON document (`ending`); a pod's termination message."""

PARENT = "CAPTIONLESS_PARENT"
"""Process id of the parent that this process must not outlive (`runtime.parent_death`)."""

SHARDS = "CAPTIONLESS_SHARDS"
"""How many pods share a stage; JOB_COMPLETION_INDEX is which of them this one is."""

INDEX = "JOB_COMPLETION_INDEX"
"""Set by Kubernetes in the pods of an Indexed Job: the shard, or the node of a training."""

RENDEZVOUS = "CAPTIONLESS_RENDEZVOUS"
"""host:port of node 0, where the nodes of a training meet; unset: the training has one node."""

METRICS_PORT = "CAPTIONLESS_METRICS_PORT"
"""Port on which a stage tells its progress to Prometheus; unset: nowhere."""

PUSHGATEWAY = "CAPTIONLESS_PUSHGATEWAY"
"""The Pushgateway's URL where the spec names none (`eval.pushgateway`): an operator's default."""

NAMESPACE = "POD_NAMESPACE"
"""The pod's namespace, which tells its Alignment's figures from those of another of the same name."""

KERNELS = "CAPTIONLESS_KERNELS"
"""Folder with compiled kernels, in an image (`kernels`)."""


_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


def threads(count: int) -> dict[str, str]:
    """What keeps the libraries of a worker or rank to so many threads; they read it when they are imported."""
    return dict.fromkeys(_THREADS, str(count))


def cores() -> int:
    """The processor cores that this process may run on; a container's share of them may be less."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
