"""What objects may be taken for in zero-shot classification: every class of a data set, with or without test object.

Without the classes that no test object is of, the task would be easier than the data set's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from captionless.store import objects
from captionless.telemetry.progress import say

_NAMED = 10


def digest(classes: Sequence[str], names: Sequence[str]) -> str:
    """Of the classes and what the prompts call each: figures are comparable only where it is the same."""
    return objects.digest(list(classes), list(names))


def tell(what: str, classes: Sequence[str], absent: Sequence[str]) -> None:
    """Says on stderr which of the classes have no test object, if any."""
    if absent:
        named = ", ".join(absent[:_NAMED]) + (", ..." if len(absent) > _NAMED else "")
        say(
            f"{what}: {len(absent):,} of {len(classes):,} classes have no test object and are candidates of zero-shot "
            f"classification all the same: {named}"
        )


def labels(classes: Sequence[str], names: Sequence[str]) -> list[str]:
    """What a page calls each class: its name, with the class itself where several have the same."""
    count = Counter(names)
    return [f"{name} ({own})" if count[name] > 1 else name for own, name in zip(classes, names, strict=True)]
