"""Lines and words of text formats: what their readers share, for compiled code and around it.

A line ends with a line feed, a carriage return, or both. Any other byte up to a space is a blank.
"""

from __future__ import annotations

import codecs

import numba
import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError
from captionless.precompute.meshes.decimals import number_of

_SHOWN = 40  # characters of a word in an error
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def plain(data: bytes) -> bytes:
    """A text file without its byte order mark, in UTF-8. DataError when it is not the UTF-16 that its mark says."""
    if data.startswith(codecs.BOM_UTF8):
        return data[len(codecs.BOM_UTF8) :]
    if data.startswith(_UTF_16):
        try:
            return data.decode("utf-16").encode()
        except UnicodeError as error:
            raise DataError("begins as UTF-16 text, which it is not") from error
    return data


def name_of(raw: bytes) -> str:
    """A name in a text file: in UTF-8, or where it is not, in Latin-1, as old exporters write."""
    try:
        return raw.decode().strip()
    except UnicodeDecodeError:
        return raw.decode("latin-1").strip()


def shown(word: bytes) -> str:
    """A piece of a file for an error: of readable length, and without control characters."""
    text = repr(word[:_SHOWN].decode("utf-8", "replace"))
    return text if len(word) <= _SHOWN else f"{text[:-1]}...'"


def line_of(data: bytes, at: int) -> int:
    """The number of the line, from 1, that the byte at `at` stands in."""
    return 1 + data.count(b"\n", 0, at) + data.count(b"\r", 0, at) - data.count(b"\r\n", 0, at + 1)


def wrong(data: bytes, at: int, expected: str) -> DataError:
    """The error about the word at `at`."""
    if at >= len(data):
        return DataError(f"ends where {expected} was expected: it is truncated")
    end = word_end(np.frombuffer(data, np.uint8), at)
    found = f"not {shown(data[at:end])}" if end > at else "where the line ends"
    return DataError(f"line {line_of(data, at)}: expected {expected}, {found}")


def undecided(data: bytes, start: int, end: int) -> float:
    """The number in data[start:end], which compiled code has not decided. DataError if it is none."""
    try:
        return number_of(data[start:end].decode())
    except (ValueError, UnicodeDecodeError):
        raise DataError(f"line {line_of(data, start)}: expected a number, not {shown(data[start:end])}") from None


@numba.njit(cache=True, nogil=True)
def is_end(byte: int) -> bool:
    """Whether a line ends with this byte."""
    return byte == 10 or byte == 13


@numba.njit(cache=True, nogil=True)
def after_blanks(data: NDArray[np.uint8], at: int) -> int:
    """The first byte from `at` on that is no blank: of a word, or the end of the line or of the file."""
    while at < len(data) and data[at] <= 32 and not is_end(data[at]):
        at += 1
    return at


@numba.njit(cache=True, nogil=True)
def after_white(data: NDArray[np.uint8], at: int) -> int:
    """The first byte from `at` on of a word, on this line or a later one, or the end of the file."""
    while at < len(data) and data[at] <= 32:
        at += 1
    return at


@numba.njit(cache=True, nogil=True)
def word_end(data: NDArray[np.uint8], at: int) -> int:
    while at < len(data) and data[at] > 32:
        at += 1
    return at


@numba.njit(cache=True, nogil=True)
def line_end(data: NDArray[np.uint8], at: int) -> int:
    while at < len(data) and not is_end(data[at]):
        at += 1
    return at


@numba.njit(cache=True, nogil=True)
def is_word(data: NDArray[np.uint8], at: int, end: int, word: bytes) -> bool:
    """Whether data[at:end] is a word, which is given in lower case, in any case."""
    if end - at != len(word):
        return False
    for i in range(end - at):
        byte = data[at + i]
        if 65 <= byte <= 90:
            byte += 32
        if byte != word[i]:
            return False
    return True


@numba.njit(cache=True, nogil=True)
def noted(notes: NDArray[np.int64], count: int, row: int, column: int, start: int, end: int) -> NDArray[np.int64]:
    """`notes` (N, 4) with one more after `count` of them: that a number at a row and column is undecided, and where its
    word stands."""
    if count == len(notes):
        more = np.empty((2 * count, 4), np.int64)
        for i in range(count):
            for j in range(4):
                more[i, j] = notes[i, j]
        notes = more
    notes[count, 0] = row
    notes[count, 1] = column
    notes[count, 2] = start
    notes[count, 3] = end
    return notes
