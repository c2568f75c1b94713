"""The header of a PLY file (G. Turk, "The PLY Polygon File Format", 1994): what its body holds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from captionless.errors import DataError, did_you_mean
from captionless.precompute.meshes.lexing import name_of, shown

Form = Literal["ascii", "binary_little_endian", "binary_big_endian"]

_FORMS: tuple[Form, ...] = ("ascii", "binary_little_endian", "binary_big_endian")
_LONGEST = 1 << 20  # bytes
_MOST = 1000  # elements, and properties of one
_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8",
}  # fmt: skip


@dataclass(frozen=True)
class Property:
    """name: in lower case, unless two differ by that alone. type: as numpy writes it, without the order of bytes.
    counter: of the length before a list; else None."""

    name: str
    type: str
    counter: str | None = None


@dataclass(frozen=True)
class Element:
    name: str
    count: int
    properties: tuple[Property, ...]

    @property
    def least(self) -> int:
        """Bytes that a row takes at least, in a binary body."""
        return sum(np.dtype(p.counter or p.type).itemsize for p in self.properties)


@dataclass(frozen=True)
class Header:
    """textures: names of pictures, which exporters write into comments. body: where it begins in the file."""

    form: Form
    elements: tuple[Element, ...]
    textures: tuple[str, ...]
    body: int


def header(data: bytes) -> Header:
    """DataError, with the line's number, when it is not as the format says or has a type that it does not know."""
    form: Form | None = None
    elements: list[tuple[str, int, list[Property]]] = []
    textures: list[str] = []
    at, number = 0, 0
    if data[:3].lower() != b"ply" or data[3:4] > b" ":
        raise DataError("is not a PLY file: it does not begin with ply")
    while True:
        line, at = _line(data, at)
        number += 1
        keyword, *words = line.split() or [b""]
        if number == 1:
            continue
        if keyword == b"format":
            form = _form(words, number)
        elif keyword == b"element":
            if len(elements) == _MOST:
                raise DataError(f"its header has more than {_MOST} elements")
            elements.append(_element(words, number, {e[0] for e in elements}))
        elif keyword == b"property":
            if not elements or len(elements[-1][2]) == _MOST:
                raise DataError(f"line {number}: expected a property of an element, of at most {_MOST}")
            elements[-1][2].append(_property(words, number, {p.name for p in elements[-1][2]}))
        elif keyword == b"comment" and words and words[0].lower() == b"texturefile":
            textures.append(name_of(line.split(None, 2)[2]) if len(words) > 1 else "")
        elif keyword == b"end_header":
            break
        elif keyword not in (b"", b"comment", b"obj_info"):
            raise DataError(f"line {number}: expected a keyword of a PLY header, not {shown(keyword)}")
    if form is None:
        raise DataError("its header has no format")
    return Header(form, tuple(Element(n, c, _folded(p)) for n, c, p in elements), tuple(t for t in textures if t), at)


def _folded(properties: list[Property]) -> tuple[Property, ...]:
    """With names in lower case, as they are by custom, where that leaves them different."""
    counts = Counter(p.name.lower() for p in properties)
    return tuple(replace(p, name=p.name.lower()) if counts[p.name.lower()] == 1 else p for p in properties)


def _line(data: bytes, at: int) -> tuple[bytes, int]:
    """The line at `at`, and where the next begins; lines end as the first does, so that no byte of the body is lost."""
    feed, back = data.find(b"\n", 0, 8), data.find(b"\r", 0, 8)
    end = b"\r\n" if 0 <= back == feed - 1 else b"\r" if back >= 0 and feed < 0 else b"\n"
    stop = data.find(end, at, _LONGEST)
    if stop < 0:
        if data[at:].rstrip() == b"end_header" and len(data) < _LONGEST:
            return data[at:], len(data)
        raise DataError("its header does not end: no end_header" if len(data) < _LONGEST else "its header is too long")
    return data[at:stop].strip(), stop + len(end)


def _form(words: list[bytes], number: int) -> Form:
    for form in _FORMS:
        if words[:1] == [form.encode()]:
            if words[1:] not in ([b"1.0"], [b"1"]):
                raise DataError(f"line {number}: expected version 1.0, not {shown(b' '.join(words[1:]))}")
            return form
    raise DataError(f"line {number}: expected one of {', '.join(_FORMS)}, not {shown(b' '.join(words))}")


def _element(words: list[bytes], number: int, known: set[str]) -> tuple[str, int, list[Property]]:
    name = name_of(words[0]) if words else ""
    if len(words) != 2 or not words[1].isdigit() or len(words[1]) > 15:
        raise DataError(f"line {number}: expected an element's name and count, not {shown(b' '.join(words))}")
    if name in known:
        raise DataError(f"line {number}: there is a second element {name}")
    return name, int(words[1]), []


def _property(words: list[bytes], number: int, known: set[str]) -> Property:
    names = [name_of(word) for word in words]
    counter = None
    if names[:1] == ["list"] and len(names) == 4:
        counter, names = _type(names[1], number), names[2:]
        if counter[0] == "f":
            raise DataError(f"line {number}: expected a whole number as the length of a list, not {words[1].decode()}")
    if len(names) != 2:
        raise DataError(f"line {number}: expected a property's type and name, not {shown(b' '.join(words))}")
    if names[1] in known:
        raise DataError(f"line {number}: there is a second property {names[1]}")
    return Property(names[1], _type(names[0], number), counter)


def _type(name: str, number: int) -> str:
    found = _TYPES.get(name)
    if found is None:
        near = did_you_mean(name, list(_TYPES))
        raise DataError(f"line {number}: expected a type that the PLY format knows, not {shown(name.encode())}{near}")
    return found
