"""Figures in a real Pushgateway, as Prometheus would find them there."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from captionless.errors import Retryable, SpecError
from captionless.eval import measurement, publish, results
from captionless.eval.protocol import TestSplit
from captionless.runtime.retry import Backoff
from tests import pace
from tests.eval.evaluated import build
from tests.eval.gateway import StandIn, serving

CLASSES = ("chair", "mug")
GROUP = {"job": "captionless", "alignment": "mine", "namespace": "lab", "instance": ""}


def found(seeds: tuple[int, ...] = (0, 1), url: str = "") -> dict[str, Any]:
    """Results of two losses on a dozen objects."""
    rng = np.random.default_rng(0)
    labels = np.arange(12) % 2
    views = rng.normal(size=(12, 3, 8)).astype(np.float32)
    test = TestSplit([f"o{i}" for i in range(12)], CLASSES, labels, views, rng.normal(size=(2, 8)))
    runs = [
        results.EvaluatedRun(mode, seed, *measurement.evaluate_run(views.mean(axis=1) + rng.normal(size=(12, 8)), test))
        for mode in ("uniform", "avg")
        for seed in seeds
    ]
    dataset = {"kind": "manifest", "url": url} if url else {"kind": "parametric", "seed": 0}
    return build(test, runs, {"dataset": dataset, "prompt": {"name": "paper"}})


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    with serving() as server:
        yield server


@pytest.fixture
def gateway(stand_in: StandIn) -> Iterator[str]:
    """A real Pushgateway where Debian's prometheus-pushgateway is installed, as beside the cluster tests."""
    program = shutil.which("prometheus-pushgateway")
    if program is None:
        yield stand_in.url
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    process = subprocess.Popen(
        [program, f"--web.listen-address={address}", "--persistence.file="], stderr=subprocess.DEVNULL
    )
    try:

        def ready() -> bool:
            assert process.poll() is None
            return _is_ready(f"http://{address}/-/ready")

        pace.wait_for("the Pushgateway to be ready", ready, 60)
        yield f"http://{address}"
    finally:
        process.kill()
        process.wait()


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False


def scrape(gateway: str) -> list[Sample]:
    with urllib.request.urlopen(f"{gateway}/metrics", timeout=pace.seconds(10)) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    return [s for family in families for s in family.samples if s.name.startswith("captionless_eval_")]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish, "_BACKOFF", Backoff(0.01, 0.01, attempts=3))


def test_every_figure_of_every_run_arrives_as_a_share(gateway: str) -> None:
    document = found()
    publish.publish(gateway, "mine", "lab", document)
    samples = scrape(gateway)
    top1 = {s.labels["run"]: s for s in samples if s.name == "captionless_eval_zero_shot_top1_ratio"}
    assert set(top1) == {"uniform-seed0", "uniform-seed1", "avg-seed0", "avg-seed1"}
    tree = document["figures"]["runs"]["avg"]["1"]
    assert top1["avg-seed1"].value == tree["zero_shot"]["top1"]
    assert top1["avg-seed1"].labels == GROUP | {
        "run": "avg-seed1", "weights": "avg", "seed": "1", "dataset": "parametric", "prompt": "paper", "views": "one",
    }  # fmt: skip
    [recall] = [
        s.value
        for s in samples
        if s.name == "captionless_eval_gallery_image_to_shape_recall_at_1_ratio" and s.labels["run"] == "avg-seed1"
    ]
    assert recall == tree["gallery"]["image_to_shape"]["recall@1"]
    assert {s.value for s in samples if s.name == "captionless_eval_objects"} == {12}
    [last] = [s for s in samples if s.name == "captionless_eval_last_success_timestamp_seconds"]
    assert last.labels == GROUP
    assert abs(last.value - time.time()) < 600
    assert all(0 <= s.value <= 1 for s in samples if s.name.endswith("_ratio"))


def test_a_push_replaces_the_runs_of_before_and_no_other_group(gateway: str) -> None:
    publish.publish(gateway, "mine", "", found())
    publish.publish(gateway, "mine", "lab", found())
    publish.publish(gateway, "mine", "lab", found(seeds=(0,)))
    runs = {
        (s.labels.get("namespace", ""), s.labels["run"])
        for s in scrape(gateway)
        if s.name == "captionless_eval_zero_shot_top1_ratio"
    }
    names = ("uniform-seed0", "avg-seed0", "uniform-seed1", "avg-seed1")
    assert runs == {("lab", n) for n in names[:2]} | {("", n) for n in names}


def test_a_password_in_a_dataset_s_url_stays_at_home(gateway: str) -> None:
    publish.publish(gateway, "mine", "lab", found(url="https://me:hush-hush@host/list.jsonl"))
    datasets = {
        s.labels["dataset"] for s in scrape(gateway) if s.labels.get("namespace") == "lab" and "seed" in s.labels
    }
    assert datasets == {"https://***@host/list.jsonl"}


def test_a_failing_gateway_is_retried_and_then_reported(stand_in: StandIn) -> None:
    url = stand_in.url
    stand_in.answers = [503, 500]
    publish.publish(url, "mine", "lab", found())
    assert len(stand_in.seen) == 3
    stand_in.answers = [503] * 9
    with pytest.raises(Retryable, match=r"503.*results\.json"):
        publish.publish(url, "mine", "lab", found())
    assert len(stand_in.seen) == 6
    with pytest.raises(Retryable, match=r"127\.0\.0\.1:9.*results\.json"):
        publish.publish("http://127.0.0.1:9", "mine", "lab", found())


def test_user_and_password_of_the_url_become_a_header(stand_in: StandIn) -> None:
    publish.publish(f"http://me:s%40me@127.0.0.1:{stand_in.server_port}/push", "mine", "lab", found())
    assert stand_in.seen == ["/push/metrics/job/captionless/alignment/mine/namespace/lab Basic bWU6c0BtZQ=="]


@pytest.mark.parametrize("url", ["push:9091", "ftp://host", "http://", "http://host:port", "http://[::1"])
def test_an_invalid_url_is_reported_by_its_field(url: str) -> None:
    with pytest.raises(SpecError, match=r"eval\.pushgateway: .*http://HOST:PORT"):
        publish.publish(url, "mine", "lab", found())
