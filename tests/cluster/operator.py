"""The operator under test, and the run on this machine that everything is compared with."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from tests import pace
from tests.cluster.alignments import SMALL, merged
from tests.cluster.cluster import Cluster, minutes

CHARTS = Path(__file__).parents[2] / "charts"


@dataclass
class Operator:
    """The installed chart `captionless`."""

    cluster: Cluster
    namespace: str
    release: str = "captionless"

    def install(self, *options: str, chart: Path = CHARTS / "captionless") -> None:
        """`helm install` (or upgrade) and wait until it is ready."""
        repository, _, tag = self.cluster.image.rpartition(":")
        values = {
            "image.repository": repository,
            "image.tag": tag,
            "crds.keep": "false",
            "pushgateway.url": self.cluster.pushgateway,
            "jobset.enabled": "true",
            "leaseSeconds": str(min(max(15, pace.scaled(15)), 60)),
        }
        settings = [f"--set={k}={v}" for k, v in values.items()]
        self.cluster.helm(
            "upgrade", "--install", self.release, str(chart), "-n", self.namespace,
            "--wait", "--timeout", minutes(2), *settings, *options,
        )  # fmt: skip

    def uninstall(self) -> None:
        self.cluster.helm(
            "uninstall", self.release, "-n", self.namespace, "--wait", "--timeout", minutes(2), "--ignore-not-found",
        )  # fmt: skip

    def pod(self) -> str:
        """The name of the controller's pod."""
        return self.cluster.wait_for("a pod of the controller", self._pods)[0]

    def _pods(self) -> list[str]:
        selector = "app.kubernetes.io/component=controller"
        found = self.cluster.get("pods", namespace=self.namespace, selector=selector)
        return [str(p["metadata"]["name"]) for p in found if "deletionTimestamp" not in p["metadata"]]

    def scale(self, replicas: int) -> None:
        """Sets the number of controllers, and waits until they are ready."""
        where = ("-n", self.namespace, f"deployment/{self.release}")
        self.cluster.kubectl("scale", *where, f"--replicas={replicas}")
        self.cluster.kubectl("rollout", "status", *where, f"--timeout={minutes(1.5)}")

    def restore(self) -> None:
        """One controller again, where a test that failed left none."""
        if self.cluster.get("deployments", self.release, self.namespace)["spec"]["replicas"] != 1:
            pace.report("restoring the controller, which an earlier test took away")
            self.scale(1)

    def kill(self) -> None:
        """SIGKILL, with no time to clean up."""
        self.cluster.kubectl(
            "delete", "pod", "-n", self.namespace, self.pod(), "--force", "--grace-period=0", "--wait=false"
        )

    @contextmanager
    def denied(self, resource: str) -> Iterator[None]:
        """The controller has no permission for a resource inside the block."""
        rules = self.cluster.get("clusterroles", self.release)["rules"]
        self._may([rule for rule in rules if resource not in rule["resources"]])
        try:
            yield
        finally:
            self._may(rules)

    def _may(self, rules: list[dict[str, Any]]) -> None:
        patch = json.dumps({"rules": rules})
        self.cluster.kubectl("patch", "clusterrole", self.release, "--type=merge", "-p", patch)

    def memory(self) -> float:
        """Resident bytes of the controller's process."""
        path = f"/api/v1/namespaces/{self.namespace}/pods/{self.pod()}:8081/proxy/metrics"
        found = re.search(r"^process_resident_memory_bytes (\S+)", self.cluster.read(path), re.M)
        assert found
        return float(found[1])


class Reference:
    """`captionless run` of the same description on this machine, with as many ranks and threads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        spec = folder / "spec.yaml"
        changes = {"name": "reference", "output": str(folder / "out"), "resources": {"workers": 1}}
        spec.write_text(yaml.safe_dump(merged(SMALL, changes)))
        command = [str(Path(sys.executable).parent / "captionless"), "run", str(spec), "--quiet"]
        # The pods' BLAS takes the processor's own kernels; one that this machine asks for may round otherwise.
        variables = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS_")}
        self.process = subprocess.Popen(
            command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    @cached_property
    def figures(self) -> dict[str, Any]:
        """The undisturbed run's figures; waits until it has ended."""
        printed, _ = pace.communicate(self.process, 600, "the run on this machine")
        assert self.process.returncode == 0, printed
        found: dict[str, Any] = json.loads((self.folder / "out" / "eval" / "results.json").read_text())["figures"]
        return found
