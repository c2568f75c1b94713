"""Every metric that Prometheus gets: its name, type, labels, help text and source.

Declared once, here, for what exports them (`telemetry.server` of a stage's process, `controller.metrics`,
`eval.publish`) and for the page that lists them, docs/metrics.md. Names begin with `captionless_` and end with their
base unit, counters with `_total`; the number of label values is bounded as `LABELS` says.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """A metric's type, as Prometheus calls it."""

    gauge = "gauge"
    counter = "counter"
    histogram = "histogram"


class Exporter(StrEnum):
    """What exports a metric."""

    stage = "every stage's process"
    training = "a training's process"
    controller = "the controller"
    evaluation = "an evaluation"


@dataclass(frozen=True)
class Metric:
    """A metric. labels: those that it is exported with; a scrape adds others, such as `namespace` and `pod`."""

    name: str
    kind: Kind
    exporter: Exporter
    labels: tuple[str, ...]
    text: str

    @property
    def unit(self) -> str:
        """Its base unit; empty for a count."""
        ending = self.name.removesuffix("_total").rpartition("_")[2]
        return ending if ending in ("seconds", "bytes", "ratio") else ""


LABELS = {
    "alignment": "names of Alignments, one per run",
    "namespace": "namespaces with Alignments",
    "stage": "stages of the plan, including a training per loss and seed",
    "unit": "one per kind of stage",
    "cause": "`broken` (pack: an object of the source), `damaged` (training: stored bytes)",
    "loss": "kinds of losses, such as `texture missing` ([broken-objects.md](broken-objects.md))",
    "holds": "`objects`, `table` (their keys and offsets), `validation`, `similarity`",
    "condition": "`Succeeded`, `Ready`, `Reconciling`, `Stalled`, `Suspended`, `Progressing`, `Observed`, `Pinned`",
    "status": "`True`, `False`, `Unknown`",
    "state": "`Waiting`, `Running`, `Suspended`, `Succeeded`, `Failed`",
    "reason": "reasons of conditions ([kubernetes.md](kubernetes.md)), and of failures (`controller/diagnosis.py`)",
    "error": "classes of the controller's errors",
    "run": "trainings of the plan: losses times seeds",
    "weights": "losses",
    "seed": "seeds of the spec",
    "dataset": "one per Alignment: the URL of its source without credentials, or the kind of source",
    "prompt": "one per Alignment: `eval.prompt`",
    "views": "`one`, `all`",
}
"""The values that each label can have; never an object, a step, a file or a message."""

_STAGE, _TRAINING, _CONTROLLER, _EVALUATION = Exporter
_gauge, _counter, _histogram = Kind

STAGE_UNITS = Metric("captionless_stage_units", _gauge, _STAGE, ("stage", "unit"), "Units of work of this process.")
STAGE_UNITS_DONE = Metric("captionless_stage_units_done", _gauge, _STAGE, ("stage", "unit"), "Completed units of work.")
STAGE_UNITS_PER_SECOND = Metric(
    "captionless_stage_units_per_second",
    _gauge,
    _STAGE,
    ("stage", "unit"),
    "Units per second since the first completed one; once finished, the mean of the whole stage.",
)
STAGE_LAST_ADVANCE = Metric(
    "captionless_stage_last_advance_timestamp_seconds", _gauge, _STAGE, ("stage", "unit"),
    "When the last unit was completed, or the first started.",
)  # fmt: skip
STAGE_READ_BYTES = Metric(
    "captionless_stage_read_bytes_total", _counter, _STAGE, ("stage",),
    "Bytes read from storage by this process; for a training, by rank 0.",
)  # fmt: skip
STAGE_STORAGE_RETRIES = Metric(
    "captionless_stage_storage_retries_total", _counter, _STAGE, ("stage",),
    "Storage requests that were retried after a transient error.",
)  # fmt: skip
STAGE_SKIPPED_OBJECTS = Metric(
    "captionless_stage_skipped_objects_total", _counter, _STAGE, ("stage", "cause"),
    "Objects that were skipped; the log of the stage names them.",
)  # fmt: skip

STAGE_LOSSY_OBJECTS = Metric(
    "captionless_stage_lossy_objects_total", _counter, _STAGE, ("stage", "loss"),
    "Objects that were read without something that their files have; `captionless data broken` names them.",
)  # fmt: skip

TRAIN_LOSS = Metric("captionless_train_loss", _gauge, _TRAINING, ("stage",), "Training loss of the last step.")
TRAIN_LOGIT_SCALE = Metric(
    "captionless_train_logit_scale", _gauge, _TRAINING, ("stage",),
    "Learned scale of the logits, the inverse temperature.",
)  # fmt: skip
TRAIN_WEIGHT_ENTROPY = Metric(
    "captionless_train_weight_entropy_ratio", _gauge, _TRAINING, ("stage",),
    "Normalized entropy of the anchors' weights over their negatives: 1 if uniform, 0 if all weight is on one.",
)  # fmt: skip
TRAIN_FALSE_NEGATIVES = Metric(
    "captionless_train_false_negatives", _gauge, _TRAINING, ("stage",),
    "Pairs of the last step's batch that train.batches.falseNegatives has masked, each by its anchor.",
)  # fmt: skip
TRAIN_GRADIENT_NORM = Metric(
    "captionless_train_gradient_norm", _gauge, _TRAINING, ("stage",),
    "Norm of the gradient of the last step, before clipping.",
)  # fmt: skip
TRAIN_LEARNING_RATE = Metric(
    "captionless_train_learning_rate", _gauge, _TRAINING, ("stage",), "Learning rate of the last step."
)
TRAIN_ROUND = Metric(
    "captionless_train_round", _gauge, _TRAINING, ("stage",),
    "How often this supervisor has started the ranks; only with several nodes.",
)  # fmt: skip
TRAIN_STEPS = Metric(
    "captionless_train_steps_total", _counter, _TRAINING, ("stage",), "Steps completed since the ranks were started."
)
TRAIN_STEP_SECONDS = Metric(
    "captionless_train_step_seconds_total", _counter, _TRAINING, ("stage",),
    "Duration of these steps, without the time spent waiting for batches.",
)  # fmt: skip
TRAIN_BATCH_WAIT = Metric(
    "captionless_train_batch_wait_seconds_total", _counter, _TRAINING, ("stage",),
    "Time that steps waited for their batches because storage or augmentation did not keep up.",
)  # fmt: skip
TRAIN_BATCHES_READY = Metric(
    "captionless_train_batches_ready", _gauge, _TRAINING, ("stage",),
    "Batches that were ready when the last step took its own; 0 if it had to wait.",
)  # fmt: skip
TRAIN_DATA_MEMORY = Metric(
    "captionless_train_data_memory_bytes", _gauge, _TRAINING, ("stage", "holds"),
    "Memory that cached training data takes, within resources.dataMemory: objects of all ranks of the node, the rest "
    "of rank 0.",
)  # fmt: skip
TRAIN_DATA_DISK = Metric(
    "captionless_train_data_disk_bytes", _gauge, _TRAINING, ("stage",),
    "Disk space that copies of training data take on the node, within resources.dataDisk.",
)  # fmt: skip
TRAIN_CHECKPOINT_LAST_SUCCESS = Metric(
    "captionless_train_checkpoint_last_success_timestamp_seconds", _gauge, _TRAINING, ("stage",),
    "When the last checkpoint was stored; before the first one, when training started.",
)  # fmt: skip
TRAIN_CHECKPOINT_DURATION = Metric(
    "captionless_train_checkpoint_duration_seconds", _gauge, _TRAINING, ("stage",),
    "Duration of the last checkpoint, from copying the state until it was stored.",
)  # fmt: skip
TRAIN_VALIDATION = Metric(
    "captionless_train_validation_reciprocal_rank_ratio", _gauge, _TRAINING, ("stage",),
    "Mean reciprocal rank on the objects held out for validation (train.validation.share).",
)  # fmt: skip

RECONCILE_SECONDS = Metric(
    "captionless_reconcile_seconds", _histogram, _CONTROLLER, (), "Duration of reconciling an Alignment."
)
RECONCILE_ERRORS = Metric(
    "captionless_reconcile_errors_total", _counter, _CONTROLLER, ("error",),
    "Reconciles that failed and will be retried.",
)  # fmt: skip
WORK_QUEUE_LENGTH = Metric(
    "captionless_work_queue_length", _gauge, _CONTROLLER, (), "Alignments waiting to be reconciled."
)
CONTROLLER_LEADING = Metric("captionless_controller_leading", _gauge, _CONTROLLER, (), "1 while holding the Lease.")
ALIGNMENTS = Metric(
    "captionless_alignments",
    _gauge,
    _CONTROLLER,
    ("condition", "status"),
    "Alignments by condition and its status.",
)
ALIGNMENT_CONDITION = Metric(
    "captionless_alignment_condition", _gauge, _CONTROLLER,
    ("namespace", "alignment", "condition", "status", "reason"), "1 for the current status of a condition.",
)  # fmt: skip
ALIGNMENT_STAGE_STATE = Metric(
    "captionless_alignment_stage_state", _gauge, _CONTROLLER, ("namespace", "alignment", "stage", "state"),
    "1 for the current state of a stage.",
)  # fmt: skip
ALIGNMENT_STAGE_FAILED = Metric(
    "captionless_alignment_stage_failed", _gauge, _CONTROLLER, ("namespace", "alignment", "stage", "reason"),
    "1 for a stage that failed, with the kind of failure.",
)  # fmt: skip
ALIGNMENT_STAGE_PROGRESS = Metric(
    "captionless_alignment_stage_progress_ratio", _gauge, _CONTROLLER, ("namespace", "alignment", "stage"),
    "Completed share of a stage.",
)  # fmt: skip
ALIGNMENT_STAGE_DISRUPTIONS = Metric(
    "captionless_alignment_stage_disruptions", _gauge, _CONTROLLER, ("namespace", "alignment", "stage"),
    "Disruptions of a stage so far, such as evictions.",
)  # fmt: skip

EVAL_FIGURE = Metric(
    "captionless_eval_{figure}_ratio", _gauge, _EVALUATION,
    ("namespace", "alignment", "run", "weights", "seed", "dataset", "prompt", "views"),
    "A figure of a run on the test objects, one metric per column of the results table: "
    "captionless_eval_zero_shot_top1_ratio and so on.",
)  # fmt: skip
EVAL_OBJECTS = Metric(
    "captionless_eval_objects", _gauge, _EVALUATION, ("namespace", "alignment", "dataset"), "Number of test objects."
)
EVAL_LAST_SUCCESS = Metric(
    "captionless_eval_last_success_timestamp_seconds", _gauge, _EVALUATION, ("namespace", "alignment"),
    "When these figures were pushed.",
)  # fmt: skip

METRICS = tuple(found for found in list(globals().values()) if isinstance(found, Metric))
"""All metrics, in the order above."""


def exported_by(*exporters: Exporter) -> tuple[Metric, ...]:
    """The metrics of these exporters."""
    return tuple(metric for metric in METRICS if metric.exporter in exporters)
