"""Replacing a Job whose back-off has become too long.

A Job waits before it replaces a failed pod: 10 s, doubled by every failure of the same index, ignored ones
included, up to 10 min, and never reset. A long training with occasional disruptions would
soon spend more time waiting than computing. So when the next wait would exceed 80 s, the Job is
deleted and the next attempt starts, with a new back-off, and resumes from what is stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from captionless.controller.actions import Delete
from captionless.controller.stage_status import RunStatus
from captionless.errors import PodFailureAction, exit_codes
from captionless.kube.jobs.job import RETRIES
from captionless.kube.observed_state import Pod, Workload, newest_pods
from captionless.kube.stage_record import StageState

PATIENCE = 80
FIRST, LONGEST = 10, 600
_FINAL = exit_codes(PodFailureAction.fail_job, PodFailureAction.fail_index)


def delay(failures: int) -> int:
    """Seconds that a Job waits after this many failures of an index."""
    return min(FIRST << max(failures - 1, 0), LONGEST)


def overdue(workload: Workload, pods: Sequence[Pod]) -> bool:
    """Whether a pod of the Job failed whose replacement would wait too long."""
    if workload.finished or workload.deleting or workload.suspended:
        return False
    for pod in newest_pods(pods).values():
        if pod.phase != "Failed" or pod.index in workload.failed_indexes:
            continue
        replaced = pod.disrupted or (pod.failures < RETRIES and not (pod.end and pod.end.exit_code in _FINAL))
        if replaced and delay(pod.failures + pod.ignored + 1) > PATIENCE:
            return True
    return False


def backoff_reset(run: RunStatus) -> Iterator[Delete]:
    """The Jobs to be replaced."""
    for s in run.stages:
        w = s.workload
        if s.state is StageState.running and w is not None and overdue(w, s.current):
            yield Delete(w, f"its back-off exceeds {PATIENCE} s; starting the next attempt at once")
