"""What the charts render to, for the tests of this folder; they use the programs that come with the test cluster."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.charts.values import CHARTS, MATRIX
from tests.cluster import cluster as clusters
from tests.cluster.cluster import Cluster

Render = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    return clusters.find()


@pytest.fixture(scope="session")
def render(cluster: Cluster) -> Render:
    """`helm template`: the objects of a chart, as release `r` in namespace `lab`, with values laid over its own."""

    def rendered(chart: str, values: dict[str, Any], version: str = "1.34") -> list[dict[str, Any]]:
        result = cluster.run(
            "helm", "template", "r", str(CHARTS / chart), "-n", "lab", "--kube-version", version, "-f", "-",
            input=yaml.safe_dump(values),
        )  # fmt: skip
        return [d for d in yaml.safe_load_all(result.stdout) if d]

    return rendered


@pytest.fixture(scope="session")
def manifests(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Every combination of chart and values of `values`, a file each."""
    folder = tmp_path_factory.mktemp("charts")
    files = []
    for (chart, cases), version in itertools.product(MATRIX.items(), ("1.33", "1.34")):
        for name, values in cases.items():
            command = ("helm", "template", "r", str(CHARTS / chart), "-n", "lab", "--kube-version", version, "-f", "-")
            path = folder / f"{chart}-{version}-{name.replace(' ', '-')}.yaml"
            path.write_text(cluster.run(*command, input=yaml.safe_dump(values)).stdout)
            files.append(path)
    return files
