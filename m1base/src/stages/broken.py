"""Broken objects: counted and named; more than `data.maxSkipped` or `data.maxSkippedShare` allow fail the stage.

A stage decides at its end, when every object has been tried, so that all broken ones are known after one run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from captionless.errors import DataError
from captionless.precompute.sources import ObjectRef, Source
from captionless.spec.data import DataSpec

_NAMED = 5


def content(source: Source, ref: ObjectRef) -> str:
    """The digest of an object's content, for a fingerprint; for an unreadable one the reason, reported on loading.

    A changed message would change the fingerprint of stored shards that contain such an object.
    """
    try:
        return source.digest(ref)
    except DataError as error:
        return f"unreadable: {error}"


@dataclass(frozen=True)
class Limit:
    """How many broken objects may be skipped: `count`, or `share` of all objects if that is more; and the option or
    fields that set it."""

    count: int
    name: str = "data.maxSkipped"
    share: float = 0.0

    def allows(self, listed: int) -> int:
        """How many of `listed` objects."""
        # A share of 0.29 means 29 of 100, where 0.29 * 100 is a little less than 29.
        return max(self.count, math.floor(self.share * listed + 1e-6))


def limit_of(data: DataSpec) -> Limit:
    """The limit that `data.maxSkipped` and `data.maxSkippedShare` set."""
    return Limit(data.max_skipped, share=data.max_skipped_share)


def refuse(
    skipped: Sequence[Mapping[str, str]], allowed: int | Limit, listed: int = 0, count: int | None = None
) -> None:
    """DataError when more objects are broken than may be skipped.

    `skipped` holds the `key` and `reason` of each, or of some of `count`; `listed` is how many objects there are in
    all, broken ones included.
    """
    count = len(skipped) if count is None else count
    limit = allowed if isinstance(allowed, Limit) else Limit(allowed)
    allows = limit.allows(listed)
    if count > allows:
        named = "; ".join(f"{s['key']}: {s['reason']}" for s in skipped[:_NAMED])
        named_count = min(len(skipped), _NAMED)
        more = f"; and {count - named_count} more" if count > named_count else ""
        by = f"{limit.name}Share" if allows > limit.count else limit.name
        raise DataError(f"{count} broken object{'s' if count > 1 else ''} ({by} allows {allows}): {named}{more}")
