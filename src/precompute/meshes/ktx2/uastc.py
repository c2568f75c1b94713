"""UASTC: blocks of 16 bytes for 4 x 4 texels, each in one of nineteen modes; compiled by numba.

A block holds, after its mode and hints for transcoders to other formats, which are passed over: the partition into
subsets or the channel that goes its own way, pairs of endpoints for each subset, and for each texel how far it is from
one to the other. It is a subset of ASTC with another order of bits.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from captionless.precompute.meshes.ktx2.astc import BITS, DIGITS, Partitions, endpoints, partitions
from captionless.precompute.meshes.ktx2.codes import bits
from captionless.precompute.meshes.ktx2.container import Damaged, Texture

_SOLID = 8
MODE_CODES = (
    "1000", "101011", "10111", "11000", "11001", "11010", "11011", "11100", "11101", "11110", "010", "00", "011",
    "11111", "10110", "1010000", "101010", "101001", "1001",
)  # fmt: skip
"""Of the modes, lowest bit first."""

# Of each mode: the bits of hints; subsets; planes of weights; channels (2: grey and opacity); the range of endpoints;
# bits of a weight; which partitions, and the bits that name one.
_HINTS, _SUBSETS, _PLANES, _CHANNELS, _RANGE, _WEIGHT, _PARTITIONS, _NAMES = range(8)
_MODES = np.array([
    [15, 1, 1, 3, 19, 4, 0, 0], [15, 1, 1, 3, 20, 2, 0, 0], [15, 2, 1, 3, 8, 3, 0, 5], [15, 3, 1, 3, 7, 2, 1, 4],
    [15, 2, 1, 3, 12, 2, 0, 5], [15, 1, 1, 3, 20, 3, 0, 0], [15, 1, 2, 3, 18, 2, 0, 0], [15, 2, 1, 3, 12, 2, 2, 5],
    [0, 0, 0, 0, 0, 0, 0, 0], [23, 2, 1, 4, 8, 2, 0, 5], [17, 1, 1, 4, 13, 4, 0, 0], [17, 1, 2, 4, 13, 2, 0, 0],
    [17, 1, 1, 4, 19, 3, 0, 0], [23, 1, 2, 4, 20, 1, 0, 0], [23, 1, 1, 4, 20, 2, 0, 0], [23, 1, 1, 2, 20, 4, 0, 0],
    [23, 2, 1, 2, 20, 2, 0, 5], [23, 1, 2, 2, 20, 2, 0, 0], [15, 1, 1, 3, 11, 5, 0, 0],
])  # fmt: skip

_DIGIT_BITS = np.array([[0, 2, 4, 5, 7, 8], [0, 3, 5, 7, 0, 0]])  # of so many trits, or quints


def _mode_table() -> NDArray[np.int64]:
    """(128, 2): by a block's first seven bits its mode, -1 if there is none, and the length of its code."""
    found = np.full((128, 2), -1)
    for mode, code in enumerate(MODE_CODES):
        for first in range(128):
            if f"{first:07b}"[::-1].startswith(code):
                found[first] = mode, len(code)
    return found


def _weight_table() -> NDArray[np.int64]:
    """(6, 32): how far, of 64, a weight of so many bits is."""
    found = np.zeros((6, 32), np.int64)
    for count in range(1, 6):
        for value in range(1 << count):
            six = int((f"{value:0{count}b}" * 6)[:6], 2)
            found[count, value] = six + (six > 32)
    return found


_BY_BITS, _WEIGHTS = _mode_table(), _weight_table()


def texels(texture: Texture) -> NDArray[np.uint8]:
    """(H, W, 4) of a texture. `Damaged` names the block that is."""
    source = np.frombuffer(texture.level, np.uint8)
    found = np.empty((texture.height, texture.width, 4), np.uint8)
    block = _read(source, endpoints(), partitions(), found)
    if block >= 0:
        raise Damaged(f"its first level: block {block}")
    if not texture.has_alpha:
        found[..., 3] = 255
    return found


@numba.njit(cache=True, nogil=True)
def _read(
    source: NDArray[np.uint8], unquantized: NDArray[np.uint8], parts: Partitions, target: NDArray[np.uint8]
) -> int:
    """The number of the first block that cannot be, or -1."""
    height, width = target.shape[:2]
    across = (width + 3) // 4
    block = np.zeros((16, 4), np.uint8)
    for number in range(len(source) // 16):
        if not _block(source[16 * number : 16 * number + 16], unquantized, parts, block):
            return number
        top, left = number // across * 4, number % across * 4
        for y in range(min(4, height - top)):
            for x in range(min(4, width - left)):
                target[top + y, left + x] = block[4 * y + x]
    return -1


@numba.njit(cache=True, nogil=True)
def _block(
    source: NDArray[np.uint8], unquantized: NDArray[np.uint8], parts: Partitions, found: NDArray[np.uint8]
) -> bool:
    """Fill the texels (16, 4) of a block."""
    mode, length = _BY_BITS[source[0] & 127]
    if mode < 0:
        return False
    at = np.array([length])
    if mode == _SOLID:
        for channel in range(4):
            found[:, channel] = bits(source, at, 8)
        return True
    shape = _MODES[mode]
    at[0] += shape[_HINTS]
    subset = np.zeros(16, np.uint8)
    if shape[_SUBSETS] > 1:
        kind, name = shape[_PARTITIONS], bits(source, at, shape[_NAMES])
        if name >= parts.counts[kind]:
            return False
        subset = parts.subset[kind, name]
    apart = -1  # the channel of the second plane
    if shape[_PLANES] > 1:
        apart = 3 if shape[_CHANNELS] == 2 else bits(source, at, 2)
    ends = _ends(source, at, shape, unquantized)
    weights = np.zeros((2, 16), np.int64)
    met = np.zeros(3, np.bool_)  # a subset's first texel lacks its weight's highest bit
    for texel in range(16):
        count = shape[_WEIGHT] - (0 if met[subset[texel]] else 1)
        met[subset[texel]] = True
        for plane in range(shape[_PLANES]):
            weights[plane, texel] = _WEIGHTS[shape[_WEIGHT], bits(source, at, count)]
    for texel in range(16):
        for channel in range(4):
            weight = weights[1 if channel == apart else 0, texel]
            low, high = ends[subset[texel], 0, channel] * 257, ends[subset[texel], 1, channel] * 257
            found[texel, channel] = (low * (64 - weight) + high * weight + 32) >> 14
    return True


@numba.njit(cache=True, nogil=True)
def _ends(
    source: NDArray[np.uint8], at: NDArray[np.int64], shape: NDArray[np.int64], unquantized: NDArray[np.uint8]
) -> NDArray[np.int64]:
    """(3, 2, 4): the endpoints of the subsets. Their trits or quints come first, five or three in a number, then the
    bits of each."""
    channels = shape[_CHANNELS]
    count = 2 * channels * shape[_SUBSETS]
    digits, low = DIGITS[shape[_RANGE]], BITS[shape[_RANGE]]
    stored = np.zeros(count, np.int64)
    if digits > 1:
        each = 5 if digits == 3 else 3
        for start in range(0, count, each):
            some = min(each, count - start)
            packed = bits(source, at, _DIGIT_BITS[0 if digits == 3 else 1, some])
            for k in range(some):
                stored[start + k] = packed % digits << low
                packed //= digits
    for k in range(count):
        stored[k] |= bits(source, at, low)
    found = np.full((3, 2, 4), 255, np.int64)
    for k in range(count):
        value = np.int64(unquantized[shape[_RANGE], stored[k]])
        part, end, channel = k // (2 * channels), k & 1, k % (2 * channels) // 2
        if channels == 2 and channel == 0:
            found[part, end, :3] = value
        else:
            found[part, end, 3 if channels == 2 else channel] = value
    return found
