"""An Alignment as these commands read it: conditions, stages, whether and how it ended.

The operator writes the status, which may be behind the spec: an end counts only if the status is
about the newest generation and the newest request for a retry.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from captionless.errors import CaptionlessError, DataError, PodFailureAction, SpecError, did_you_mean, exit_codes
from captionless.kube import stage_record
from captionless.kube.api_errors import Forbidden, NotFound, Unauthorized
from captionless.kube.condition_types import PROGRESSING, SUCCEEDED, SUSPENDED
from captionless.kube.jobs import names
from captionless.kube.jobs.operator import KIND
from captionless.kube.observed_state import RETRY, Pod, newest_pods, pod
from captionless.kube.stage_record import StageRecord, StageState

if TYPE_CHECKING:
    from captionless.kube.api import KubernetesApi, Object


@dataclass(frozen=True)
class Condition:
    """A metav1.Condition; `status` is empty where there is none."""

    status: str = ""
    reason: str = ""
    message: str = ""

    @property
    def true(self) -> bool:
        return self.status == "True"


@dataclass(frozen=True)
class AlignmentView:
    """An Alignment's object."""

    found: Object

    @property
    def name(self) -> str:
        return str(self.found["metadata"]["name"])

    @property
    def status(self) -> Object:
        return self.found.get("status") or {}

    @property
    def output(self) -> str:
        """Where its outputs are stored."""
        return str((self.found.get("spec") or {}).get("output", ""))

    @property
    def created(self) -> str:
        return str(self.found["metadata"].get("creationTimestamp", ""))

    @property
    def up_to_date(self) -> bool:
        """The status is about the newest spec and the newest request for a retry."""
        metadata = self.found["metadata"]
        asked = (metadata.get("annotations") or {}).get(RETRY, "")
        current = int(self.status.get("observedGeneration") or 0) >= int(metadata.get("generation") or 0)
        return current and asked == self.status.get("retry", "")

    @property
    def stages(self) -> list[StageRecord]:
        """In the plan's order."""
        listed = [str(s.get("name")) for s in self.status.get("stages") or ()]
        return list(stage_record.read(self.status, listed).values())

    def in_state(self, state: StageState) -> list[StageRecord]:
        return [s for s in self.stages if s.state is state]

    def condition(self, kind: str) -> Condition:
        listed: list[Object] = self.status.get("conditions") or []
        found = next((c for c in listed if c.get("type") == kind), {})
        return Condition(*(str(found.get(k, "")) for k in ("status", "reason", "message")))

    @property
    def summary(self) -> Condition:
        return self.condition(SUCCEEDED)

    @property
    def hindrance(self) -> Condition | None:
        """What keeps a stage that should be running from making progress."""
        found = self.condition(PROGRESSING)
        return found if found.status == "False" and not self.ended else None

    @property
    def suspended(self) -> Condition:
        return self.condition(SUSPENDED)

    @property
    def ended(self) -> bool:
        """It succeeded or failed, and neither a change nor a retry was requested since."""
        return self.up_to_date and self.summary.status in ("True", "False")

    def figures(self) -> dict[str, dict[str, str]]:
        """training -> name -> number, as the evaluation reported them."""
        return {
            str(r.get("run")): {str(f.get("name")): str(f.get("value")) for f in r.get("figures") or ()}
            for r in self.status.get("results") or ()
        }


def find(api: KubernetesApi, name: str) -> AlignmentView:
    """The Alignment of that name. NotFound suggests the nearest name."""
    found = api.get(KIND, api.namespace, name)
    if found is not None:
        return AlignmentView(found)
    known: list[str] = []
    with suppress(Forbidden, Unauthorized):  # who may read this one may not be allowed to list the others
        known = sorted(o["metadata"]["name"] for o in api.list(KIND))
    there = f" (there are: {', '.join(known[:10])})" if known else ""
    raise NotFound(f'no alignment "{name}" in namespace {api.namespace}{did_you_mean(name, known)}{there}')


def selector(name: str, stage: str = "") -> str:
    """The label selector of a run's objects, or of those of one of its stages."""
    marks = {names.ALIGNMENT: name, **({names.STAGE: stage} if stage else {})}
    return ",".join(f"{k}={v}" for k, v in marks.items())


def pods(objects: Any) -> list[Pod]:
    """Pods from their objects, oldest first."""
    return sorted(map(pod, objects), key=lambda p: (p.created.timestamp() if p.created else 0.0, p.name))


def failure(api: KubernetesApi, run: AlignmentView) -> CaptionlessError:
    """Why a run failed, as an error with the exit code of the pods that failed."""
    words = f"{run.name} failed: {run.summary.message or run.summary.reason}"
    if run.summary.reason == "SpecInvalid":
        return SpecError(words)
    codes: set[int] = set()
    for stage in run.in_state(StageState.failed):
        found = [p for p in pods(api.list("Pod", selector(run.name, stage.name))) if p.attempt == stage.attempt]
        codes |= {p.end.exit_code for p in newest_pods(found).values() if p.end is not None and p.phase == "Failed"}
    if codes.intersection(exit_codes(PodFailureAction.fail_job)):
        return SpecError(words)
    return DataError(words) if codes.intersection(exit_codes(PodFailureAction.fail_index)) else CaptionlessError(words)
