"""`captionless render` as it is typed."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from captionless.cli.app import app
from captionless.errors import CaptionlessError, SpecError

SPEC = "{name: r, output: s3://b/r, data: {source: {kind: parametric}}, clip: {model: captionless-demo}}"


@pytest.fixture
def spec(tmp_path: Path) -> str:
    path = tmp_path / "r.yaml"
    path.write_text(SPEC)
    return str(path)


def render(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["render", *arguments])
    if result.exception is not None:
        raise result.exception
    return result.output


def test_the_stages_are_printed_as_kubectl_takes_them(spec: str) -> None:
    found = list(yaml.safe_load_all(render(spec, "--stage", "train", "-n", "lab", "--image", "repo/img:1")))
    assert [f["kind"] for f in found] == ["ConfigMap", "Service", "Job"]
    assert {f["metadata"]["namespace"] for f in found} == {"lab"}
    container = found[-1]["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "repo/img:1"
    assert container["args"][-2:] == ["--wait-inputs", "30m"]


def test_all_stages_are_printed_without_a_choice(spec: str) -> None:
    found = list(yaml.safe_load_all(render(spec, "--wait-inputs", "5m")))
    jobs = [f["metadata"]["name"] for f in found if f["kind"] == "Job"]
    assert jobs == [
        f"r-{s}-1"
        for s in ("list", "pack", "embed", "landmarks", "similarity-i2i", "similarity-i2l", "train-avg-seed0", "eval")
    ]
    assert "namespace" not in found[0]["metadata"]


def test_a_folder_gets_a_kustomization_for_each_part_that_is_asked_for(spec: str, tmp_path: Path) -> None:
    printed = render(spec, "--out", str(tmp_path / "k8s"), "--stage", "eval", "--stage", "pack", "-n", "lab")
    assert printed.splitlines() == [f"kubectl apply -k {tmp_path}/k8s/{f}" for f in ("precompute", "eval")]
    files = sorted(str(p.relative_to(tmp_path / "k8s")) for p in (tmp_path / "k8s").rglob("*.yaml"))
    assert files == [f"{f}/{n}.yaml" for f, n in (
        ("eval", "eval"), ("eval", "kustomization"), ("precompute", "kustomization"), ("precompute", "pack")
    )]  # fmt: skip
    assert "namespace: lab" in (tmp_path / "k8s/eval/eval.yaml").read_text()


def test_outputs_that_pods_cannot_share_end_with_64(spec: str) -> None:
    with pytest.raises(SpecError, match="output: runs/r") as caught:
        render(spec, "--set", "output=runs/r")
    assert caught.value.exit_code == 64


def test_a_time_that_no_stage_would_take_is_refused(spec: str) -> None:
    done = CliRunner().invoke(app, ["render", spec, "--wait-inputs", "soon"])
    assert done.exit_code == 2
    assert "'soon'" in done.output


def test_a_folder_that_cannot_be_written_is_reported(spec: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CaptionlessError, match=r"--out .*/file") as caught:
        render(spec, "--out", str(tmp_path / "file"))
    assert caught.value.exit_code == 1
