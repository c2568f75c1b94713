"""That the cluster is what the other tests take it for: each test uses one thing that they stand on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cluster.cluster import Cluster, CommandFailed, minutes

RESTRICTED: dict[str, Any] = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "automountServiceAccountToken": False,
    "restartPolicy": "Never",
    "terminationGracePeriodSeconds": 2,
    "volumes": [{"name": "tmp", "emptyDir": {}}],
}


def container(cluster: Cluster, *command: str, **more: Any) -> dict[str, Any]:
    """Our image under the restricted standard with a read-only root."""
    return {
        "name": "main",
        "image": cluster.image,
        "imagePullPolicy": "IfNotPresent",
        "command": list(command),
        "securityContext": {
            "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
        **more,
    }  # fmt: skip


def pod(name: str, main: dict[str, Any], labels: dict[str, str] | None = None) -> dict[str, Any]:
    spec = {**RESTRICTED, "containers": [main]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels or {}}, "spec": spec}


def test_the_node_is_ready_and_the_standard_is_enforced(cluster: Cluster, namespace: str) -> None:
    ready = [c for n in cluster.get("nodes") for c in n["status"]["conditions"] if c["type"] == "Ready"]
    assert [c["status"] for c in ready] == ["True"] * len(ready)
    assert ready
    careless = pod("careless", {"name": "main", "image": cluster.image})
    with pytest.raises(CommandFailed, match="violates PodSecurity"):
        cluster.apply(namespace, careless)


GANG = """
import os, torch.distributed as dist, torch
dist.init_process_group("gloo")
total = torch.tensor(float(dist.get_rank() + 1))
dist.all_reduce(total)
print("sum", total.item(), "of", dist.get_world_size())
dist.barrier()
dist.destroy_process_group()
"""

LAUNCH = """
import os, sys
index, job = os.environ["JOB_COMPLETION_INDEX"], os.environ["JOB"]
host = os.environ["HOSTNAME"] if index == "0" else f"{job}-0.{job}"
os.execlp("torchrun", "torchrun", "--nnodes=2", "--nproc-per-node=1", "--max-restarts=0", "--rdzv-backend=c10d",
          f"--rdzv-endpoint={host}:29400", f"--rdzv-conf=is_host={int(index == '0')}", "--no-python",
          "python", "-c", os.environ["GANG"])
"""


def test_two_pods_find_each_other_by_name_and_reduce(cluster: Cluster, namespace: str) -> None:
    environment = [{"name": "JOB", "value": "gang"}, {"name": "GANG", "value": GANG}]
    service = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "gang"},
        "spec": {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": {"job-name": "gang"}},
    }  # fmt: skip
    main = container(cluster, "python", "-c", LAUNCH, env=environment)
    template = {"spec": {**RESTRICTED, "subdomain": "gang", "containers": [main]}}
    job = {
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "gang"},
        "spec": {
            "completionMode": "Indexed", "completions": 2, "parallelism": 2, "backoffLimit": 0, "template": template,
        },
    }  # fmt: skip
    cluster.apply(namespace, service, job)
    cluster.wait("condition=Complete", "job/gang", namespace, 90)
    logs = cluster.kubectl("logs", "-n", namespace, "-l", "job-name=gang", "--tail=-1")
    assert logs.count("sum 3.0 of 2") == 2, logs


S3 = """
import os, socket, sys, urllib.parse
from captionless.store import objects
there = urllib.parse.urlsplit(os.environ["AWS_ENDPOINT_URL"])
try:
    socket.create_connection((there.hostname, there.port), timeout=5)
except OSError as error:
    print("S3 is away:", error)
objects.write_bytes(sys.argv[1], b"written by a pod")
print("read:", objects.read_bytes(sys.argv[1]).decode())
"""


def test_a_pod_waits_out_an_outage_of_s3_and_writes(cluster: Cluster, namespace: str) -> None:
    def logs() -> str:
        return cluster.kubectl("logs", "-n", namespace, "writer", check=False)

    with cluster.without_s3():
        main = container(cluster, "python", "-c", S3, cluster.url("pod.txt"), envFrom=[{"secretRef": {"name": "s3"}}])
        cluster.apply(namespace, pod("writer", main))
        cluster.wait_for("the pod `writer` to meet the outage of S3", lambda: "S3 is away" in logs(), state=logs)
    cluster.wait("jsonpath={.status.phase}=Succeeded", "pod/writer", namespace)
    assert "read: written by a pod" in logs()
    found = cluster.s3.get_object(Bucket=cluster.bucket, Key=f"{cluster.prefix}/pod.txt")
    assert found["Body"].read() == b"written by a pod"


METRICS = """
import signal, sys, threading, prometheus_client
prometheus_client.Gauge("captionless_test_cluster", "Proof of a scrape").set(42)
prometheus_client.start_http_server(9464)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
threading.Event().wait()
"""


def test_prometheus_scrapes_a_pod_and_an_evicted_one_is_a_disruption(cluster: Cluster, namespace: str) -> None:
    main = container(cluster, "python", "-c", METRICS, ports=[{"name": "metrics", "containerPort": 9464}])
    labels = {"app.kubernetes.io/name": "captionless", "app.kubernetes.io/component": "proof"}
    cluster.apply(namespace, pod("scraped", main, labels))
    expression = f'captionless_test_cluster{{namespace="{namespace}"}}'
    found = cluster.wait_for(f"Prometheus to have {expression}", lambda: cluster.query(expression))
    assert found[0]["value"][1] == "42"
    assert found[0]["metric"]["pod"] == "scraped"
    assert found[0]["metric"]["app_kubernetes_io_component"] == "proof"
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "scraped", "namespace": namespace}}
    path = f"/api/v1/namespaces/{namespace}/pods/scraped/eviction"
    cluster.kubectl("create", "--raw", path, "-f", "-", input=json.dumps(eviction))
    cluster.kubectl("wait", "--for=delete", "pod/scraped", "-n", namespace, f"--timeout={minutes(1)}")
    if cluster.audit_log is not None:
        verbs = {(e["verb"], e["objectRef"].get("subresource")) for e in cluster.audit("kubectl") if "objectRef" in e}
        assert ("create", "eviction") in verbs
