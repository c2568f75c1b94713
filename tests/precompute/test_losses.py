"""What of objects was lost: as records, as errors, and counted."""

from __future__ import annotations

import json

import pytest

from captionless.precompute import losses
from captionless.precompute.losses import by_kind, from_json, refused, summary, to_json
from captionless.precompute.meshes.reading import KINDS, Loss
from captionless.stages.remedies import loss_remedy, remedy

TEXTURE, SKIN = Loss("texture missing", "wood.png"), Loss("skin not applied", "Armature")


@pytest.mark.parametrize(
    ("strict", "broken"),
    [("none", []), ("geometry", [SKIN]), ("appearance", [TEXTURE]), ("all", [TEXTURE, SKIN])],
)
def test_strict_refuses_losses_of_its_sort(strict: losses.Strict, broken: list[Loss]) -> None:
    reason = refused((TEXTURE, SKIN), strict)
    assert bool(reason) == bool(broken)
    for loss in (TEXTURE, SKIN):
        assert (losses.text(loss) in reason) == (loss in broken)
        assert bool(refused((loss,), strict)) == (loss in broken)
    assert not refused((), strict)
    if reason:
        assert remedy(reason).kind == "strict"


def test_a_record_gives_the_losses_back() -> None:
    assert from_json(to_json((TEXTURE, SKIN))) == (TEXTURE, SKIN)
    assert to_json(()) == ""
    assert from_json("") == from_json(None) == ()
    assert from_json('[["what a later release loses", "x"], ["texture missing", "wood.png"]]') == (TEXTURE,)


def test_a_record_stays_small_and_keeps_secrets() -> None:
    many = [
        Loss("texture missing", f"https://user:secret@host/{'x' * 5000}{n}.png?X-Amz-Signature=abc")
        for n in range(9999)
    ]
    stored = to_json([SKIN, *many])
    assert len(stored) < 3000
    assert "secret" not in stored
    assert "abc" not in stored
    assert json.loads(stored)[-1] == ["texture missing", "and 9,994 more"]
    assert from_json(stored)[0] == SKIN


def test_objects_are_counted_once_a_kind() -> None:
    counts = by_kind([(TEXTURE, TEXTURE), (SKIN, TEXTURE), ()])
    assert counts == {"texture missing": 2, "skin not applied": 1}
    assert summary(counts) == "texture missing 2, skin not applied 1"


def test_every_kind_has_a_remedy_of_its_own() -> None:
    assert len({loss_remedy(kind) for kind in KINDS}) == len(KINDS)
    assert loss_remedy("of a later release")
