"""Text that is escaped as URLs are (`box%2F01`), or as some write a slash in JSON (`box\\/01`), as plain text."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

LONGEST = 3
"""Bytes that one byte is escaped as, at most."""

_ESCAPED = re.compile(rb"%[0-9A-Fa-f]{2}|\\/")
_PERCENT, _BACKSLASH, _SLASH = b"%\\/"
_HEX = np.isin(np.arange(256), list(b"0123456789ABCDEFabcdef"))
_AT_ONCE = 1 << 16  # bytes that are looked at together, in the processor's cache
_APART = 1024  # bytes between two escapes that are not unescaped together


def unescaped(data: bytes, reach: int) -> Iterator[tuple[bytes, bool, bool]]:
    """The parts of some bytes in which something is escaped, as plain text, with at least `reach` bytes on both sides;
    of each whether it is from the beginning on, and to the end."""
    if b"%" not in data and b"\\/" not in data:
        return
    codes = np.frombuffer(data, np.uint8)
    places = np.concatenate([_places(codes, start) for start in range(0, len(codes), _AT_ONCE)])
    first, second = (codes[np.minimum(places + step, len(codes) - 1)] for step in (1, 2))
    places = places[np.where(codes[places] == _BACKSLASH, first == _SLASH, _HEX[first] & _HEX[second])]
    if not len(places):
        return
    around = max(reach, _APART)
    gaps = np.flatnonzero(np.diff(places) > 2 * around)
    starts, ends = places[np.append(0, gaps + 1)], places[np.append(gaps, -1)]
    for low, high in zip((starts - around).tolist(), (ends + LONGEST + around).tolist(), strict=True):
        yield _ESCAPED.sub(_plain, data[max(0, low) : high]), low <= 0, high >= len(data)


def _places(codes: NDArray[np.uint8], start: int) -> NDArray[np.int64]:
    """Where an escape may begin, from a place on."""
    some = codes[start : start + _AT_ONCE]
    return np.flatnonzero((some == _PERCENT) | (some == _BACKSLASH)) + start


def _plain(escaped: re.Match[bytes]) -> bytes:
    text = escaped.group()
    return text[1:] if text[0] == _BACKSLASH else bytes([int(text[1:], 16)])
