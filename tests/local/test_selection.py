"""`--from` and `--only`: which stages of a plan they select."""

from __future__ import annotations

import pytest

from captionless.errors import SpecError
from captionless.local.selection import select
from captionless.spec.alignment import AlignmentSpec
from captionless.spec.plan import plan
from tests.flow.conftest import TINY

STAGES = plan(AlignmentSpec.model_validate(TINY))
NAMES = [stage.name for stage in STAGES]
TRAININGS = [name for name in NAMES if name.startswith("train-")]


def names(start: str | None, only: str | None) -> list[str]:
    return [stage.name for stage in select(STAGES, start, only)]


def test_stages_are_selected_by_name() -> None:
    assert names(None, None) == NAMES
    assert names("embed", None) == NAMES[NAMES.index("embed") :]
    assert names(None, "embed") == ["embed"]
    assert names(None, "train") == TRAININGS
    assert names("train", None) == [*TRAININGS, "eval"]


def test_an_unknown_stage_is_named_with_the_nearest() -> None:
    with pytest.raises(SpecError, match=r"'embde'.*\"embed\""):
        names("embde", None)
