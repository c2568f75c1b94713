"""What goes where: the gate's part that is about several objects, the splits, and the shards."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from captionless.errors import DataError, SpecError
from captionless.spec.data import DataSpec, SourceKind
from captionless.stages.listing.before import Before
from captionless.stages.listing.duplicates import Group, ReadDigest, copies, describe, find_groups
from captionless.stages.listing.gathered import KEPT, Gathered
from captionless.stages.listing.layout import NONE, SPLITS, Layout, lay_out
from captionless.store.listing import VERDICTS


def decide(data: DataSpec, gathered: Gathered, before: Before, read: ReadDigest) -> tuple[Layout, list[Group]]:
    """Where the objects go, and the groups of kept ones with the same content. Drops objects from `gathered`.

    read: see `duplicates.find_groups`.

    Raises:
        DataError: there are copies, and `data.duplicates` is error.
        SpecError: the source states another split of an object than is sealed.
    """
    if data.split != "hash":
        _check_stated(data, gathered, before)
    sealed = before.splits != NONE
    splits = np.where(sealed, before.splits, gathered.split).astype(np.int8)
    reasons = dict(gathered.reasons)
    # What is kept is older than what was left out, so that a copy that was dropped never takes the other one's place.
    youth = (before.shards == NONE).astype(np.int8) + ~sealed
    groups = find_groups(gathered, before.contents, youth, data.limits.bytes, read)
    if data.duplicates == "error" and (count := copies(groups)):
        raise DataError(
            f"data.duplicates: {count:,} {'objects have' if count > 1 else 'object has'} the same content as others: "
            f"{describe(gathered, groups)}"
        )
    by_hash = data.split == "hash" and data.source.kind is not SourceKind.parametric
    for group in groups:
        for place in group.places[1:]:
            if data.duplicates == "drop":
                gathered.verdict[place] = 1 + VERDICTS.index("duplicate")
                reasons[place] = f"same content as {gathered.key(group.oldest)}"
            if by_hash and not sealed[place]:
                splits[place] = splits[group.oldest]  # also of one that is dropped: it may be let in later
    for place in _of_small_categories(gathered, data.min_per_category):
        gathered.verdict[place] = 1 + VERDICTS.index("category")
        reasons[place] = f"its category has fewer than {data.min_per_category} objects"
    shards = lay_out(splits, gathered.kept, gathered.order, before.shards, data.shard_objects)
    kept = [Group(tuple(p for p in group.places if gathered.verdict[p] == KEPT)) for group in groups]
    return Layout(splits, shards, before.contents, reasons), [group for group in kept if len(group.places) > 1]


def _check_stated(data: DataSpec, gathered: Gathered, before: Before) -> None:
    moved = np.flatnonzero((before.splits != NONE) & (before.splits != gathered.split))
    if len(moved):
        key, was, now = gathered.key(moved[0]), SPLITS[before.splits[moved[0]]], SPLITS[gathered.split[moved[0]]]
        more = f" and {len(moved) - 1:,} more" if len(moved) > 1 else ""
        raise SpecError(
            f"{data.source.url}: split of {key}{more}: {now}, but sealed as {was}: no object may move between training "
            f"and test; set it back, or choose another `output`"
        )


def _of_small_categories(gathered: Gathered, least: int) -> Sequence[int]:
    kept = gathered.kept
    counts = np.bincount(gathered.category[kept], minlength=len(gathered.categories))
    found: list[int] = np.flatnonzero(kept & (counts[gathered.category] < least)).tolist()
    return found
