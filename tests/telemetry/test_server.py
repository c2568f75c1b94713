"""The metrics of a running stage, scraped over HTTP."""

from __future__ import annotations

import math
import socket
import time
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from captionless.errors import SpecError
from captionless.runtime import env
from captionless.store import objects, ranged_reads
from captionless.telemetry import catalog, registry, server
from captionless.telemetry.progress import Progress
from tests import pace


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def scrape(port: int) -> dict[str, tuple[dict[str, str], float]]:
    """Labels and value of each metric that a process serves."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=pace.seconds(10)) as answer:
        text = answer.read().decode()
    return {s.name: (s.labels, s.value) for f in text_string_to_metric_families(text) for s in f.samples}


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> int:
    found = _free_port()
    monkeypatch.setenv(env.METRICS_PORT, str(found))
    monkeypatch.setenv(env.PROGRESS, str(tmp_path / "progress.json"))
    registry.reset()
    return found


def test_a_stage_exports_its_progress(port: int) -> None:
    server.serve("embed")
    assert scrape(port) == {}
    before = time.time()
    with Progress("embed", total=10, unit="object", done=4) as progress:
        begun = scrape(port)["captionless_stage_last_advance_timestamp_seconds"][1]
        assert before <= begun <= time.time()
        progress.advance(3)
    found = scrape(port)
    labels = {"stage": "embed", "unit": "object"}
    assert found["captionless_stage_units"] == (labels, 10)
    assert found["captionless_stage_units_done"] == (labels, 7)
    assert found["captionless_stage_units_per_second"][1] > 0
    assert begun < found["captionless_stage_last_advance_timestamp_seconds"][1] <= time.time()
    assert not any(name.startswith("captionless_train") for name in found)


def test_a_stage_exports_what_it_measured(port: int) -> None:
    server.serve("train-avg-seed0")
    with Progress("train avg seed 0", total=10, unit="step") as progress:
        assert scrape(port)["captionless_stage_read_bytes_total"] == ({"stage": "train-avg-seed0"}, 0)
        registry.set_value(catalog.TRAIN_LOSS, 1.5)
        registry.set_value(catalog.TRAIN_LOSS, float("nan"))
        registry.add(catalog.TRAIN_STEPS)
        registry.add(catalog.TRAIN_STEPS)
        registry.set_value(catalog.STAGE_SKIPPED_OBJECTS, 3, cause="damaged")
        progress.advance(2, loss=1.5, device="cpu")
    found = scrape(port)
    stage = {"stage": "train-avg-seed0"}
    assert found["captionless_stage_units_done"] == (stage | {"unit": "step"}, 2)
    assert found["captionless_train_steps_total"] == (stage, 2)
    assert found["captionless_stage_skipped_objects_total"] == (stage | {"cause": "damaged"}, 3)
    labels, loss = found["captionless_train_loss"]
    assert labels == stage
    assert math.isnan(loss)


def test_what_is_read_is_counted(port: int, tmp_path: Path) -> None:
    url = str(tmp_path / "object")
    objects.write_bytes(url, bytes(1000))
    server.serve("embed")
    with Progress("embed", total=1):
        objects.read_bytes(url)
        objects.read_bytes(url, 10, 30)
        ranged_reads.read_ranges(url, [(0, 5), (990, 2000)])
        ranged_reads.read_into(url, [(0, [memoryview(bytearray(7))])])
    assert scrape(port)["captionless_stage_read_bytes_total"][1] == 1000 + 20 + 5 + 10 + 7


def test_labels_are_the_declared_ones() -> None:
    with pytest.raises(ValueError, match=r"captionless_stage_skipped_objects_total: .*\('cause',\)"):
        registry.add(catalog.STAGE_SKIPPED_OBJECTS, key="an-object")


def test_without_a_progress_file_one_is_created(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(env.PROGRESS)
    server.serve("pack")
    with Progress("pack", total=1) as progress:
        progress.advance()
    assert scrape(port)["captionless_stage_units_done"][1] == 1


def test_a_taken_port_is_a_warning(port: int, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as other:
        other.bind(("0.0.0.0", port))
        other.listen()
        server.serve("pack")
    assert f"port {port}: Address already in use" in capsys.readouterr().err


def test_an_invalid_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(env.METRICS_PORT, "metrics")
    with pytest.raises(SpecError, match=f"{env.METRICS_PORT}: .*'metrics'"):
        server.serve("pack")
    monkeypatch.delenv(env.METRICS_PORT)
    server.serve("pack")
