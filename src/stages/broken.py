"""Broken objects: each is counted and named; more than `data.maxSkipped` of them fail the stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from captionless.errors import DataError
from captionless.precompute.sources import ObjectRef, Source

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
    """How many broken objects may be skipped, and the option that sets it."""

    count: int
    name: str = "data.maxSkipped"


def refuse(skipped: Sequence[dict[str, str]], allowed: int | Limit) -> None:
    """DataError when more objects are broken than may be skipped; `skipped` holds the `key` and `reason` of each."""
    limit = allowed if isinstance(allowed, Limit) else Limit(allowed)
    if len(skipped) > limit.count:
        named = "; ".join(f"{s['key']}: {s['reason']}" for s in skipped[:_NAMED])
        more = f"; and {len(skipped) - _NAMED} more" if len(skipped) > _NAMED else ""
        raise DataError(
            f"{len(skipped)} broken object{'s' if len(skipped) > 1 else ''} "
            f"({limit.name} allows {limit.count}): {named}{more}"
        )
