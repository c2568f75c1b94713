"""What objects may be taken for in zero-shot classification: every class of a data set, with or without test object.

Without the classes that no test object is of, the task would be easier than the data set's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Sequence

from captionless.clip.class_names import alike, repeated, spoken
from captionless.errors import DataError
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


def check(
    what: str,
    classes: Sequence[str],
    names: Sequence[str],
    present: Collection[str],
    tokens: Sequence[Hashable] | None = None,
) -> None:
    """Refuses classes with the same prompts, of which no object can be told to be the one or the other.

    present: the classes that have a test object. Among the others such a pair is only told: it makes one candidate
    count twice, and no object's class is wrong for it. tokens: what the CLIP model reads of each class's prompts; None
    where it is not at hand: it is guessed.

    Raises:
        DataError: one of a pair has test objects, so these would all count as wrong.
    """
    for first, second in alike(names) if tokens is None else repeated(tokens):
        one, other = classes[first], classes[second]
        line = f'classes "{one}" and "{other}" have the same prompts, of "{spoken(names[first])}"'
        remedy = "give one of them another name in data.classNames"
        if {one, other}.isdisjoint(present):
            say(f"{what}: {line}, and count as two candidates of zero-shot classification; {remedy}")
        else:
            raise DataError(f"{line}, so that zero-shot classification would count their objects as wrong; {remedy}")


def labels(classes: Sequence[str], names: Sequence[str]) -> list[str]:
    """What a page calls each class: its name, with the class itself where several have the same."""
    count = Counter(names)
    return [f"{name} ({own})" if count[name] > 1 else name for own, name in zip(classes, names, strict=True)]
