"""Every metric that is told to Prometheus: its name, kind, labels, what it says and who tells it.

Declared here once. What tells a metric takes it from here (`exposition` of a stage's process, `controller.metrics`,
`eval.publish`), and so does the page that explains them, docs/metrics.md. Names begin with `captionless_` and end with
their base unit, counters with `_total`; the label values that a run can make are bounded by what `LABELS` says.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """A metric's type, as Prometheus calls it."""

    gauge = "gauge"
    counter = "counter"
    histogram = "histogram"


class Teller(StrEnum):
    """Who tells a metric, and where it is found."""

    stage = "every stage's process"
    training = "a training's process"
    controller = "the controller"
    evaluation = "an evaluation"


@dataclass(frozen=True)
class Metric:
    """A metric. labels: those that it is told with; a scrape adds others, as `namespace` and `pod`."""

    name: str
    kind: Kind
    teller: Teller
    labels: tuple[str, ...]
    text: str

    @property
    def unit(self) -> str:
        """Its base unit; empty for a number of things."""
        ending = self.name.removesuffix("_total").rpartition("_")[2]
        return ending if ending in ("seconds", "bytes", "ratio") else ""


LABELS = {
    "alignment": "names of Alignments, one a run",
    "namespace": "namespaces with Alignments",
    "stage": "stages of the plan, among them a training for each loss and seed",
    "unit": "one for each kind of stage",
    "cause": "`broken` (pack: an object of the source), `damaged` (training: stored bytes)",
    "condition": "`Succeeded`, `Suspended`, `Stalled`",
    "status": "`True`, `False`, `Unknown`",
    "state": "`Waiting`, `Running`, `Suspended`, `Succeeded`, `Failed`",
    "reason": "reasons of conditions ([kubernetes.md](kubernetes.md)), and the kinds of ends that `causes.py` names",
    "error": "classes of the controller's errors",
    "run": "trainings of the plan: losses times seeds",
    "weights": "losses",
    "seed": "seeds of the spec",
    "dataset": "one for each Alignment: its source's URL without credentials, or its kind",
    "prompt": "one for each Alignment: `eval.prompt`",
    "views": "`one`, `all`",
}
"""The values that each label can have. An object, a step, a file or a message is never one."""

_STAGE, _TRAINING, _CONTROLLER, _EVALUATION = Teller
_gauge, _counter, _histogram = Kind

STAGE_UNITS = Metric("captionless_stage_units", _gauge, _STAGE, ("stage", "unit"), "Units of work of this process.")
STAGE_UNITS_DONE = Metric("captionless_stage_units_done", _gauge, _STAGE, ("stage", "unit"), "Units that are done.")
STAGE_UNITS_PER_SECOND = Metric(
    "captionless_stage_units_per_second",
    _gauge,
    _STAGE,
    ("stage", "unit"),
    "Units per second since the first completed one; once finished, the mean of the whole stage.",
)
STAGE_LAST_ADVANCE = Metric(
    "captionless_stage_last_advance_timestamp_seconds", _gauge, _STAGE, ("stage", "unit"),
    "When the last unit was done, or the first begun.",
)  # fmt: skip
STAGE_READ_BYTES = Metric(
    "captionless_stage_read_bytes_total", _counter, _STAGE, ("stage",),
    "Bytes read from storage by this process; of a training, by its first rank.",
)  # fmt: skip
STAGE_STORAGE_RETRIES = Metric(
    "captionless_stage_storage_retries_total", _counter, _STAGE, ("stage",),
    "Accesses to storage that failed in passing and were tried again.",
)  # fmt: skip
STAGE_SKIPPED_OBJECTS = Metric(
    "captionless_stage_skipped_objects_total", _counter, _STAGE, ("stage", "cause"),
    "Objects that were left out; the stage's log names them.",
)  # fmt: skip

TRAIN_LOSS = Metric("captionless_train_loss", _gauge, _TRAINING, ("stage",), "Training loss of the last step.")
TRAIN_LOGIT_SCALE = Metric(
    "captionless_train_logit_scale", _gauge, _TRAINING, ("stage",),
    "Learned scale of the logits, the inverse temperature.",
)  # fmt: skip
TRAIN_WEIGHT_ENTROPY = Metric(
    "captionless_train_weight_entropy_ratio", _gauge, _TRAINING, ("stage",),
    "How evenly the anchors' weights lie on their negatives: 1 evenly, 0 each on one.",
)  # fmt: skip
TRAIN_GRADIENT_NORM = Metric(
    "captionless_train_gradient_norm", _gauge, _TRAINING, ("stage",),
    "Norm of the last step's gradient, before it was clipped.",
)  # fmt: skip
TRAIN_LEARNING_RATE = Metric(
    "captionless_train_learning_rate", _gauge, _TRAINING, ("stage",), "Learning rate of the last step."
)
TRAIN_ROUND = Metric(
    "captionless_train_round", _gauge, _TRAINING, ("stage",),
    "How often this supervisor has started the ranks; of several nodes only.",
)  # fmt: skip
TRAIN_STEPS = Metric(
    "captionless_train_steps_total", _counter, _TRAINING, ("stage",), "Steps done since the ranks were started."
)
TRAIN_STEP_SECONDS = Metric(
    "captionless_train_step_seconds_total", _counter, _TRAINING, ("stage",),
    "Seconds that these steps took, without what is counted as waiting.",
)  # fmt: skip
TRAIN_BATCH_WAIT = Metric(
    "captionless_train_batch_wait_seconds_total", _counter, _TRAINING, ("stage",),
    "Seconds that steps waited for their batches: storage or augmentation did not keep up.",
)  # fmt: skip
TRAIN_BATCHES_READY = Metric(
    "captionless_train_batches_ready", _gauge, _TRAINING, ("stage",),
    "Batches that were ready when the last step took its own; 0 where it had to wait.",
)  # fmt: skip
TRAIN_CHECKPOINT_LAST_SUCCESS = Metric(
    "captionless_train_checkpoint_last_success_timestamp_seconds", _gauge, _TRAINING, ("stage",),
    "When a checkpoint was last stored; before the first, when the ranks began to train.",
)  # fmt: skip
TRAIN_CHECKPOINT_DURATION = Metric(
    "captionless_train_checkpoint_duration_seconds", _gauge, _TRAINING, ("stage",),
    "How long the last checkpoint took from its copy of the state until it was stored.",
)  # fmt: skip
TRAIN_VALIDATION = Metric(
    "captionless_train_validation_reciprocal_rank_ratio", _gauge, _TRAINING, ("stage",),
    "Mean reciprocal rank among the objects kept out of training, with train.validation.share.",
)  # fmt: skip

RECONCILE_SECONDS = Metric(
    "captionless_reconcile_seconds", _histogram, _CONTROLLER, (), "Time to reconcile an Alignment once."
)
RECONCILE_ERRORS = Metric(
    "captionless_reconcile_errors_total", _counter, _CONTROLLER, ("error",),
    "Reconciles that failed and are tried again.",
)  # fmt: skip
WORK_QUEUE_LENGTH = Metric(
    "captionless_work_queue_length", _gauge, _CONTROLLER, (), "Alignments that wait to be reconciled."
)
CONTROLLER_LEADING = Metric("captionless_controller_leading", _gauge, _CONTROLLER, (), "1 while the Lease is held.")
ALIGNMENTS = Metric(
    "captionless_alignments", _gauge, _CONTROLLER, ("condition", "status"), "Alignments by condition and its status."
)
ALIGNMENT_CONDITION = Metric(
    "captionless_alignment_condition", _gauge, _CONTROLLER,
    ("namespace", "alignment", "condition", "status", "reason"), "1 for the status that a condition has.",
)  # fmt: skip
ALIGNMENT_STAGE_STATE = Metric(
    "captionless_alignment_stage_state", _gauge, _CONTROLLER, ("namespace", "alignment", "stage", "state"),
    "1 for the state that a stage is in.",
)  # fmt: skip
ALIGNMENT_STAGE_FAILED = Metric(
    "captionless_alignment_stage_failed", _gauge, _CONTROLLER, ("namespace", "alignment", "stage", "reason"),
    "1 for a stage that failed, with the kind of its end.",
)  # fmt: skip
ALIGNMENT_STAGE_PROGRESS = Metric(
    "captionless_alignment_stage_progress_ratio", _gauge, _CONTROLLER, ("namespace", "alignment", "stage"),
    "Share of a stage that is done.",
)  # fmt: skip
ALIGNMENT_STAGE_DISRUPTIONS = Metric(
    "captionless_alignment_stage_disruptions", _gauge, _CONTROLLER, ("namespace", "alignment", "stage"),
    "Disruptions of a stage so far.",
)  # fmt: skip

EVAL_FIGURE = Metric(
    "captionless_eval_{figure}_ratio", _gauge, _EVALUATION,
    ("namespace", "alignment", "run", "weights", "seed", "dataset", "prompt", "views"),
    "A figure of a run on the test objects, one metric a column of the results' table: "
    "captionless_eval_zero_shot_top1_ratio and so on.",
)  # fmt: skip
EVAL_OBJECTS = Metric(
    "captionless_eval_objects", _gauge, _EVALUATION, ("namespace", "alignment", "dataset"), "Test objects."
)
EVAL_LAST_SUCCESS = Metric(
    "captionless_eval_last_success_timestamp_seconds", _gauge, _EVALUATION, ("namespace", "alignment"),
    "When these figures were pushed.",
)  # fmt: skip

METRICS = tuple(found for found in list(globals().values()) if isinstance(found, Metric))
"""All of them, in the order above."""


def told_by(*tellers: Teller) -> tuple[Metric, ...]:
    """The metrics of these tellers."""
    return tuple(metric for metric in METRICS if metric.teller in tellers)
