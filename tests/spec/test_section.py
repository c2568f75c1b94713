"""What of a section identifies stored output."""

from __future__ import annotations

from typing import ClassVar

from captionless.spec.alignment import AlignmentSpec
from captionless.spec.evaluation import EvalSpec
from captionless.spec.section import Section
from captionless.spec.train import TrainSpec


class _Below(Section):
    old_field: int = 1
    """One."""
    new_field: tuple[str, ...] = ()
    """Another."""

    LATER: ClassVar = frozenset({"new_field"})


class _Whole(Section):
    below: _Below = _Below()
    fresh: _Below = _Below()
    """A whole section that came later."""
    plain: int = 0
    """One."""

    LATER: ClassVar = frozenset({"fresh"})


def test_a_field_that_came_later_says_nothing_with_its_default() -> None:
    assert _Whole().determining() == {"below": {"old_field": 1}, "plain": 0}
    assert _Whole(below=_Below(new_field=("a",))).determining({"plain"}) == {
        "below": {"old_field": 1, "new_field": ["a"]}
    }
    found = _Whole(fresh=_Below(old_field=2)).determining(by_alias=True)
    assert found == {"below": {"oldField": 1}, "fresh": {"oldField": 2}, "plain": 0}


def test_only_fields_with_defaults_come_later() -> None:
    for section in Section.__subclasses__():
        for name in section.LATER:
            assert not section.model_fields[name].is_required(), (section, name)


def test_a_run_is_described_by_all_that_determines_it() -> None:
    spec = AlignmentSpec.model_validate({"data": {"source": {"kind": "parametric"}}})
    found = spec.described()
    assert list(found) == ["data", "clip", "landmarks", "similarity", "train", "eval"]
    aliases = {field.alias for name, field in TrainSpec.model_fields.items() if name not in TrainSpec.OPERATIONAL}
    later = {TrainSpec.model_fields[name].alias for name in TrainSpec.LATER}
    assert set(found["train"]) == aliases - later
    assert not set(found["eval"]) & {EvalSpec.model_fields[name].alias for name in EvalSpec.OPERATIONAL}
