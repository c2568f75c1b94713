"""The checks, in the order of the report, and how they are run: each in a separate process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

from captionless.doctor import formats, machine, reach, work
from captionless.doctor.finding import Finding, Subject, Verdict
from captionless.errors import CaptionlessError, Retryable, one_line
from captionless.runtime.redaction import redacted

CHECKS: dict[str, Callable[[Subject], Finding]] = {
    "packages": machine.packages,
    "extras": machine.extras,
    "processor": machine.processor,
    "memory": machine.memory,
    "disk": machine.disk,
    "gpu": machine.gpu,
    "formats": formats.formats,
    "rendering": work.rendering,
    "kernels": work.kernels,
    "clip": work.clip,
    "storage": reach.storage,
    "cluster": reach.cluster,
    "pushgateway": reach.pushgateway,
}

_PATIENCE = "10"  # seconds that a check retries an unreachable storage; a stage retries for two minutes


def run(subject: Subject, names: Sequence[str] = tuple(CHECKS), seconds: float = 120) -> Iterator[tuple[str, Finding]]:
    """The findings of the named checks, in order, each as soon as it is available.

    seconds: the time limit of a check, including a model's download.
    """
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        yield from zip(names, pool.map(lambda name: run_isolated(name, subject, seconds), names), strict=True)


def run_isolated(name: str, subject: Subject, seconds: float) -> Finding:
    """A check's finding, from a separate process; a crash or timeout is a finding as well."""
    child = subprocess.Popen(
        [sys.executable, "-m", "captionless.doctor", name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "CAPTIONLESS_STORE_RETRY_SECONDS": _PATIENCE},
        start_new_session=True,  # so that what it started ends with it
    )
    try:
        out, err = child.communicate(json.dumps(asdict(subject)), seconds)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
        remedy = "retry with a larger --patience, or check what it is waiting for"
        return Finding(Verdict.failed, f"timed out after {seconds:g} s", remedy, passing=True)
    if child.returncode:
        last = (err.strip().splitlines() or ["no output"])[-1]
        how = f"signal {-child.returncode}" if child.returncode < 0 else f"code {child.returncode}"
        return Finding(Verdict.failed, f"the check exited with {how}: {redacted(last)}", "report this as a bug")
    found = json.loads(out.splitlines()[-1])
    return Finding(**{**found, "state": Verdict(found["state"])})


def run_here(name: str, subject: Subject) -> Finding:
    """A check's finding, from this process; a user-facing error is a finding as well."""
    try:
        found = CHECKS[name](subject)
    except ImportError as error:
        found = Finding(Verdict.failed, one_line(error), "reinstall: pip install --force-reinstall captionless")
    except CaptionlessError as error:
        problem, _, remedy = str(error).splitlines()[0].rpartition("; ")
        found = Finding(
            Verdict.failed, problem or remedy, remedy if problem else "", passing=isinstance(error, Retryable)
        )
    return Finding(found.state, redacted(found.found), redacted(found.remedy), found.passing)
