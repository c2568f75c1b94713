"""200 Alignments created at once: every one reaches its first Jobs, suspended in a queue; what it costs is printed."""

from __future__ import annotations

import collections
import re

from tests.cluster.alignments import SMALL, merged
from tests.cluster.cluster import Cluster
from tests.cluster.operator import Operator

MANY = 200


def test_two_hundred_at_once(cluster: Cluster, namespace: str, operator: Operator) -> None:
    begin = len(cluster.audit("captionless"))
    spec = merged(SMALL, {"output": cluster.url("many"), "queue": "lab"})
    kind = {"apiVersion": "captionless.dev/v1alpha1", "kind": "Alignment"}
    cluster.apply(namespace, *({**kind, "metadata": {"name": f"many-{i}"}, "spec": spec} for i in range(MANY)))

    def reasons() -> collections.Counter[str]:
        """Of the condition Succeeded: how many Alignments have each."""
        found = cluster.get("alignments", namespace=namespace)
        conditions = [c for a in found for c in (a.get("status") or {}).get("conditions", [])]
        return collections.Counter(c["reason"] for c in conditions if c["type"] == "Succeeded")

    cluster.wait_for(f"{MANY} Alignments to be Queued", lambda: reasons()["Queued"] == MANY, 240, state=reasons)
    jobs = cluster.get("jobs", namespace=namespace)
    first = collections.Counter(j["metadata"]["labels"]["captionless.dev/stage"] for j in jobs)
    assert first == {"list": MANY}, "the stage that reads nothing of another"
    assert all(j["spec"]["suspend"] for j in jobs)
    alignments = cluster.get("alignments", namespace=namespace)
    assert not [a for a in alignments if a["metadata"].get("finalizers")]
    calls = collections.Counter(
        f"{e['verb']} {e['objectRef']['resource']}"
        + (f"/{e['objectRef']['subresource']}" if "subresource" in e["objectRef"] else "")
        for e in cluster.audit("captionless")[begin:]
        if e.get("stage") == "ResponseComplete" and "objectRef" in e
    )
    memory = operator.memory()
    print(f"\n{MANY} Alignments, each to its first Job (suspended)")
    for name, count in calls.most_common():
        print(f"  {name:32} {count:6} calls  {count / MANY:6.2f} each")
    print(f"  memory of the controller         {memory / 2**20:6.0f} MiB")
    assert calls["create jobs"] == len(jobs), "one was tried twice"
    everything = cluster.kubectl("get", "alignments", "-n", namespace, "-o", "yaml")
    assert not re.search(r"^\s+finalizers:", everything, re.MULTILINE)
