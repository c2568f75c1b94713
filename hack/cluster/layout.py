"""Where everything of the test cluster is: addresses, folders, versions.

Nothing listens beyond this machine: the node's address is one of the loopback device, pods live on a
bridge behind it.
"""

from __future__ import annotations

import os
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]

# What is not pinned by a go.mod, a requirements file or Debian's release.
KUBERNETES = "v1.34.4"
JOBSET = "v0.12.0"
HELM_UNITTEST = "v1.1.2"
PROMETHEUS_OPERATOR = "v0.85.0"
SCHEMA_VERSIONS = ("v1.33.13", "v1.34.4")

NODE_NAME = "captionless-node"
NODE_IP = "10.88.0.1"
POD_CIDR = "10.88.1.0/24"
POD_GATEWAY = "10.88.1.1"
SERVICE_CIDR = "10.88.128.0/20"
SERVICE_KUBERNETES = "10.88.128.1"
SERVICE_DNS = "10.88.128.10"
BRIDGE = "captionless0"
CGROUP = "captionless-cluster"

API_SERVER = f"https://{NODE_IP}:6443"
ETCD = "http://127.0.0.1:12379"
S3 = f"http://{NODE_IP}:7070"
S3_BACKEND = "127.0.0.1:17070"
S3_IN_CLUSTER = "http://s3.storage:7070"
S3_ACCESS_KEY = "captionless-test-key"
S3_SECRET_KEY = "captionless-test-secret"  # of this machine's own test server
S3_DENIED_KEY = "stranger"  # a user who exists and may do nothing
S3_DENIED_SECRET = "stranger-test-secret"
S3_REGION = "us-east-1"
S3_BUCKET = "captionless"
TOXIPROXY = "127.0.0.1:18474"
PROMETHEUS = f"http://{NODE_IP}:9090"
PUSHGATEWAY = f"http://{NODE_IP}:9091"

IMAGE = "localhost/captionless:dev"

CACHE = Path(os.environ.get("CAPTIONLESS_CLUSTER_CACHE") or Path.home() / ".cache/captionless/cluster").resolve()
# Containers' root is kept with the cache, so that images outlive `down`.
CONTAINERD_ROOT = CACHE / "containerd"
BUILDAH = CACHE / "buildah"
# Where /run is memory, as systemd has it, a folder on disk is the better place.
RUN = Path(os.environ.get("CAPTIONLESS_CLUSTER_RUN") or "/run/captionless-cluster")
BIN = RUN / "bin"
CERTS = RUN / "pki"
CONFIG = RUN / "config"
LOGS = RUN / "logs"
STEP_LOGS = CACHE / "logs"
KUBECONFIG = RUN / "admin.kubeconfig"
AUDIT_LOG = LOGS / "audit.log"
CONTAINERD_SOCKET = RUN / "containerd/containerd.sock"
RULES = RUN / "prometheus-rules"
S3_DATA = RUN / "s3"
