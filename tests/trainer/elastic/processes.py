"""A training in processes of its own, to be killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from captionless.trainer.training_job import TrainingJob


def start(job: TrainingJob, nproc: int, log: Path) -> subprocess.Popen[bytes]:
    """`supervisor.run` in a process of its own, under a lease, which exits as a command of the project does."""
    code = """
import sys
from pathlib import Path
from captionless.errors import CaptionlessError
from captionless.store.writers import writer
from captionless.trainer.elastic import supervisor
from captionless.trainer.training_job import TrainingJob
try:
    job = TrainingJob.model_validate_json(sys.argv[1])
    with writer(job.run, settings="a training") as lease:
        supervisor.run(job, int(sys.argv[2]), Path(sys.argv[3]), lease=lease)
except CaptionlessError as error:
    print(error)
    sys.exit(error.exit_code)
"""
    command = [sys.executable, "-c", code, job.model_dump_json(), str(nproc), str(log)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def ranks(job: TrainingJob) -> list[int]:
    """Process ids of the job's workers, found by their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if b"captionless.trainer.worker" in words and b"torch.distributed.run" not in words:
                    document = Path(words[words.index(b"--job") + 1].decode()).read_text()
                    found += [int(entry.name)] * (TrainingJob.model_validate_json(document).run == job.run)
            except (OSError, ValueError):
                continue
    return found
