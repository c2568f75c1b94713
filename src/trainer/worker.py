"""One rank of a training run, as torchrun starts it: `python -m captionless.trainer.worker --job F --report FOLDER`.

torchrun exits 1 whatever happened in its workers, and rank 1 fails of a lost connection when rank 0 fails of a wrong
spec. Each rank therefore leaves the cause of its end as `rank-<r>.json` in the report's folder, which the supervisor
reads; an unexpected exception keeps its traceback on stderr, the log.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import traceback
from pathlib import Path

import torch
import torch.distributed as dist

from captionless.errors import CaptionlessError
from captionless.lifeline import SUPERVISOR, die_with_parent, is_alive
from captionless.trainer.job import Job
from captionless.trainer.loop import train


def main() -> int:
    """Run this rank to its end; returns the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--job", type=Path, required=True)
    parser.add_argument("--report", type=Path, required=True)
    arguments = parser.parse_args()
    die_with_parent()
    supervisor = os.environ.get(SUPERVISOR)
    if supervisor is not None and not is_alive(int(supervisor)):
        return 1
    stop = _stop_flag()
    rank = int(os.environ.get("RANK", "0"))
    try:
        _run(Job.model_validate_json(arguments.job.read_text()), stop)
        report = {"error": None, "line": "", "exit_code": 0}
    except CaptionlessError as error:
        report = {"error": type(error).__name__, "line": str(error), "exit_code": error.exit_code}
    except Exception as error:
        traceback.print_exc()
        line = " ".join(str(error).split())
        report = {"error": "crash", "line": f"{type(error).__name__}: {line}", "exit_code": 1}
    (arguments.report / f"rank-{rank}.json").write_text(json.dumps(report))
    # A failed rank's peers may hang in a collective: leave the group to the process's end, do not wait for them.
    if report["exit_code"] == 0 and dist.is_initialized():
        dist.destroy_process_group()
    return int(str(report["exit_code"]))


def _run(job: Job, stop: list[bool]) -> None:
    torch.set_num_threads(job.threads)
    torch.use_deterministic_algorithms(True, warn_only=job.device != "cpu")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # costs a pass
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        cuda = job.device != "cpu" and torch.cuda.is_available()
        dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")
    train(job, lambda: stop[0])


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
