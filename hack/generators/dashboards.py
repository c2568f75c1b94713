"""Grafana dashboards over the metrics of the controller, of the runs' pods and of evaluations.

Queries use the labels that prometheus-operator sets: `namespace` and `alignment` of the controller's metrics and of
pushed ones are the run's; metrics of pods have `captionless_dev_alignment` and `pod`. Every query has data during a
run, also about what has not happened yet; tests/cluster verifies that against a real one.
"""

from __future__ import annotations

import json
from typing import Any

from generators.grafana import Panel, Query, dashboard, graph, number, table

_RUN = 'namespace=~"$namespace", alignment=~"$alignment"'
_POD = 'namespace=~"$namespace", captionless_dev_alignment=~"$alignment"'
_STAGE = f'{_POD}, stage!~"train-.+"'
_BY = "captionless_dev_alignment, stage"
_NAME = "{{captionless_dev_alignment}} {{stage}}"
_STANDS_STILL, _UNSAVED = 1800, 3600  # seconds, as the alerts have them


def files() -> dict[str, str]:
    made = {"overview": _overview(), "precompute": _precompute(), "training": _training(), "evaluation": _evaluation()}
    folder = "charts/captionless/files/dashboards"
    return {f"{folder}/{n}.json": json.dumps(d, indent=1, ensure_ascii=False) + "\n" for n, d in made.items()}


def _variables(metric: str, alignment: str = "alignment") -> list[Query]:
    return [
        ("namespace", f"label_values({metric}, namespace)"),
        ("alignment", f'label_values({metric}{{namespace=~"$namespace"}}, {alignment})'),
    ]


def _overview() -> dict[str, Any]:
    def having(condition: str, status: str) -> str:
        labels = f'condition="{condition}", status="{status}", {_RUN}'
        return f"count(captionless_alignment_condition{{{labels}}} == 1) or vector(0)"

    alerts = 'count(ALERTS{alertname=~"Captionless.+", alertstate="firing"}) or vector(0)'
    stands = f'captionless_alignment_condition{{condition="Succeeded", {_RUN}}} == 1'
    seconds = "sum by (le) (rate(captionless_reconcile_seconds_bucket[$__rate_interval]))"
    errors = "sum by (error) (rate(captionless_reconcile_errors_total[$__rate_interval])) or vector(0)"
    stage = "{{alignment}} {{stage}}"
    rows = [
        [
            number("Running", having("Succeeded", "Unknown")),
            number("Succeeded", having("Succeeded", "True")),
            number("Failed", having("Succeeded", "False"), limit=1),
            number("Not progressing", having("Progressing", "False"), limit=1, color="orange"),
            number("Firing alerts", alerts, limit=1, text="See docs/runbook.md."),
            number("Leading controllers", "sum(captionless_controller_leading) or vector(0)"),
        ],
        [
            table("Runs", stands, ("namespace", "alignment", "status", "reason")),
            table(
                "Stages", f"captionless_alignment_stage_state{{{_RUN}}} == 1",
                ("namespace", "alignment", "stage", "state"),
            ),
        ],
        [
            graph(
                "Stage progress", (f"captionless_alignment_stage_progress_ratio{{{_RUN}}}", stage),
                unit="percentunit", top=1,
            ),
            graph(
                "Disruptions", (f"captionless_alignment_stage_disruptions{{{_RUN}}}", stage),
                text="Pods that were evicted, preempted or lost with their node.",
            ),
        ],
        [
            graph(
                "Time to reconcile", *((f"histogram_quantile({q}, {seconds})", f"{100 * q:g} %") for q in (0.5, 0.99)),
                unit="s",
            ),
            graph("Reconcile errors per second", (errors, "{{error}}"), unit="ops"),
            graph("Work queue length", ("sum(captionless_work_queue_length)", "waiting")),
        ],
    ]  # fmt: skip
    text = "The state of every run, and the health of the controller."
    return dashboard(
        "captionless", "Captionless: overview", text, "now-6h", _variables("captionless_alignment_condition"), rows
    )


def _precompute() -> dict[str, Any]:
    units, done = f"captionless_stage_units{{{_STAGE}}}", f"captionless_stage_units_done{{{_STAGE}}}"
    rows = [
        [
            graph(
                "Progress", (f"sum by ({_BY}) ({done}) / sum by ({_BY}) ({units})", _NAME), unit="percentunit", top=1,
                text="Of the running pods, without those that have ended.",
            ),
            graph("Slowest pod", (f"min by ({_BY}) ({done} / {units})", _NAME), unit="percentunit", top=1),
            graph("Running pods", (f"count by ({_BY}) ({units})", _NAME)),
        ],
        [
            graph(
                "Units per second",
                (f"sum by ({_BY}, unit) (captionless_stage_units_per_second{{{_STAGE}}})", _NAME + " {{unit}}s"),
            ),
            graph(
                "Time since the last unit", (_since("captionless_stage_last_advance_timestamp_seconds", _STAGE), _NAME),
                unit="s", limit=_STANDS_STILL, text="The line is the alert's threshold.",
            ),
        ],
        [
            graph(
                "Bytes read", (f"sum by ({_BY}) (captionless_stage_read_bytes_total{{{_STAGE}}})", _NAME), unit="bytes",
                text="From storage, by the running pods since their start.",
            ),
            graph(
                "Storage retries", (f"sum by ({_BY}) (captionless_stage_storage_retries_total{{{_STAGE}}})", _NAME),
                text="Requests that were retried after a transient error.",
            ),
            _skipped(_STAGE),
            graph(
                "Objects with losses",
                (f"sum by ({_BY}, loss) (captionless_stage_lossy_objects_total{{{_STAGE}}})", _NAME + " {{loss}}"),
                text="Read without something that their files have; `captionless data broken` names them.",
            ),
        ],
    ]  # fmt: skip
    text = "All stages except training: progress, throughput, and what they wait for."
    return dashboard(
        "captionless-precompute", "Captionless: precompute", text, "now-6h",
        _variables("captionless_stage_units", "captionless_dev_alignment"), rows,
    )  # fmt: skip


def _training() -> dict[str, Any]:
    def gauge(name: str) -> Query:
        return f"max by ({_BY}) (captionless_train_{name}{{{_POD}}})", _NAME

    def rate(name: str) -> str:
        return f"sum by ({_BY}) (rate(captionless_{name}{{{_POD}}}[$__rate_interval]))"

    steps, computed, waited = (rate(f"train_{n}_total") for n in ("steps", "step_seconds", "batch_wait_seconds"))
    stored = _since("captionless_train_checkpoint_last_success_timestamp_seconds", _POD)
    trains = f'{_POD}, stage=~"train-.+"'
    done = f"sum by ({_BY}) (captionless_stage_units_done{{{trains}}})"
    rows = [
        [
            graph("Loss", gauge("loss"), text="Of the last step."),
            graph("Temperature", (f"1 / {gauge('logit_scale')[0]}", _NAME), text="Learned: 1 / logit scale."),
            graph("Weight entropy", gauge("weight_entropy_ratio"), unit="percentunit", top=1,
                  text="How evenly each anchor's weight is distributed over its negatives: 100 % is InfoNCE."),
            graph("Gradient norm", gauge("gradient_norm"), logarithmic=True, text="Before clipping."),
        ],
        [
            graph("Learning rate", gauge("learning_rate"), unit="sci"),
            graph("Validation", gauge("validation_reciprocal_rank_ratio"), unit="percentunit",
                  text="Mean reciprocal rank on the validation split (train.validation.share)."),
            graph("Steps done", (f"{done} / sum by ({_BY}) (captionless_stage_units{{{trains}}})", _NAME),
                  unit="percentunit", top=1),
            graph("Steps per second", (steps, _NAME), unit="ops"),
            graph("False negatives", gauge("false_negatives"), text="Pairs of a batch that are masked."),
        ],
        [
            graph("Step time", (f"{computed} / {steps}", _NAME), unit="s", text="Without waiting for the batch."),
            graph("Time spent waiting for batches", (f"{waited} / ({waited} + {computed})", _NAME),
                  unit="percentunit", top=1, text="High if storage or augmentation is too slow."),
            graph("Batches ready", gauge("batches_ready"), text="At the start of the last step; 0: it had to wait."),
            graph("Bytes read per second", (rate("stage_read_bytes_total"), _NAME), unit="Bps",
                  text="From storage, by the first rank. 0 once all data is in memory (resources.dataMemory)."),
        ],
        [
            graph("Checkpoint: age", (stored, _NAME), unit="s", limit=_UNSAVED,
                  text="The work that a lost pod would cost. The line is the alert's threshold."),
            graph("Checkpoint: time to store", gauge("checkpoint_duration_seconds"), unit="s"),
            graph("Rounds", gauge("round"), text="How often the ranks were started, in a training on several nodes."),
            _skipped(trains),
        ],
        [
            graph("Memory of training data",
                  (f"max by ({_BY}, holds) (captionless_train_data_memory_bytes{{{_POD}}})", _NAME + " {{holds}}"),
                  unit="bytes", text="Cached objects, their table, validation, similarity (resources.dataMemory)."),
            graph("Disk of training data", gauge("data_disk_bytes"), unit="bytes",
                  text="Copies of what memory has no room for (resources.dataDisk)."),
        ],
    ]  # fmt: skip
    return dashboard(
        "captionless-training", "Captionless: training", "Loss and convergence, data loading, checkpoints.", "now-6h",
        _variables("captionless_train_loss", "captionless_dev_alignment"), rows,
    )  # fmt: skip


def _evaluation() -> dict[str, Any]:
    def figure(name: str) -> Query:
        return f"captionless_eval_{name}_ratio{{{_RUN}}}", "{{alignment}} {{run}} ({{dataset}}, {{prompt}})"

    top1 = figure("zero_shot_top1")[0]
    before = f"last_over_time(({top1} != {top1} @ end())[7d:15m])"
    pushed = f"captionless_eval_last_success_timestamp_seconds{{{_RUN}}}"
    columns = ("namespace", "alignment", "run", "dataset", "prompt", "Value")
    rows = [
        [
            graph("Zero-shot top-1", figure("zero_shot_top1"), unit="percentunit", top=1),
            graph("Image to shape, R@1", figure("gallery_image_to_shape_recall_at_1"), unit="percentunit", top=1),
        ],
        [
            table(
                "All figures", f'{{__name__=~"captionless_eval_.+_ratio", {_RUN}}}', ("__name__", *columns),
                unit="percentunit",
            ),
        ],
        [
            table(
                "Zero-shot top-1: change since the previous run", f"{top1} - {before}", columns, unit="percentunit",
                text="Compared with the last different value within a week, of the same name, data and prompt.",
            ),
            graph("Test objects", (f"captionless_eval_objects{{{_RUN}}}", "{{alignment}} ({{dataset}})")),
            graph("Age of the figures", (f"time() - {pushed}", "{{alignment}}"), unit="s"),
        ],
    ]  # fmt: skip
    text = "The quality of every run, over time. Figures for different data or prompts are not comparable."
    return dashboard(
        "captionless-evaluation",
        "Captionless: evaluation",
        text,
        "now-30d",
        _variables("captionless_eval_objects"),
        rows,
    )


def _since(metric: str, labels: str) -> str:
    return f"time() - max by ({_BY}) ({metric}{{{labels}}})"


def _skipped(labels: str) -> Panel:
    query = f"sum by ({_BY}, cause) (captionless_stage_skipped_objects_total{{{labels}}})"
    return graph("Skipped objects", (query, _NAME + " {{cause}}"), text="As the spec allows; the log names them.")
