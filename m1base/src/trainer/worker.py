"""One rank of a training run, as torchrun starts it: `python -m captionless.trainer.worker --job F --report FOLDER`.

torchrun exits with 1 for any failure of its workers, and rank 1 fails with a lost connection when rank 0 fails because
of an invalid spec. So each rank writes the cause of its exit to `rank-<r>.json` in the report folder, which the
supervisor reads; its heartbeat is in the same folder while it runs. An unexpected exception leaves its traceback on
stderr, the log.

torch is imported late: after the first heartbeat, and after this process is set to end with torchrun.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from captionless.errors import CRASH, CaptionlessError
from captionless.runtime import signals
from captionless.runtime.parent_death import end_with_parent
from captionless.runtime.redaction import redacted
from captionless.telemetry import catalog, registry
from captionless.trainer.elastic.heartbeat import Heartbeat, status_file
from captionless.trainer.training_job import TrainingJob


def main(stop: Callable[[], bool]) -> int:
    """Run this rank to its end, or until `stop` says so after a step; returns the exit code."""
    end_with_parent()
    parser = argparse.ArgumentParser()
    parser.add_argument("--job", type=Path, required=True)
    parser.add_argument("--report", type=Path, required=True)
    parser.add_argument("--round", type=int)
    arguments = parser.parse_args()
    rank = int(os.environ.get("RANK", "0"))
    heartbeat = Heartbeat(status_file(arguments.report, rank))
    report: dict[str, object] = {"error": None, "line": ""}
    code = 0
    try:
        _run(TrainingJob.model_validate_json(arguments.job.read_text()), stop, heartbeat, arguments.round)
    except CaptionlessError as error:
        report, code = {"error": type(error).__name__, "line": str(error)}, error.exit_code
    except Exception as error:
        print(redacted(traceback.format_exc()), end="", file=sys.stderr)
        line = " ".join(str(error).split())
        report = {"error": CRASH, "line": f"{type(error).__name__}: {line}"}
        code = CaptionlessError.exit_code
    whole = arguments.report / f"rank-{rank}.json"
    partial = whole.with_suffix(".partial")
    partial.write_text(json.dumps(report))
    partial.replace(whole)
    # The peers of a failed rank may hang in a collective: don't wait for them, the group ends with the process.
    if code == 0:
        from captionless.trainer import distributed

        distributed.stop()
    return code


def _run(job: TrainingJob, stop: Callable[[], bool], heartbeat: Heartbeat, number: int | None) -> None:
    from captionless.trainer import distributed
    from captionless.trainer.determinism import compute_reproducibly
    from captionless.trainer.device import select_device
    from captionless.trainer.loop import train

    compute_reproducibly(job.threads, job.device)
    device = select_device(job.device)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        distributed.start("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", job.train.collective_timeout)
    if number is None:
        train(job, stop, heartbeat)
    else:
        registry.set_value(catalog.TRAIN_ROUND, number)
        train(job, stop, heartbeat, round=number)


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    with signals.note_signals() as stop_requested:
        code = main(stop_requested)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # no interpreter shutdown: threads of a broken process group could hang it
