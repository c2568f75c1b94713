"""The nodes of a training as one of them sees it: who it is, how many there are, where they meet."""

from __future__ import annotations

import os
from dataclasses import dataclass

from captionless.errors import SpecError
from captionless.runtime import env
from captionless.spec.alignment import AlignmentSpec

_SPARE_SECONDS = 15
"""The part of a pod's grace period that torchrun and the supervisor need to exit after the ranks' last step."""


@dataclass(frozen=True)
class Gang:
    """One node of a training on several.

    index: this node, zero-based. nodes: the number of nodes; least: the minimum to train with. host, port: node 0's
    address for the others. patience: seconds to wait for missing nodes. grace: seconds for the ranks to exit after a
    SIGTERM. readmission: the least seconds between two interruptions for nodes that have come back.
    """

    index: int
    nodes: int
    least: int
    host: str
    port: int
    patience: float
    grace: float
    readmission: float = 0.0


def this_node(spec: AlignmentSpec) -> Gang | None:
    """The gang that the environment describes; None on a single machine. SpecError when the variables are invalid."""
    where = os.environ.get(env.RENDEZVOUS)
    if not where:
        return None
    host, _, port = where.rpartition(":")
    if not host or not port.isdigit():
        raise SpecError(f"{env.RENDEZVOUS}: {where!r}; expected host:port of node 0")
    has, index = spec.resources, os.environ.get(env.INDEX, "")
    if not index.isdigit() or int(index) >= has.nodes:
        raise SpecError(f"{env.INDEX}: {index!r}; expected a number below resources.nodes ({has.nodes})")
    return Gang(
        int(index),
        has.nodes,
        has.min_nodes or has.nodes,
        host,
        int(port),
        spec.train.peer_timeout,
        spec.pods.of("train").grace_seconds - _SPARE_SECONDS,
        spec.train.readmission_interval,
    )
