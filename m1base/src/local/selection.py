"""Which stages of a plan to run."""

from __future__ import annotations

from collections.abc import Sequence

from captionless.errors import SpecError, did_you_mean
from captionless.spec.plan import Stage


def select(stages: Sequence[Stage], start: str | None, only: str | None) -> list[Stage]:
    """The stages of `--from STAGE` (it and all after it) or `--only STAGE`; `train` names all trainings."""
    names = [s.name for s in stages]
    wanted = start or only
    if wanted is None:
        return list(stages)
    matching = [n for n in names if n == wanted or n.startswith(f"{wanted}-")]
    if not matching:
        raise SpecError(f"no stage {wanted!r}{did_you_mean(wanted, names)} (stages: {', '.join(names)})")
    if only is not None:
        return [s for s in stages if s.name in matching]
    return list(stages[names.index(matching[0]) :])
