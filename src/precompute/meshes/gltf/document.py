"""The JSON of a glTF file: every value is checked as it is asked for, and an error says where it stands.

Nothing is validated that no view needs: a file is as good as what is drawn of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError

_SHOWN = 40  # characters of a wrong value


class Entry:
    """An object of the JSON, and its place in the document, such as `meshes[0].primitives[2]`.

    A property that is `null` counts as absent. Every method raises DataError for a value of another kind.
    """

    __slots__ = ("_properties", "at")

    def __init__(self, value: Any, at: str = "") -> None:
        if not isinstance(value, dict):
            raise DataError(f"{at or 'the file'}: expected an object, found {_shown(value)}")
        self._properties: dict[str, Any] = value
        self.at = at

    def place(self, name: str) -> str:
        """Where the property of that name stands."""
        return f"{self.at}.{name}" if self.at else name

    def has(self, name: str) -> bool:
        return self._properties.get(name) is not None

    def raw(self, name: str) -> Any:
        """A property as it stands, None if it is absent."""
        return self._properties.get(name)

    def names(self) -> Sequence[str]:
        """Of the properties that are there."""
        return [name for name, value in self._properties.items() if value is not None]

    def index(self, name: str) -> int | None:
        """A whole number of at least 0, or None if it is absent."""
        value = self._properties.get(name)
        return None if value is None else _whole(value, self.place(name))

    def whole(self, name: str, default: int | None = None) -> int:
        """A whole number of at least 0; without a default it must be there."""
        value = self.index(name)
        if value is not None:
            return value
        if default is None:
            raise DataError(f"{self.place(name)}: missing")
        return default

    def number(self, name: str, default: float) -> float:
        value = self._properties.get(name)
        return default if value is None else _number(value, self.place(name))

    def numbers(self, name: str, default: Sequence[float] | None = None) -> NDArray[np.float64] | None:
        """A list of numbers, as long as the default if there is one."""
        found = self._list(name)
        if found is None:
            return None if default is None else np.array(default, np.float64)
        if default is not None and len(found) != len(default):
            raise DataError(f"{self.place(name)}: expected {len(default)} numbers, found {len(found)}")
        at = self.place(name)
        return np.array([_number(value, at) for value in found], np.float64)

    def vector(self, name: str, default: Sequence[float]) -> NDArray[np.float64]:
        """As many numbers as the default has."""
        found = self.numbers(name, default)
        assert found is not None
        return found

    def indices(self, name: str) -> list[int]:
        """A list of whole numbers of at least 0; empty if it is absent."""
        at = self.place(name)
        return [_whole(value, at) for value in self._list(name) or ()]

    def text(self, name: str, default: str = "") -> str:
        value = self._properties.get(name)
        if value is None:
            return default
        if not isinstance(value, str):
            raise DataError(f"{self.place(name)}: expected text, found {_shown(value)}")
        return value

    def texts(self, name: str) -> list[str]:
        found = self._list(name) or []
        for value in found:
            if not isinstance(value, str):
                raise DataError(f"{self.place(name)}: expected names, found {_shown(value)}")
        return found

    def flag(self, name: str, default: bool) -> bool:
        value = self._properties.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise DataError(f"{self.place(name)}: expected true or false, found {_shown(value)}")
        return value

    def entry(self, name: str) -> Entry | None:
        value = self._properties.get(name)
        return None if value is None else Entry(value, self.place(name))

    def count(self, name: str) -> int:
        """Length of a list; 0 if it is absent."""
        return len(self._list(name) or ())

    def item(self, name: str, index: int) -> Entry:
        """An object of a list that is that long."""
        found = self._list(name)
        assert found is not None
        return Entry(found[index], f"{self.place(name)}[{index}]")

    def entries(self, name: str) -> list[Entry]:
        return [self.item(name, i) for i in range(self.count(name))]

    def extension(self, name: str) -> Entry | None:
        """What an extension adds to this object."""
        extensions = self.entry("extensions")
        return None if extensions is None else extensions.entry(name)

    def _list(self, name: str) -> list[Any] | None:
        value = self._properties.get(name)
        if value is not None and not isinstance(value, list):
            raise DataError(f"{self.place(name)}: expected a list, found {_shown(value)}")
        return value


class Document:
    """A glTF file's JSON, and the binary chunk of a GLB (None if there is none)."""

    def __init__(self, root: Entry, binary: memoryview | None = None) -> None:
        self.root = root
        self.binary = binary

    def count(self, kind: str) -> int:
        return self.root.count(kind)

    def get(self, kind: str, index: int, by: str) -> Entry:
        """The object of a top-level list that `by`, a place in the document, names. DataError if there is none."""
        if index >= (there := self.root.count(kind)):
            raise DataError(f"{by}: names {kind}[{index}], but there are {there}")
        return self.root.item(kind, index)


def _whole(value: Any, at: str) -> int:
    # JSON has one kind of number: 3.0 is whole, true is none
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 53:
        raise DataError(f"{at}: expected a whole number of at least 0, found {_shown(value)}")
    return value


def _number(value: Any, at: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataError(f"{at}: expected a number, found {_shown(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise DataError(f"{at}: expected a finite number, found {_shown(value)}")
    return number


def _shown(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", type(None): "null", bool: "true or false"}
    if type(value) in kinds:
        return kinds[type(value)]
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
