"""kstatus itself judges every state of a run, by which Flux and `helm --wait` do."""

from __future__ import annotations

import json

from tests.cluster.cluster import Cluster
from tests.controller.states import states


def test_kstatus_itself_makes_of_every_state_what_it_should(cluster: Cluster) -> None:
    found = states()
    judged = cluster.run("kstatus", input=json.dumps([each for each, _ in found.values()])).stdout.splitlines()
    assert dict(zip(found, (line.split()[0] for line in judged), strict=True)) == {
        name: expected for name, (_, expected) in found.items()
    }
