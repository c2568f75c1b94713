"""The values that the charts are rendered with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

CHARTS = Path(__file__).parents[2] / "charts"
_ON = {"enabled": True, "labels": {"release": "prometheus"}}

OPERATOR: dict[str, dict[str, Any]] = {
    "default": {},
    "two namespaces": {"watchNamespaces": ["lab", "shop"], "monitoring": {"podMonitor": _ON}},
    "everything": {
        "image": {"repository": "registry.local/captionless", "digest": f"sha256:{'0' * 64}", "pullPolicy": "Always"},
        "imagePullSecrets": ["registry"],
        "logLevel": "DEBUG",
        "pushgateway": {"url": "http://pushgateway.monitoring:9091"},
        "jobset": {"enabled": True},
        "allowPodPatches": True,
        "crds": {"keep": False},
        "serviceAccount": {"annotations": {"a": "b"}},
        "networkPolicy": {"apiServerPorts": [16443], "egress": [{"ports": [{"port": 8443}]}]},
        "monitoring": {
            "podMonitor": _ON,
            "serviceMonitor": _ON,
            "rules": {**_ON, "runbook": "https://docs.lab/runbook"},
            "dashboards": _ON,
        },
        "priorityClassName": "system-cluster-critical",
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "control", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "podLabels": {"team": "shapes"},
        "podAnnotations": {"note": "x"},
        "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
        "nameOverride": "",
        "fullnameOverride": "operator",
    },
    "nothing": {
        "crds": {"enabled": False},
        "rbac": {"create": False, "userRoles": False},
        "serviceAccount": {"create": False, "name": "given"},
    },
}

RUN: dict[str, dict[str, Any]] = {
    "the demo": {"output": "s3://bucket/demo"},
    "the demo with credentials": {"output": "s3://bucket/demo", "credentials": {"AWS_ACCESS_KEY_ID": "key-of-nobody"}},
    "own meshes by workload identity": {
        "nameOverride": "shapes",
        "output": "s3://bucket/shapes",
        "data": {"source": {"kind": "folder", "url": "s3://bucket/meshes"}},
        "landmarks": {"origin": "llm"},
        "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/shapes"}},
        "networkPolicy": {"egress": [{"ports": [{"port": 443}]}]},
    },
    "GPU nodes with taints": {
        "output": "s3://bucket/shapes",
        "data": {"source": {"kind": "folder", "url": "s3://bucket/meshes"}},
        "landmarks": {"origin": "llm"},
        "clip": {"device": "cuda"},
        "resources": {"device": "cuda"},
        "pods": {
            "gpu": {
                "nodeSelector": {"cloud.google.com/gke-accelerator": "nvidia-l4"},
                "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
            },
            "stages": [{"stage": "train", "priorityClass": "high"}, {"stage": "eval", "labels": {}}],
        },
    },
    "a sidecar, RDMA and claims of devices": {
        "output": "s3://bucket/shapes",
        "pods": {
            "patch": "spec: {template: {spec: {initContainers: [{name: proxy, image: envoy, restartPolicy: Always}]}}}",
            "stages": [
                {
                    "stage": "train",
                    "patch": "metadata: {annotations: {team: shapes}}\n"
                    "spec:\n  template:\n    spec:\n      runtimeClassName: nvidia\n"
                    "      resourceClaims: [{name: gpu, resourceClaimTemplateName: gpus}]\n"
                    "      containers:\n"
                    "      - name: worker\n"
                    "        resources: {limits: {rdma/hca: '1', hugepages-2Mi: 1Gi}, claims: [{name: gpu}]}\n"
                    "        securityContext: {capabilities: {add: [IPC_LOCK]}}\n",
                }
            ],
        },
    },
    "everything": {
        "output": "/data/run",
        "data": {"source": {"kind": "parametric"}, "points": 4096},
        "train": {
            "weights": ["avg", "i2i"],
            "seeds": [0, 1],
            "engine": "jobset",
            "optim": {"lr": 0.002, "minLr": 1e-7},
        },
        "resources": {"device": "cuda", "nodes": 4, "minNodes": 2, "processes": 8},
        "pods": {
            "image": "registry.local/captionless:1",
            "imagePullPolicy": "Always",
            "imagePullSecrets": ["registry"],
            "serviceAccount": "mine",
            "credentialsSecret": "storage",
            "nodeSelector": {"gpu": "h100"},
            "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
            "env": [{"name": "OPENAI_API_KEY", "secret": "llm", "key": "token"}],
            "volumes": [{"mountPath": "/data", "claim": "data", "readOnly": False}],
            "gpu": {"nodeSelector": {"gpu": "h100"}},
            "patch": "metadata: {labels: {team: shapes}}",
            "stages": [{"stage": "eval", "graceSeconds": 30}],
        },
        "queue": "team-a",
        "suspend": True,
        "ttlSecondsAfterFinished": 3600,
        "networkPolicy": {"enabled": False},
        "test": {"timeoutSeconds": 60},
    },
}

MATRIX = {"captionless": OPERATOR, "alignment": RUN}
