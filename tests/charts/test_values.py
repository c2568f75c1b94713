"""Values: what a run's become, and what is refused before anything is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from captionless.kube.jobs import Operator
from captionless.kube.render import manifests as rendered
from captionless.spec import load
from tests.charts.conftest import Render
from tests.charts.values import CHARTS, RUN
from tests.cluster.cluster import Cluster

_REFUSED = {
    "no output": ("alignment", {}, "output"),
    "an empty output": ("alignment", {"output": ""}, "/output"),
    "a misspelt section": ("alignment", {"output": "s3://b/r", "trian": {}}, "trian"),
    "a misspelt field": ("alignment", {"output": "s3://b/r", "train": {"stpes": 5}}, "stpes"),
    "a misspelt field in a list": ("alignment", {"output": "s3://b/r", "pods": {"env": [{"nmae": "A"}]}}, "nmae"),
    "an unknown choice": ("alignment", {"output": "s3://b/r", "clip": {"device": "tpu"}}, "/clip/device"),
    "a number out of bounds": ("alignment", {"output": "s3://b/r", "train": {"batchSize": 1}}, "/train/batchSize"),
    "text for a number": ("alignment", {"output": "s3://b/r", "train": {"steps": "many"}}, "/train/steps"),
    "a bound that is excluded": ("alignment", {"output": "s3://b/r", "train": {"optim": {"lr": 0}}}, "/train/optim/lr"),
    "the name, which is the release's": ("alignment", {"output": "s3://b/r", "name": "x"}, "name"),
    "a quantity that is none": ("alignment", {"output": "s3://b/r", "resources": {"memory": "lots"}}, "memory"),
    "a misspelt value of the operator": ("captionless", {"watchNamespace": ["a"]}, "watchNamespace"),
    "a misspelt value below it": ("captionless", {"crds": {"kept": False}}, "kept"),
    "a digest that is none": ("captionless", {"image": {"digest": "latest"}}, "/image/digest"),
    "a policy that is none": ("captionless", {"image": {"pullPolicy": "Sometimes"}}, "/image/pullPolicy"),
    "a gateway without a scheme": ("captionless", {"pushgateway": {"url": "push:9091"}}, "/pushgateway/url"),
}


@pytest.mark.parametrize(("chart", "values", "named"), _REFUSED.values(), ids=_REFUSED)
def test_refused_by_name(cluster: Cluster, chart: str, values: dict[str, Any], named: str) -> None:
    command = ("helm", "template", "r", str(CHARTS / chart), "--kube-version", "1.34", "-f", "-")
    done = cluster.run(*command, input=yaml.safe_dump(values), check=False)
    assert done.returncode
    assert "values don't meet the specifications of the schema" in done.stderr
    assert named in done.stderr


@pytest.mark.parametrize("values", RUN.values(), ids=RUN)
def test_a_run_is_one_that_the_controller_takes(render: Render, values: dict[str, Any]) -> None:
    [alignment] = [o for o in render("alignment", values) if o["kind"] == "Alignment"]
    rendered(load.build_spec(alignment), Operator("image"))


def test_the_demo_is_the_example(render: Render) -> None:
    [alignment] = [o for o in render("alignment", {"output": "s3://b/r"}) if o["kind"] == "Alignment"]
    example = yaml.safe_load((CHARTS.parent / "examples" / "kubernetes.yaml").read_text())
    kept = {k: v for k, v in example.items() if k not in ("name", "output", "pods")}
    assert {k: v for k, v in alignment["spec"].items() if k not in ("output", "pods")} == kept


def test_credentials_are_in_the_secret_only(render: Render) -> None:
    objects = render("alignment", {"output": "s3://b/r", "credentials": {"AWS_SECRET_ACCESS_KEY": "hush-hush"}})
    assert [o["kind"] for o in objects if "hush-hush" in yaml.safe_dump(o)] == ["Secret"]


def test_charts_and_package_have_one_version() -> None:
    """The default image is that of the chart's appVersion."""
    from captionless import __version__

    for chart in ("captionless", "alignment"):
        assert yaml.safe_load((CHARTS / chart / "Chart.yaml").read_text())["appVersion"] == __version__


def test_packages_hold_what_they_need_and_no_tests(cluster: Cluster, tmp_path: Path) -> None:
    for chart in ("captionless", "alignment"):
        cluster.helm("package", str(CHARTS / chart), "-d", str(tmp_path))
        listed = cluster.run("tar", "-tzf", next(tmp_path.glob(f"{chart}-*.tgz"))).stdout.split()
        assert f"{chart}/values.schema.json" in listed
        assert f"{chart}/files/test.py" in listed
        assert not [f for f in listed if f.startswith(f"{chart}/tests/")]
