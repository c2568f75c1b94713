"""The linters' word on everything that the charts render to; an exception stands with its reason in the template."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.charts.values import CHARTS, MATRIX
from tests.cluster.cluster import Cluster

_CASES = [(chart, name) for chart, cases in MATRIX.items() for name in cases]
_KINDS = "{{ .ResourceKind }}{{ .KindSuffix }}.json"


@pytest.mark.parametrize(("chart", "name"), _CASES)
def test_helm_lint(cluster: Cluster, chart: str, name: str) -> None:
    values = yaml.safe_dump(MATRIX[chart][name])
    cluster.run("helm", "lint", "--strict", "--quiet", str(CHARTS / chart), "-f", "-", input=values)


@pytest.mark.parametrize("chart", MATRIX)
def test_helm_unittest(cluster: Cluster, chart: str) -> None:
    cluster.helm("unittest", "--strict", str(CHARTS / chart))


@pytest.fixture(scope="module")
def schemas(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Where kubeconform finds what is no kind of Kubernetes itself: the monitors', JobSet's and ours."""
    ours = tmp_path_factory.mktemp("schemas")
    program = CHARTS.parent / "hack" / "cluster" / "cluster"
    cluster.run("python3", program, "schemas", CHARTS.parent / "k8s" / "crd.yaml", ours)
    return [f"{ours}/{_KINDS}", f"{cluster.variables['CAPTIONLESS_TEST_CRD_SCHEMAS']}/{_KINDS}"]


@pytest.mark.parametrize("minor", ["1.33", "1.34"])
def test_kubeconform(cluster: Cluster, manifests: list[Path], schemas: list[str], minor: str) -> None:
    [release] = [f for f in cluster.variables["CAPTIONLESS_TEST_SCHEMAS"].split(":") if f"v{minor}." in f]
    where = [w for s in (f"{release}/{_KINDS}", *schemas) for w in ("-schema-location", s)]
    chosen = [str(m) for m in manifests if f"-{minor}-" in m.name]
    result = cluster.run("kubeconform", "-strict", "-summary", "-output", "json", *where, *chosen).stdout
    summary = json.loads(result)["summary"]
    assert summary["valid"] > 10 * len(chosen) / 2
    assert summary["invalid"] == summary["errors"] == summary["skipped"] == 0


def test_kubeconform_finds_a_misspelt_field(cluster: Cluster, schemas: list[str]) -> None:
    """So that a clean result means something."""
    wrong = {
        "data": {"source": {"kind": "parametric"}},
        "output": "s3://b/r",
        "train": {"optim": {"lr": 0}, "stpes": 1},
    }
    given = {"apiVersion": "captionless.dev/v1alpha1", "kind": "Alignment", "metadata": {"name": "r"}, "spec": wrong}
    where = [w for s in schemas for w in ("-schema-location", s)]
    result = cluster.run("kubeconform", "-strict", *where, "-", input=json.dumps(given), check=False).stdout
    assert "stpes" in result
    assert "exclusiveMinimum" in result or "must be > 0" in result


def test_kube_score(cluster: Cluster, manifests: list[Path]) -> None:
    for manifest in manifests:
        cluster.run("kube-score", "score", "--kubernetes-version", "v1.33", "--exit-one-on-warning", manifest)


def test_checkov(cluster: Cluster, manifests: list[Path]) -> None:
    files = [str(m) for m in manifests if "-1.34-" in m.name]
    result = cluster.run(
        "checkov", "--quiet", "--compact", "--skip-download", "--framework", "kubernetes", "-o", "json", "-f", *files
    )  # fmt: skip
    summary = json.loads(result.stdout)["summary"]
    assert summary["failed"] == summary["parsing_errors"] == 0
    assert summary["passed"] > 500


def test_yamllint(cluster: Cluster) -> None:
    rules = {"line-length": {"max": 125}, "document-start": "disable", "indentation": {"indent-sequences": "whatever"}}
    plain = [f for f in CHARTS.rglob("*.yaml") if "templates" not in f.parts]
    assert len(plain) >= 6
    cluster.run("yamllint", "--strict", "-d", json.dumps({"extends": "default", "rules": rules}), *plain)


def test_promtool(cluster: Cluster) -> None:
    cluster.run("promtool", "check", "rules", CHARTS / "captionless" / "files" / "rules.yaml")
    cluster.run("promtool", "test", "rules", Path(__file__).with_name("alerts.yaml"))
