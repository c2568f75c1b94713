"""What is said of a listing: its facts, for its readers, and what its user should know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from captionless.stages.listing.duplicates import Group, copies, describe
from captionless.stages.listing.gathered import Gathered
from captionless.stages.listing.layout import SPLITS, Layout
from captionless.store.listing import VERDICTS

_TRAIN, _TEST = SPLITS.index("train"), SPLITS.index("test")
_NAMED = 5


def facts(gathered: Gathered, layout: Layout, groups: Sequence[Group]) -> dict[str, Any]:
    """Of the listing as a whole, in objects: `categories` by name [train, test], `left_out` by verdict, `copies`: those
    that have the same content as an older one."""
    counts = zip(*(_by_category(gathered, layout, split) for split in (_TRAIN, _TEST)), strict=True)
    categories = {
        name: [train, test] for name, (train, test) in zip(gathered.categories, counts, strict=True) if train + test
    }
    return {"categories": categories, "left_out": left_out(gathered), "copies": copies(groups)}


def left_out(gathered: Gathered) -> dict[str, int]:
    """How many objects were left out, by verdict."""
    counted = Counter(gathered.verdict.tolist())
    return {name: counted[number] for number, name in enumerate(VERDICTS, start=1) if counted[number]}


def lines(gathered: Gathered, layout: Layout, groups: Sequence[Group]) -> list[str]:
    """What is left out, classes that cannot be tested, copies of training objects in the test split."""
    found = []
    for name, count in left_out(gathered).items():
        places = np.flatnonzero(gathered.verdict == 1 + VERDICTS.index(name))[:_NAMED]
        found.append(f"{count:,} left out by {name}: {_some([gathered.key(p) for p in places], count)}")
    train, test = (_by_category(gathered, layout, split) for split in (_TRAIN, _TEST))
    untested = sorted(name for name, a, b in zip(gathered.categories, train, test, strict=True) if a and not b)
    if untested and any(test):
        found.append(
            f"{len(untested):,} of {sum(1 for a, b in zip(train, test, strict=True) if a + b):,} categories have no "
            f"test object: {_some(untested[:_NAMED], len(untested))}"
        )
    across = [group for group in groups if len({int(layout.splits[p]) for p in group.places}) > 1]
    if across:
        found.append(
            "objects with the same content are in training and test, as the source states or as they were sealed, "
            f"{len(across):,} times: {describe(gathered, across)}"
        )
    return found


def _by_category(gathered: Gathered, layout: Layout, split: int) -> list[int]:
    own = gathered.category[gathered.kept & (layout.splits == split)]
    counts: list[int] = np.bincount(own, minlength=len(gathered.categories)).tolist()
    return counts


def _some(names: Sequence[str], count: int) -> str:
    return ", ".join(names) + (f" and {count - len(names):,} more" if count > len(names) else "")
