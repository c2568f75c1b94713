"""Alerts and dashboards on real runs: each alert is raised by a fault that was staged, and clears when it is mended;
each panel has data.

Three runs are begun together: one trains with a learning rate by which the loss becomes NaN, one with a damaged object
in its data, and of one the image does not exist. What an evaluation pushed for the second one is replaced by worse
figures, and meanwhile a rank of it is killed again and again. Then one is stopped, the controller taken away, and
denied to write what it finds.
Batches of the second one are made of hard negatives, some of them masked, so that there is such a figure to draw.
The rules are the chart's with all times shortened (`monitoring.quicker`).
"""

from __future__ import annotations

import copy as copying
import json
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

import pytest

from captionless.eval.publish import publish
from captionless.store import objects
from captionless.store.embeddings import open_embeddings
from captionless.store.shards import ShardReader
from captionless.trainer.data.splits import held_out
from tests import pace
from tests.charts.test_alerts import ALERTS
from tests.cluster.alignments import SMALL, Alignment, merged
from tests.cluster.cluster import Cluster
from tests.cluster.monitoring import QUICKER, alerting, fires, has_data, panels
from tests.cluster.operator import Operator
from tests.cluster.test_disruptions import EVERY, copy, in_the_middle, resumes, stop_a_rank

TRAINING = "train-uniform-seed0"
SHARE = 0.25
HELD = 2 * 900 / QUICKER
"""Seconds that an evaluation is the last one: what compares it with the next looks every quarter of an hour."""
RAISED = 60.0  # seconds that a shortened alert has, and its clearing: scrape, evaluation and a busy machine

COMMON: dict[str, Any] = {"train": {"weights": ["uniform"]}, "resources": {"workers": 1}}
RUNS: dict[str, dict[str, Any]] = {
    "diverges": {"train": {"optim": {"lr": 1e30, "warmup": 0}}, "resources": {"nodes": 1}},
    "damaged": {
        "train": {
            "steps": 100_000, "maxSkipped": 1, "collectiveTimeout": 300,
            "validation": {"share": SHARE, "every": 20},
            "batches": {"kind": "neighbours", "group": 4, "candidates": 8, "falseNegatives": 0.1},
        },
    },
    "no-image": {"pods": {"image": "localhost/no-such-image:1"}},
}  # fmt: skip
PACKS: dict[str, Any] = {"data": {"source": {"objects": 5000}}, "resources": {"workers": 1}}
"""Packs for as long as its figures are waited for: those of the other runs may be gone before they are scraped."""


@dataclass
class Staged:
    """The runs by name, the finished one with its results, and the alerts that were raised by what was done so far."""

    cluster: Cluster
    runs: dict[str, Alignment]
    finished: Alignment
    results: dict[str, Any]
    seen: set[str] = field(default_factory=set)

    def raised(self, alert: str, **labels: str) -> None:
        fire = partial(fires, self.cluster, alert, **labels)
        self.cluster.wait_for(f"{alert} {labels} to be raised", fire, RAISED, state=self.alerts)
        self.seen.add(alert)

    def cleared(self, alert: str, **labels: str) -> None:
        fire = partial(fires, self.cluster, alert, **labels)
        self.cluster.wait_for(f"{alert} {labels} to clear", lambda: not fire(), RAISED, state=self.alerts)

    def alerts(self) -> list[dict[str, str]]:
        """The labels of all alerts that are pending or firing."""
        return [found["metric"] for found in self.cluster.query("ALERTS")]


@pytest.fixture(scope="module")
def staged(cluster: Cluster, operator: Operator, helm_run: Alignment, precomputed: str) -> Iterator[Staged]:
    """The rules are Prometheus', the runs have begun, and `damaged` was evaluated twice and lost three ranks."""
    body = cluster.s3.get_object(Bucket=cluster.bucket, Key=f"{cluster.prefix}/{precomputed}/eval/results.json")["Body"]
    results = json.loads(body.read())
    worse = copying.deepcopy(results)
    worse["figures"]["runs"]["avg"]["0"]["zero_shot"]["top1"] -= 0.25
    with cluster.namespace("watched") as namespace, alerting(cluster):
        for name in ("diverges", "damaged"):
            copy(cluster, precomputed, name, stages=("list", "pack", "embed"))
        runs = {
            name: Alignment.apply(
                cluster, namespace, name, merged(merged(merged(SMALL, {"output": cluster.url(name)}), COMMON), changes),
                TRAINING,
            )
            for name, changes in RUNS.items()
        }  # fmt: skip
        run = runs["damaged"]
        run.wait_stage("embed", "Succeeded")  # which would find the damage and end; training begins now
        damage(cluster, "damaged")
        found = Staged(cluster, runs, helm_run, results)
        for document in (results, worse):
            publish(cluster.pushgateway, "damaged", namespace, document)
            top1 = document["figures"]["runs"]["avg"]["0"]["zero_shot"]["top1"]
            series = f'captionless_eval_zero_shot_top1_ratio{{namespace="{namespace}"}} == {top1}'
            cluster.wait_for(f"Prometheus to have {series}", partial(cluster.query, series), RAISED)
            held = time.monotonic() + HELD * pace.now()
            lose_a_rank(run)
            time.sleep(max(0.0, held - time.monotonic()))
        lose_a_rank(run)
        found.raised("CaptionlessTrainingRestarts", namespace=namespace)
        yield found


def lose_a_rank(run: Alignment) -> None:
    """Kills a rank of a training, which then gets two checkpoints further: three rounds without a newer one end it."""
    before = in_the_middle(run, 1)
    stop_a_rank(run, run.running(TRAINING, 1), "SIGKILL")
    resumes(run, before, "a rank killed", RAISED)
    run.wait_step(before.step + 2 * EVERY)


def damage(cluster: Cluster, folder: str) -> None:
    """Flips a bit of the first object that trains, in the embeddings of a run."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in cluster.variables.items():
            if name.startswith("AWS_"):
                environment.setenv(name, value)
        data = open_embeddings(cluster.url(folder, "embed"), "train")
        trains = (~held_out(data.keys, data.categories, SHARE)).nonzero()[0][0]
        found = data.objects[trains]
        offset, size = ShardReader(objects.join(data.url, found.shard)).index[found.key]["points.npy"]
    key = f"{cluster.prefix}/{folder}/embed/{found.shard}"
    body = bytearray(cluster.s3.get_object(Bucket=cluster.bucket, Key=key)["Body"].read())
    body[offset + size - 1] ^= 1
    cluster.s3.put_object(Bucket=cluster.bucket, Key=key, Body=bytes(body))


def test_every_panel_has_data(cluster: Cluster, staged: Staged) -> None:
    staged.runs["damaged"].wait_step(2 * 20)  # validated and stored, twice
    since = datetime.fromisoformat(staged.finished.status["startTime"]).timestamp()  # what ran before is no proof
    missing = set(panels())
    assert len(missing) >= 40
    namespace = staged.runs["damaged"].namespace
    packs = Alignment.apply(cluster, namespace, "packs", merged(merged(SMALL, {"output": cluster.url("packs")}), PACKS))

    def complete() -> bool:
        missing.difference_update([panel for panel in missing if has_data(cluster, panel, since)])
        return not missing

    cluster.wait_for(
        "data for every panel", complete, RAISED, state=lambda: f"none for {sorted(panel.name for panel in missing)}"
    )
    packs.kubectl("delete", "alignment", packs.name, "--wait=false")


def test_each_alert_is_raised_by_its_fault_and_clears(cluster: Cluster, operator: Operator, staged: Staged) -> None:
    namespace, finished = staged.runs["damaged"].namespace, staged.finished
    failed, stalled = ({"namespace": namespace, "alignment": name} for name in ("diverges", "no-image"))
    lost = {"namespace": finished.namespace, "alignment": finished.name}
    training = {"namespace": namespace, "stage": TRAINING}
    raised, cleared = staged.raised, staged.cleared

    path = f"/metrics/job/captionless/namespace/{finished.namespace}/alignment/{finished.name}"
    urllib.request.urlopen(
        urllib.request.Request(cluster.pushgateway + path, method="DELETE"), timeout=pace.seconds(10)
    ).close()
    raised("CaptionlessTrainingLossNotFinite", **failed, stage=TRAINING)
    raised("CaptionlessAlignmentFailed", **failed)
    raised("CaptionlessAlignmentNotProgressing", **stalled)
    raised("CaptionlessObjectsSkipped", **training, cause="damaged")
    raised("CaptionlessAccuracyFell", namespace=namespace, alignment="damaged")
    raised("CaptionlessEvaluationNotPushed", **lost)
    cleared("CaptionlessControllerAbsent")  # of tests before, which take the controller away

    run = staged.runs["damaged"]
    stopped = run.running(TRAINING, 1)
    stop_a_rank(run, stopped)
    for name in ("diverges", "no-image"):
        run.kubectl("delete", "alignment", name, "--wait=false")
    publish(cluster.pushgateway, run.name, namespace, staged.results)
    publish(cluster.pushgateway, finished.name, finished.namespace, staged.results)
    cleared("CaptionlessTrainingLossNotFinite", **failed)
    cleared("CaptionlessAlignmentFailed", **failed)
    cleared("CaptionlessAlignmentNotProgressing", **stalled)
    cleared("CaptionlessAccuracyFell", namespace=namespace)
    cleared("CaptionlessEvaluationNotPushed", **lost)

    operator.scale(0)
    raised("CaptionlessStageStalled", **training)
    raised("CaptionlessNoCheckpoint", **training)
    raised("CaptionlessControllerAbsent")
    operator.scale(1)
    stop_a_rank(run, stopped, "SIGCONT")
    with operator.denied("alignments/status"):
        cleared("CaptionlessStageStalled", **training)
        cleared("CaptionlessNoCheckpoint", **training)
        raised("CaptionlessReconcileErrors", error="Refused")
    cleared("CaptionlessReconcileErrors", error="Refused")
    cleared("CaptionlessTrainingRestarts", namespace=namespace)
    run.kubectl("delete", "alignment", run.name, "--wait=false")
    cleared("CaptionlessControllerAbsent")
    cleared("CaptionlessObjectsSkipped", **training)
    assert staged.seen == set(ALERTS)
