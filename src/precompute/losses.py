"""What of objects was lost on reading them: by kind for people, as JSON for records, and as errors for the strict."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

from captionless.precompute.meshes.reading import KINDS, Loss
from captionless.runtime.redaction import redacted

Strict = Literal["none", "geometry", "appearance", "all"]
"""`data.strict`."""

_NAMED = 5
_LONGEST = 200  # characters of a detail


def refused(losses: Sequence[Loss], strict: Strict) -> str:
    """Why an object with these losses is broken; empty if it is not."""
    wrong = [loss for loss in losses if strict == "all" or KINDS[loss.kind] == strict]
    if not wrong:
        return ""
    return f"data.strict is {strict}, and it has lost: {described(wrong)}"


def described(losses: Sequence[Loss]) -> str:
    """The first losses, and how many more there are, in one line."""
    more = f"; and {len(losses) - _NAMED} more" if len(losses) > _NAMED else ""
    return "; ".join(map(text, losses[:_NAMED])) + more


def text(loss: Loss) -> str:
    """A loss in one line."""
    return f"{loss.kind}: {loss.detail}" if loss.detail else loss.kind


def to_json(losses: Iterable[Loss]) -> str:
    """For a record, kind and detail of each: without secrets, and of each kind a few, since a file may have any number
    of them. Empty for none."""
    details: dict[str, list[str]] = {}
    for loss in losses:
        details.setdefault(loss.kind, []).append(" ".join(redacted(loss.detail).split())[:_LONGEST])
    listed = []
    for kind, all_of_kind in details.items():
        listed += [[kind, detail] for detail in all_of_kind[:_NAMED]]
        if len(all_of_kind) > _NAMED:
            listed.append([kind, f"and {len(all_of_kind) - _NAMED:,} more"])
    return json.dumps(listed, ensure_ascii=False) if listed else ""


def from_json(stored: str | None) -> tuple[Loss, ...]:
    """What `to_json` gave, without kinds that only another release has."""
    return tuple(Loss(kind, detail) for kind, detail in json.loads(stored or "[]") if kind in KINDS)


def by_kind(objects: Iterable[Sequence[Loss]]) -> Counter[str]:
    """How many objects have losses of each kind."""
    counts: Counter[str] = Counter()
    for losses in objects:
        counts.update({loss.kind for loss in losses})
    return counts


def summary(counts: Counter[str]) -> str:
    """Kinds and numbers of objects, in one line."""
    return ", ".join(f"{kind} {count:,}" for kind, count in by_frequency(counts))


def by_frequency(counts: Counter[str]) -> list[tuple[str, int]]:
    """Kinds and numbers of objects, the most frequent first."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
