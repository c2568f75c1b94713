"""BasisLZ: textures of ETC1S blocks, whose endpoints and selectors are entries of two codebooks.

A block of 4 x 4 texels has one colour of 5 bits a channel, one of eight sets of four steps by which its texels differ
from it, and for each texel which of the four. Slices name both entries for block after block, endpoints by those of
neighbours or by their distance from the last, selectors by how lately they were used. Opacity is a second slice, kept
in the green channel.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from captionless.precompute.meshes.ktx2.codes import bits, number, symbol, table
from captionless.precompute.meshes.ktx2.container import Damaged, Texture

_GLOBAL = struct.Struct("<2H4I")
_IMAGE = struct.Struct("<5I")
_P_FRAME = 2
_STEPS = np.array([
    [-8, -2, 2, 8], [-17, -5, 5, 17], [-29, -9, 9, 29], [-42, -13, 13, 42],
    [-60, -18, 18, 60], [-80, -24, 24, 80], [-106, -33, 33, 106], [-183, -47, 47, 183],
])  # fmt: skip
_REPEAT = 256  # the symbol that repeats the last prediction of four blocks
_LATEST = 64  # the run whose length follows


@dataclass(frozen=True)
class _Codebooks:
    """endpoints: (E, 4), red, green, blue of 5 bits, and the set of steps. selectors: (S, 16), row after row."""

    endpoints: NDArray[np.int64]
    selectors: NDArray[np.uint8]
    predictions: NDArray[np.int32]
    deltas: NDArray[np.int32]
    names: NDArray[np.int32]
    runs: NDArray[np.int32]
    history: int


def texels(texture: Texture) -> NDArray[np.uint8]:
    """(H, W, 4) of a texture. `Damaged` names the stream that is."""
    data = texture.global_data
    if len(data) < _GLOBAL.size + _IMAGE.size * texture.images:
        raise Damaged("its supercompression data end early")
    endpoints, selectors, *lengths = _GLOBAL.unpack_from(data)
    flags, color_at, color_length, alpha_at, alpha_length = _IMAGE.unpack_from(data, _GLOBAL.size)
    if flags & _P_FRAME:
        raise Damaged("it is a frame of a film, which is not read")
    start = _GLOBAL.size + _IMAGE.size * texture.images
    streams = []
    for length, what in zip(lengths[:3], ("endpoint codebook", "selector codebook", "Huffman tables"), strict=True):
        streams.append(_stream(data, start, length, what))
        start += length
    books = _codebooks(streams, endpoints, selectors)
    found = np.full((texture.height, texture.width, 4), 255, np.uint8)
    _slice(
        books, texture, _stream(texture.level, color_at, color_length, "slice of colours"), found, "slice of colours"
    )
    if texture.has_alpha or alpha_length:
        alpha = np.empty_like(found)
        what = "slice of opacity"
        _slice(books, texture, _stream(texture.level, alpha_at, alpha_length, what), alpha, what)
        found[..., 3] = alpha[..., 1]
    return found


def _stream(data: bytes, start: int, length: int, what: str) -> NDArray[np.uint8]:
    if not length or start + length > len(data):
        raise Damaged(f"its {what}: {length} bytes at {start} of {len(data)}")
    return np.frombuffer(data, np.uint8, length, start)


def _codebooks(streams: list[NDArray[np.uint8]], endpoints: int, selectors: int) -> _Codebooks:
    if not endpoints or not selectors:
        raise Damaged("its codebooks are empty")
    colors = np.zeros((endpoints, 4), np.int64)
    if not _read_endpoints(streams[0], colors):
        raise Damaged("its endpoint codebook")
    steps = np.zeros((selectors, 16), np.uint8)
    if not _read_selectors(streams[1], steps):
        raise Damaged("its selector codebook")
    at = np.zeros(1, np.int64)
    tables = [table(streams[2], at) for _ in range(4)]
    history = bits(streams[2], at, 13)
    if history < 1 or not all(map(len, tables)):
        raise Damaged("its Huffman tables")
    predictions, deltas, names, runs = tables
    return _Codebooks(colors, steps, predictions, deltas, names, runs, history)


def _slice(
    books: _Codebooks, texture: Texture, stream: NDArray[np.uint8], target: NDArray[np.uint8], what: str
) -> None:
    """Fill the colours of a picture (H, W, 4) from a slice."""
    across, down = -(-texture.width // 4), -(-texture.height // 4)
    if not _read_slice(
        stream, across, down, books.endpoints, books.selectors, books.predictions, books.deltas, books.names,
        books.runs, books.history, target,
    ):  # fmt: skip
        raise Damaged(f"its {what}")


@numba.njit(cache=True, nogil=True)
def _read_endpoints(source: NDArray[np.uint8], found: NDArray[np.int64]) -> bool:
    """Each is the one before and a difference, whose code depends on how dark the one before is."""
    at = np.zeros(1, np.int64)
    dark, middle, bright, steps = table(source, at), table(source, at), table(source, at), table(source, at)
    grey = bits(source, at, 1)
    if grey < 0 or min(len(dark), len(middle), len(bright), len(steps)) == 0:
        return False
    last = np.array([16, 16, 16, 0])
    for k in range(len(found)):
        step = symbol(source, at, steps)
        if step < 0:
            return False
        last[3] = (last[3] + step) & 7
        for channel in range(1 if grey else 3):
            before = last[channel]
            delta = symbol(source, at, dark if before <= 9 else middle if before <= 21 else bright)
            if delta < 0:
                return False
            last[channel] = (before + delta) & 31
        if grey:
            last[1] = last[2] = last[0]
        found[k] = last
    return True


@numba.njit(cache=True, nogil=True)
def _read_selectors(source: NDArray[np.uint8], found: NDArray[np.uint8]) -> bool:
    """Four bytes each, a row in two bits a texel: as they are, or by the bits that differ from the one before."""
    at = np.zeros(1, np.int64)
    if bits(source, at, 1) != 0 or bits(source, at, 1) != 0:  # codebooks elsewhere, which the format has given up
        return False
    plain = bits(source, at, 1)
    if plain < 0:
        return False
    differences = np.zeros(17, np.int32)
    if not plain:
        differences = table(source, at)
        if len(differences) == 0:
            return False
    last = np.zeros(4, np.int64)
    for k in range(len(found)):
        for row in range(4):
            value = bits(source, at, 8) if plain or k == 0 else symbol(source, at, differences)
            if value < 0 or value > 255:
                return False
            last[row] = value if plain else last[row] ^ value
            for column in range(4):
                found[k, 4 * row + column] = (last[row] >> (2 * column)) & 3
    return True


@numba.njit(cache=True, nogil=True)
def _read_slice(
    source: NDArray[np.uint8],
    across: int,
    down: int,
    endpoints: NDArray[np.int64],
    selectors: NDArray[np.uint8],
    predictions: NDArray[np.int32],
    deltas: NDArray[np.int32],
    names: NDArray[np.int32],
    runs: NDArray[np.int32],
    history: int,
    target: NDArray[np.uint8],
) -> bool:
    at = np.zeros(1, np.int64)
    above, row = np.zeros(across, np.int64), np.zeros(across, np.int64)  # endpoints of the blocks of two rows
    below = np.zeros(across, np.int64)  # predictions of odd rows, which come with those of the row above
    lately, rover = np.zeros(history, np.int64), history // 2
    first = len(selectors)
    prediction, repeats, run, endpoint = 0, 0, 0, 0
    for y in range(down):
        above, row = row, above
        current = 0
        for x in range(across):
            if x & 1 == 0:
                if y & 1 == 0:
                    if repeats > 0:
                        repeats -= 1
                    else:
                        found = symbol(source, at, predictions)
                        if found == _REPEAT:
                            repeats = number(source, at, 4) + 2
                            if repeats < 2:
                                return False
                        elif found < 0 or found > _REPEAT:
                            return False
                        else:
                            prediction = found
                    current = prediction
                    below[x] = current >> 4
                else:
                    current = below[x]
            which = current & 3
            current >>= 2
            if which == 0:
                if x == 0:
                    return False
            elif which == 1:
                if y == 0:
                    return False
                endpoint = above[x]
            elif which == 2:
                if x == 0 or y == 0:
                    return False
                endpoint = above[x - 1]
            else:
                delta = symbol(source, at, deltas)
                if delta < 0:
                    return False
                endpoint += delta
                if endpoint >= len(endpoints):
                    endpoint -= len(endpoints)
                if endpoint >= len(endpoints):
                    return False
            row[x] = endpoint
            if run > 0:
                run -= 1
                name = first
            else:
                name = symbol(source, at, names)
                if name < 0:
                    return False
                if name == first + history:
                    length = symbol(source, at, runs)
                    if length < 0:
                        return False
                    run = length + 3
                    if length == _LATEST - 1:
                        length = number(source, at, 7)
                        if length < 0:
                            return False
                        run = length + 3
                    if run > across * down:
                        return False
                    run -= 1
                    name = first
            if name >= first:
                place = name - first
                if place >= history:
                    return False
                selector = lately[place]
                lately[place] = lately[place // 2]
                lately[place // 2] = selector
            else:
                selector = name
                lately[rover] = name
                rover += 1
                if rover == history:
                    rover = history // 2
            _paint(endpoints[endpoint], selectors[selector], target, 4 * x, 4 * y)
    return True


@numba.njit(cache=True, nogil=True)
def _paint(
    endpoint: NDArray[np.int64], selector: NDArray[np.uint8], target: NDArray[np.uint8], left: int, top: int
) -> None:
    """Fill a block, as far as it is within the picture."""
    height, width = target.shape[:2]
    for y in range(min(4, height - top)):
        for x in range(min(4, width - left)):
            step = _STEPS[endpoint[3], selector[4 * y + x]]
            for channel in range(3):
                base = endpoint[channel] << 3 | endpoint[channel] >> 2
                target[top + y, left + x, channel] = min(max(base + step, 0), 255)
