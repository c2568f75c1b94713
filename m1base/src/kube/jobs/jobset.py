"""A training as a JobSet (jobset.x-k8s.io), for clusters that queue and schedule JobSets.

The one replicated Job is the same Job as without JobSet. JobSet brings the headless Service and host names,
`<jobset>-nodes-0-<index>.<jobset>`. A failed Job has either used up its retries or ended with a final exit code,
so the JobSet is not restarted.
"""

from __future__ import annotations

from typing import Any

API_VERSION, KIND = "jobset.x-k8s.io/v1alpha2", "JobSet"
REPLICATED = "nodes"


def node_zero(name: str) -> str:
    """The host name at which the other nodes find node 0."""
    return f"{name}-{REPLICATED}-0-0.{name}"


def jobset_spec(name: str, job: dict[str, Any], labels: dict[str, str]) -> dict[str, Any]:
    """A JobSetSpec with the given JobSpec as its only Job."""
    return {
        "network": {"enableDNSHostnames": True, "subdomain": name, "publishNotReadyAddresses": True},
        "failurePolicy": {"maxRestarts": 0},
        "replicatedJobs": [
            {
                "name": REPLICATED,
                "replicas": 1,
                "template": {"metadata": {"labels": dict(labels)}, "spec": job},
            }
        ],
    }
