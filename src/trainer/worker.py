"""One rank of a training run, as torchrun starts it: `python -m captionless.trainer.worker --job F --report FOLDER`.

torchrun exits 1 whatever happened in its workers, and rank 1 fails of a lost connection when rank 0 fails of a wrong
spec. Each rank therefore leaves the cause of its end as `rank-<r>.json` in the report's folder, which the supervisor
reads, and beside it while it works its heartbeat; an unexpected exception keeps its traceback on stderr, the log.

torch is imported late, after the first heartbeat and after this process has bound its life to torchrun's.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import traceback
from pathlib import Path

from captionless.errors import CaptionlessError
from captionless.runtime.parent_death import end_with_parent
from captionless.runtime.redaction import redacted
from captionless.telemetry import catalog, registry
from captionless.trainer.elastic import heartbeat
from captionless.trainer.elastic.heartbeat import Heartbeat
from captionless.trainer.training_job import TrainingJob


def main() -> int:
    """Run this rank to its end; returns the exit code."""
    end_with_parent()
    parser = argparse.ArgumentParser()
    parser.add_argument("--job", type=Path, required=True)
    parser.add_argument("--report", type=Path, required=True)
    parser.add_argument("--round", type=int)
    arguments = parser.parse_args()
    rank = int(os.environ.get("RANK", "0"))
    beat, stop = Heartbeat(heartbeat.path_of(arguments.report, rank)), _stop_flag()
    report: dict[str, object] = {"error": None, "line": ""}
    code = 0
    try:
        _run(TrainingJob.model_validate_json(arguments.job.read_text()), stop, beat, arguments.round)
    except CaptionlessError as error:
        report, code = {"error": type(error).__name__, "line": str(error)}, error.exit_code
    except Exception as error:
        print(redacted(traceback.format_exc()), end="", file=sys.stderr)
        line = " ".join(str(error).split())
        report, code = {"error": "crash", "line": f"{type(error).__name__}: {line}"}, 1
    whole = arguments.report / f"rank-{rank}.json"
    partial = whole.with_suffix(".partial")
    partial.write_text(json.dumps(report))
    partial.replace(whole)
    # A failed rank's peers may hang in a collective: leave the group to the process's end, do not wait for them.
    if code == 0:
        from captionless.trainer import distributed

        distributed.stop()
    return code


def _run(job: TrainingJob, stop: list[bool], beat: Heartbeat, number: int | None) -> None:
    import torch

    from captionless.trainer import distributed
    from captionless.trainer.determinism import compute_reproducibly
    from captionless.trainer.loop import train

    compute_reproducibly(job.threads, job.device)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        cuda = job.device != "cpu" and torch.cuda.is_available()
        distributed.start("cpu:gloo,cuda:nccl" if cuda else "gloo", job.train.collective_timeout)
    if number is None:
        train(job, lambda: stop[0], beat)
    else:
        registry.set_value(catalog.TRAIN_ROUND, number)
        train(job, lambda: stop[0], beat, round=number)


def _stop_flag() -> list[bool]:
    """A one-element list that SIGTERM and SIGINT set to True; the loop looks at it after each step."""
    flag = [False]

    def handler(number: int, frame: object) -> None:
        flag[0] = True

    signal.signal(signal.SIGTERM, handler)
    signal.signal(signal.SIGINT, handler)
    return flag


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # no interpreter shutdown: threads of a broken process group could hang it
