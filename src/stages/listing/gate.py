"""The gate before pack, as far as it is about one object alone: its name, denied keys, filters, licences."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from captionless.errors import SpecError, did_you_mean
from captionless.spec.data import DataSpec
from captionless.store import objects
from captionless.store.listing import ObjectRef

LONGEST = 1024
"""Bytes of a key or a category, in UTF-8."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_NAMED = 5
_SHOWN = 100  # characters of a name


class Gate:
    """What `data` lets through. SpecError when the file of denied keys is missing."""

    def __init__(self, data: DataSpec):
        self._licences = frozenset(data.licences)
        self._filters = [_Filter(text) for text in data.filter]
        self._any: dict[str, set[str]] = {}
        for each in self._filters:
            if not each.excludes:
                self._any.setdefault(each.field, set()).add(each.value)
        self._met: set[tuple[str, str]] = set()
        self._denied = denied_keys(data.deny)
        self._found: set[str] = set()
        self._attributes: set[str] = set()
        self.licences: Counter[str] = Counter()
        """How many objects have each licence, left-out ones included."""

    def verdict(self, ref: ObjectRef) -> tuple[str, str]:
        """The gate that drops an object, one of `store.listing.VERDICTS`, and why; two empty texts if none does."""
        self.licences[ref.licence] += 1
        if reason := flaw(ref):
            return "name", reason
        if (key := ref.key.strip()) in self._denied:
            self._found.add(key)
            return "denied", "in data.deny"
        if self._filters and (reason := self._filtered(ref)):
            return "filter", reason
        if self._licences and ref.licence not in self._licences:
            return "licence", f"licence {ref.licence!r} is not in data.licences"
        return "", ""

    def check(self) -> list[str]:
        """What to tell when all objects have been seen. SpecError for a filter by what no object has."""
        for each in self._filters:
            if each.field not in {*_FIELDS, *self._attributes}:
                known = [*_FIELDS, *sorted(self._attributes)]
                raise SpecError(
                    f"data.filter: {each.text}: no object has an attribute {each.field!r}"
                    f"{did_you_mean(each.field, known)} (fields: {', '.join(known[:20])})"
                )
        told = [
            f"data.filter: {each.text}: no object is that"
            for each in self._filters
            if not each.excludes and (each.field, each.value) not in self._met
        ]
        unknown = sorted(self._licences - set(self.licences))
        if unknown:
            told.append(f"data.licences: no object has {_some(map(repr, unknown))}; there are {_some(self.licences)}")
        if gone := sorted(self._denied - self._found):
            named = _some(map(_shown, gone))
            told.append(f"data.deny: {len(gone):,} of {len(self._denied):,} keys are not in the source: {named}")
        return told

    def _filtered(self, ref: ObjectRef) -> str:
        self._attributes.update(ref.attributes or ())
        for each in self._filters:
            value = _value(ref, each.field)
            if value == each.value:
                self._met.add((each.field, value))
            if (value == each.value) if each.excludes else (value not in self._any[each.field]):
                return f"{each.field} is {value!r}, and data.filter has {each.text}"
        return ""


class _Filter:
    def __init__(self, text: str):
        self.text = text
        field, _, self.value = text.partition("=")
        self.excludes = field.endswith("!")
        self.field = field.removesuffix("!")


_FIELDS = ("key", "category", "source", "licence", "text")


def _value(ref: ObjectRef, field: str) -> str:
    return getattr(ref, field) or "" if field in _FIELDS else (ref.attributes or {}).get(field, "")


def flaw(ref: ObjectRef) -> str:
    """Why an object cannot be stored under its name; empty if it can."""
    for what, name in (("key", ref.key), ("category", ref.category), ("file", ref.url or "")):
        try:
            size = len(name.encode())
        except UnicodeEncodeError:
            return f"its {what} is not valid Unicode: {_shown(name)}"
        if _CONTROL.search(name):
            return f"its {what} has control characters: {_shown(name)}"
        if size > LONGEST and what != "file":
            return f"its {what} has {size:,} bytes, at most {LONGEST:,} are possible"
    if not ref.category.strip():
        return "its category is empty"
    segments = ref.key.split("/")
    if any(segment in ("", ".", "..") for segment in segments) or "." in segments[-1]:
        return f"its key has an empty segment, `.` or `..`, or a dot in the last one: {_shown(ref.key)}"
    return ""


def _shown(name: str) -> str:
    text = repr(name)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def denied_keys(url: str) -> frozenset[str]:
    """The keys in the file that `data.deny` names, without blanks around them; none if it is empty. SpecError when
    there is no such file."""
    if not url:
        return frozenset()
    try:
        content = objects.read_bytes(url)
    except (FileNotFoundError, KeyError) as error:
        raise SpecError(f"data.deny: {url}: no such file; expected a text file of keys, one per line") from error
    try:
        lines = content.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise SpecError(f"data.deny: {url}: not a text file in UTF-8 ({error.reason})") from error
    return frozenset(filter(None, map(str.strip, lines)))


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:_NAMED]) + (f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else "")
