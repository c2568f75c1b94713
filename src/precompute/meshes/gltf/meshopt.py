"""EXT_meshopt_compression: byte streams of vertices and indices, decoded by the format that its specification gives
(https://github.com/KhronosGroup/glTF, appendix A of the extension), versions 0 and 1 of the vertex codec.

Vertices: blocks of at most 256 elements. Each of an element's bytes is a channel of its own; a block stores a channel's
differences from element to element, in groups of 16 of 0 to 8 bits each, the largest value standing for a whole byte
that follows. Triangles: one code a triangle refers to the last 16 edges and vertices. Indices: differences to one of
two earlier ones. Nothing here trusts the stream: every read is compared with its end.
"""

from __future__ import annotations

from collections.abc import Callable

import numba
import numpy as np
from numpy.typing import NDArray

from captionless.precompute.meshes.gltf.meshopt_filters import Damaged, filtered

_DONE, _SHORT, _LONG, _WRONG = 0, 1, 2, 3
_REASONS = {_SHORT: "it ends early", _LONG: "bytes are left over", _WRONG: "it holds codes that have no meaning"}

_BLOCK_BYTES, _BLOCK_ELEMENTS, _GROUP = 8192, 256, 16


def decode(stream: memoryview, count: int, stride: int, mode: str, kind: str) -> NDArray[np.uint8]:
    """The (count * stride,) bytes of a stream: `mode` ATTRIBUTES, TRIANGLES or INDICES, `kind` its filter."""
    source = np.frombuffer(stream, np.uint8)
    if not len(source):
        raise Damaged("it is empty")
    if mode == "ATTRIBUTES":
        found = _attributes(source, count, stride)
        return filtered(found, stride, kind)
    if mode not in ("TRIANGLES", "INDICES"):
        raise Damaged(f"its mode is {mode[:20]!r}")
    if stride not in (2, 4) or kind != "NONE":
        raise Damaged(f"indices of {stride} bytes with the filter {kind[:20]}")
    if mode == "TRIANGLES" and count % 3:
        raise Damaged(f"{count} indices are no whole triangles")
    # a triangle has at least one byte of the stream, an index too
    if count > (3 if mode == "TRIANGLES" else 1) * len(source):
        raise Damaged(_REASONS[_SHORT])
    indices = np.zeros(count, np.uint32)
    header = 0xE0 if mode == "TRIANGLES" else 0xD0
    if source[0] & 0xF0 != header or source[0] & 0x0F > 1:
        raise Damaged("it does not begin as one")
    run: Callable[..., int] = _triangles if mode == "TRIANGLES" else _sequence
    _told(run(source, int(source[0] & 0x0F), indices))
    if stride == 2 and count and int(indices.max()) > 0xFFFF:
        raise Damaged("an index of more than 16 bits")
    return indices.astype("<u2" if stride == 2 else "<u4").view(np.uint8)


def _told(outcome: int) -> None:
    if outcome != _DONE:
        raise Damaged(_REASONS[outcome])


def _attributes(source: NDArray[np.uint8], count: int, stride: int) -> NDArray[np.uint8]:
    if not 0 < stride <= 256 or stride % 4:
        raise Damaged(f"elements of {stride} bytes")
    if source[0] not in (0xA0, 0xA1):
        raise Damaged("it does not begin as one")
    version = int(source[0] & 0x0F)
    # The least that a block takes: two bits a group and channel in version 0, two bits a channel in version 1.
    per_block = min(_BLOCK_BYTES // stride & ~15, _BLOCK_ELEMENTS)
    if -(-count // per_block) * (stride // 4) > len(source):
        raise Damaged(_REASONS[_SHORT])
    target = np.zeros(count * stride, np.uint8)
    _told(_vertices(source, version, target.reshape(count, stride), per_block))
    return target


@numba.njit(cache=True, nogil=True)
def _vertices(source: NDArray[np.uint8], version: int, target: NDArray[np.uint8], per_block: int) -> int:
    count, stride = target.shape
    tail = stride + (stride // 4 if version else 0)
    padded = max(tail, 24 if version else 32)
    end = len(source) - padded  # where the blocks end; the first element and the channels' modes are last
    if end < 1:
        return 1
    last = source[len(source) - tail : len(source) - tail + stride].copy()
    channels = source[len(source) - tail + stride :]
    deltas = np.zeros((stride, per_block), np.uint8)
    at = 1
    for first in range(0, count, per_block):
        size = min(per_block, count - first)
        groups = (size + 15) // 16
        control_at = at
        if version:
            at += stride // 4
            if at > end:
                return 1
        for channel in range(stride):
            control = np.int64(source[control_at + channel // 4]) >> (channel % 4 * 2) & 3 if version else 0
            if control == 2:
                deltas[channel] = 0
                continue
            if control == 3:
                if at + size > end:
                    return 1
                deltas[channel, :size] = source[at : at + size]
                at += size
                continue
            header = at
            at += (groups + 3) // 4
            if at > end:
                return 1
            for group in range(groups):
                code = np.int64(source[header + group // 4]) >> (group % 4 * 2) & 3
                # 0, 2, 4, 8 in version 0; in version 1 four of 0, 1, 2, 4, 8, from the first or from the second on
                step = code + control - 1 if version else code
                bits = 1 << step if step > 0 or (version and code + control > 0) else 0
                at = _group(source, at, end, int(bits), deltas[channel, group * 16 : group * 16 + 16])
                if at < 0:
                    return 1
        for i in range(size):
            for word in range(0, stride, 4):
                mode = np.int64(channels[word // 4]) & 3 if version else 0
                if mode == 0:
                    for channel in range(word, word + 4):
                        d = np.int64(deltas[channel, i])
                        last[channel] = (np.int64(last[channel]) + ((d >> 1) ^ -(d & 1))) & 0xFF
                elif mode == 1:
                    for channel in range(word, word + 4, 2):
                        d16 = np.int64(deltas[channel, i]) | np.int64(deltas[channel + 1, i]) << 8
                        old = np.int64(last[channel]) | np.int64(last[channel + 1]) << 8
                        new = (old + ((d16 >> 1) ^ -(d16 & 1))) & 0xFFFF
                        last[channel], last[channel + 1] = new & 0xFF, new >> 8
                elif mode == 2:
                    d32 = np.int64(0)
                    for k in range(4):
                        d32 |= np.int64(deltas[word + k, i]) << (8 * k)
                    turn = np.int64(channels[word // 4]) >> 4
                    d32 = (d32 >> turn | d32 << (32 - turn)) & 0xFFFFFFFF
                    for k in range(4):
                        last[word + k] ^= (d32 >> (8 * k)) & 0xFF
                else:
                    return 3
            target[first + i] = last
    return 0 if at == end else 2


@numba.njit(cache=True, nogil=True)
def _group(source: NDArray[np.uint8], at: int, end: int, bits: int, found: NDArray[np.uint8]) -> int:
    """Reads 16 values of `bits` bits each; returns where they end, or -1 beyond the end."""
    if bits == 0:
        found[:] = 0
        return at
    more = at + 2 * bits
    if more > end:
        return -1
    if bits == 8:
        found[:] = source[at:more]
        return more
    escape = (1 << bits) - 1
    per_byte = 8 // bits
    for i in range(16):
        place = i % per_byte if bits == 1 else per_byte - 1 - i % per_byte
        value = np.int64(source[at + i // per_byte]) >> (place * bits) & escape
        if value == escape:
            if more >= end:
                return -1
            value = np.int64(source[more])
            more += 1
        found[i] = value
    return more


@numba.njit(cache=True, nogil=True)
def _varint(source: NDArray[np.uint8], at: int, end: int) -> tuple[np.int64, int]:
    """A number of 7 bits a byte, and where it ends; -1 beyond the end."""
    value = np.int64(0)
    for shift in range(0, 35, 7):
        if at >= end:
            return value, -1
        byte = np.int64(source[at])
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & 0xFFFFFFFF, at
    return value, -1


@numba.njit(cache=True, nogil=True)
def _signed(value: np.int64) -> np.int64:
    return (value >> 1) ^ -(value & 1)


@numba.njit(cache=True, nogil=True)
def _triangles(source: NDArray[np.uint8], version: int, target: NDArray[np.uint32]) -> int:
    count = len(target) // 3
    table = len(source) - 16  # pairs of codes that are frequent
    data = 1 + count
    if data > table:
        return 1
    edges = np.zeros((16, 2), np.int64)
    recent = np.zeros(16, np.int64)
    edge, vertex = 0, 0  # places of the next entry
    fresh, last = np.int64(0), np.int64(0)
    plain = 13 if version else 15  # codes of a third vertex below it are recent ones
    for i in range(count):
        code = np.int64(source[1 + i])
        high, low = code >> 4, code & 15
        if high < 15:
            a, b = edges[(edge - 1 - high) & 15]
            if low == 0:
                c = fresh
                fresh += 1
                keep = True
            elif low < plain:
                c = recent[(vertex - 1 - low) & 15]
                keep = False
            else:
                if low < 15:
                    last += 1 if low == 14 else -1
                else:
                    value, data = _varint(source, data, table)
                    if data < 0:
                        return 1
                    last += _signed(value)
                c = last = last & 0xFFFFFFFF
                keep = True
            if keep:
                recent[vertex & 15] = c
                vertex += 1
            edges[edge & 15] = c, b
            edges[(edge + 1) & 15] = a, c
            edge += 2
        else:
            if low < 14:
                pair = np.int64(source[table + low])
            else:
                if data >= table:
                    return 1
                pair = np.int64(source[data])
                data += 1
                if pair == 0:
                    fresh = np.int64(0)
            corner = np.zeros(3, np.int64)
            codes = (0 if low < 15 else 15, pair >> 4, pair & 15)
            for k in range(3):
                if codes[k] == 0:
                    corner[k] = fresh
                    fresh += 1
                elif codes[k] == 15 and low >= 14:
                    value, data = _varint(source, data, table)
                    if data < 0:
                        return 1
                    last = (last + _signed(value)) & 0xFFFFFFFF
                    corner[k] = last
                else:
                    corner[k] = recent[(vertex - codes[k]) & 15]
            for k in range(3):
                if k == 0 or codes[k] == 0 or (codes[k] == 15 and low >= 14):
                    recent[vertex & 15] = corner[k]
                    vertex += 1
            a, b, c = corner
            edges[edge & 15] = b, a
            edges[(edge + 1) & 15] = c, b
            edges[(edge + 2) & 15] = a, c
            edge += 3
        target[3 * i], target[3 * i + 1], target[3 * i + 2] = a, b, c
    return 0 if data == table else 2


@numba.njit(cache=True, nogil=True)
def _sequence(source: NDArray[np.uint8], version: int, target: NDArray[np.uint32]) -> int:
    end = len(source) - 4  # padding
    at = 1
    last = np.zeros(2, np.int64)
    for i in range(len(target)):
        value, at = _varint(source, at, end)
        if at < 0:
            return 1
        which = value & 1
        last[which] = (last[which] + _signed(value >> 1)) & 0xFFFFFFFF
        target[i] = last[which]
    return 0 if at == end else 2
