"""Why no more stages of a run may start by this operator, although nothing has failed.

The run was made by another operator, or for a newer one. What runs goes on; a stage that starts with less than what the
run was made with would mix results, or fail.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from captionless import __version__
from captionless.controller.diagnosis import Cause
from captionless.controller.pin import Pin
from captionless.kube.observed_state import Alignment
from captionless.spec.plan import Stage

_REMEDY = "run that operator again, or delete the run and submit it anew: what is stored is kept"


def by_spec(pin: Pin | None, document: Mapping[str, Any], unknown: Sequence[str], begun: bool) -> Cause | None:
    """Fields that this operator does not know, or that have changed. Those of `resources` never change results, and
    what was added after the run was made is no part of it."""
    changed = pin.changed(document) if pin is not None else ()
    wrong = []
    for path in unknown:
        section = path.partition(".")[0]
        late = pin is not None and section not in changed
        if not (begun and (late or path.startswith("resources."))):
            wrong.append(path)
    if wrong:
        what = "what runs goes on, and nothing else starts" if begun else "nothing starts"
        told = f"{', '.join(wrong)}: unknown to this operator ({__version__}); {what}; upgrade it"
        return Cause("UnknownFields", told)
    if changed:
        fields = ", ".join(changed)
        return Cause(
            "SpecChanged", f"{fields}: not as the run was made; restore it, or delete the run and submit it anew"
        )
    return None


def by_plan(alignment: Alignment, pin: Pin | None, stages: Sequence[Stage], begun: Collection[str]) -> Cause | None:
    """Stages that the run does not have, or that only it has. `begun` are the names of those that have begun."""
    planned = {s.name for s in stages}
    made = set(pin.stages) if pin is not None else planned.difference(_skipped(stages, begun))
    recorded = {str(r.get("name")) for r in alignment.status.get("stages") or ()}
    other = made.symmetric_difference(planned) | recorded - planned
    if not other:
        return None
    maker = f"operator {pin.operator}" if pin is not None and pin.operator else "an earlier operator"
    names = ", ".join(sorted(other))
    return Cause(
        "OtherStages", f"made by {maker}, whose stages are others than those of {__version__} ({names}); {_REMEDY}"
    )


def _skipped(stages: Iterable[Stage], begun: Collection[str]) -> set[str]:
    """Stages that have not begun although one that needs them has: there were none when the run was made."""
    return {before for s in stages if s.name in begun for before in s.after if before not in begun}
