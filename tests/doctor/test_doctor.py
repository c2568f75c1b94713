"""`captionless doctor`: what works is tried, what fails is reported with a remedy, and no check takes it down."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from captionless.cli.app import app
from captionless.doctor import checkup, machine
from captionless.doctor.finding import Finding, Subject, Verdict
from captionless.errors import CaptionlessError, DataError, Retryable, SpecError
from captionless.mesh import Mesh, Up
from captionless.precompute import meshfile
from captionless.precompute.file_kinds import MESHES
from captionless.precompute.meshes.tetrahedra import tetrahedra
from captionless.store import ranged_reads
from tests import pace
from tests.client.api import Server, serving
from tests.store.faulty_s3 import FaultyS3, reached_by_environment

DEMO = Subject("captionless-demo")


def run_isolated(name: str, **fields: Any) -> Finding:
    return checkup.run_isolated(name, Subject(**{"model": "captionless-demo", **fields}), pace.seconds(60))


def run_here(name: str, **fields: Any) -> Finding:
    return checkup.run_here(name, Subject(**{"model": "captionless-demo", **fields}))


def doctor(*arguments: str) -> tuple[str, CaptionlessError | None]:
    """What it prints, and the error that it ends with."""
    result = CliRunner().invoke(app, ["doctor", *arguments])
    error = result.exception
    if error is not None and not isinstance(error, CaptionlessError):
        raise error
    return result.output, error


@pytest.mark.parametrize("name", ["packages", "processor", "formats", "rendering", "kernels", "clip"])
def test_what_the_stages_need_works_here(name: str) -> None:
    found = run_isolated(name)
    assert found.state is Verdict.ok, found
    assert found.found
    assert not found.remedy


def test_a_format_that_is_not_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = meshfile.load_mesh

    def load(url: str, up: Up | None = None) -> Mesh:
        if url.endswith(".off"):
            raise DataError("its reader is broken")
        return Mesh() if url.endswith(".stl") else whole(url, up)

    monkeypatch.setattr(meshfile, "load_mesh", load)
    found = run_here("formats")
    assert found.state is Verdict.failed
    assert found.found == "a tetrahedron is not read from off (its reader is broken); stl (0 of 4 faces)"
    assert "reinstall" in found.remedy
    assert set(tetrahedra()) == set(MESHES)


def test_a_storage_is_tried_and_left_as_it_was(tmp_path: Path) -> None:
    found = run_isolated("storage", storage=str(tmp_path / "new" / "run"))
    assert found.state is Verdict.ok
    assert str(tmp_path) in found.found
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


@pytest.fixture(scope="module")
def s3() -> Iterator[FaultyS3]:
    with reached_by_environment("here") as server:
        yield server


def test_object_storage_is_tried_and_left_as_it_was(s3: FaultyS3) -> None:
    assert run_isolated("storage", storage="s3://here/run").state is Verdict.ok
    assert "Contents" not in s3.client.list_objects_v2(Bucket="here")


def test_a_missing_bucket_is_reported_with_the_remedy(s3: FaultyS3) -> None:
    found = run_isolated("storage", storage="s3://elsewhere/run")
    assert found == Finding(
        Verdict.failed, "s3://elsewhere/run: the bucket 'elsewhere' does not exist", "create it or correct the URL"
    )


def test_a_storage_that_does_not_answer_may_pass(s3: FaultyS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(checkup, "_PATIENCE", "1")
    found = run_isolated("storage", storage="s3://here/run")
    assert (found.state, found.passing) == (Verdict.failed, True)


def test_what_is_not_used_is_no_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    for name in ("storage", "pushgateway", "cluster"):
        assert run_isolated(name).state is Verdict.absent, name


def test_a_gpu_that_is_asked_for_and_not_there_is_a_failure() -> None:
    found = run_here("gpu", device="cuda")
    assert found.state is Verdict.failed
    assert "resources.device" in found.remedy
    assert run_here("gpu").state is Verdict.absent


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    with serving(tmp_path) as found:
        yield found


def test_a_cluster_is_asked_and_nothing_is_made(server: Server) -> None:
    assert run_here("cluster").state is Verdict.ok
    assert not server.objects["alignments"]
    assert [path for path, _ in server.sent("POST")]


def test_a_cluster_without_the_operator_is_reported_with_how_to_install_it(server: Server) -> None:
    server.installed = False
    found = run_here("cluster")
    assert found.state is Verdict.warning
    assert "helm install captionless" in found.remedy


def test_missing_permissions_are_reported(server: Server) -> None:
    server.refusals["POST", "alignments"] = (
        403,
        {
            "kind": "Status",
            "message": 'alignments.captionless.dev is forbidden: User "ann" cannot create resource "alignments" in '
            'API group "captionless.dev" in the namespace "lab"',
        },
    )
    found = run_here("cluster")
    assert found.state is Verdict.failed
    assert "ann may not create alignments" in found.found
    assert "ask for a role" in found.remedy


def test_a_pushgateway_that_does_not_answer_may_pass() -> None:
    found = run_here("pushgateway", pushgateway="http://user:secret@127.0.0.1:9")
    assert (found.state, found.passing) == (Verdict.failed, True)
    assert "secret" not in found.found
    assert run_here("pushgateway", pushgateway="gateway:9091").state is Verdict.failed


def test_a_wrong_model_is_reported_with_the_nearest_name() -> None:
    found = run_here("clip", model="ViT-B-23", pretrained="openai")
    assert found.state is Verdict.failed
    assert 'did you mean "ViT-B-32"' in f"{found.found}; {found.remedy}"


@pytest.mark.parametrize(
    ("does", "seconds", "named"),
    [
        ("kill -SEGV $$", 60, "11"),
        ("echo 'no such driver' >&2; exit 3", 60, "no such driver"),
        ("sleep 600", 1, "1 s"),
    ],
    ids=["crash", "error", "hang"],
)
def test_a_check_that_crashes_or_hangs_is_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str, seconds: float, named: str
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{does}\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    found = checkup.run_isolated("rendering", DEMO, seconds)
    assert found.state is Verdict.failed
    assert named in found.found


def test_a_package_that_is_missing_or_too_old_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = machine.importlib.metadata.version

    def version(name: str) -> str:
        if name == "webdataset":
            raise machine.importlib.metadata.PackageNotFoundError(name)
        return "0.1" if name == "plotly" else real(name)

    monkeypatch.setattr(machine.importlib.metadata, "version", version)
    found = run_here("packages")
    assert found.state is Verdict.failed
    assert found.found == "plotly 0.1, webdataset is missing"
    assert found.remedy.startswith("pip install 'plotly>=6.0' 'webdataset>=")


def test_a_container_with_less_than_the_machine_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    (tmp_path / "memory.max").write_text(f"{2 << 30}\n")
    (tmp_path / "memory.current").write_text(f"{1 << 30}\n")
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    assert "0.5" in run_here("processor").found
    assert run_here("memory") == Finding(
        Verdict.warning, "1.0 GiB free", "close other programs; lower resources.workers and train.batchSize"
    )


def test_the_command_tells_line_by_line_and_ends_by_what_it_found(tmp_path: Path) -> None:
    out, error = doctor("--storage", str(tmp_path), "--only", "storage", "--only", "packages")
    assert error is None
    assert [line.split()[:2] for line in out.splitlines()] == [["ok", "packages"], ["ok", "storage"]]
    (tmp_path / "file").write_text("")
    out, error = doctor("--storage", str(tmp_path / "file"), "--only", "storage", "--json")
    assert json.loads(out)["storage"]["state"] == "failed"
    assert isinstance(error, SpecError)
    assert str(error) == "doctor: 1 of 1 checks failed: storage"


def test_what_may_pass_ends_with_another_code(tmp_path: Path) -> None:
    spec = tmp_path / "run.yaml"
    spec.write_text(
        f"{{name: r, output: {tmp_path}, data: {{source: {{kind: parametric}}}}, clip: {{model: captionless-demo}}, "
        "eval: {pushgateway: 'http://127.0.0.1:9'}}"
    )
    out, error = doctor(str(spec), "--only", "pushgateway", "--only", "disk")
    assert isinstance(error, Retryable)
    assert str(tmp_path) in out or "GiB free" in out


def test_an_unknown_check_is_a_usage_error() -> None:
    assert CliRunner().invoke(app, ["doctor", "--only", "gpus"]).exit_code == 2


def test_nothing_is_left_of_a_try_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranged_reads, "read_ranges", lambda url, spans: [b"", b""])
    found = run_here("storage", storage=str(tmp_path))
    assert found.state is Verdict.failed
    assert not list(tmp_path.iterdir())
