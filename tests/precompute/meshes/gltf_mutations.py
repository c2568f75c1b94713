"""Mutations of glTF files that mostly get past the container: of values of the JSON, of the buffer, of files beside.
Seeded."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Mapping
from typing import Any

from tests.precompute.meshes.gltf_document import Files, glb

_VALUES: tuple[Any, ...] = (
    0, 1, 2, 3, 5, 7, 255, 65535, 1 << 20, 1 << 31, 1 << 53, 10**30, -1, 0.5, 1e30, 1e308, -0.0, True, None, "", "a",
    "x.bin", "data:,", "data:;base64,AAAA", [], [0], [1, 2, 3], [0.0] * 16, {}, {"index": 0}, "VEC2", "VEC3", "VEC4",
    "SCALAR", "MAT4", "BLEND", 5120, 5121, 5123, 5125, 5126, 10497, 33071, "\ud800", "../x", [[[]]],
)  # fmt: skip


def mutated(bases: Mapping[str, Files], number: int) -> Files:
    """The `number`-th mutation of some glTF or GLB objects: most are broken, some may be harmless."""
    chance = random.Random(number)
    files = dict(bases[chance.choice(sorted(bases))])
    own = next(iter(files))
    for _ in range(chance.choice((1, 1, 1, 1, 2, 4))):
        way = chance.random()
        if way < 0.5:
            files[own] = _json(files[own], chance)
        elif way < 0.85:
            files[own] = _binary(files[own], chance)
        elif len(files) > 1:
            beside = chance.choice(list(files)[1:])
            files[beside] = bytes_changed(files[beside], chance)
        else:
            files[own] = bytes_changed(files[own], chance)
    return files


def bytes_changed(data: bytes, chance: random.Random) -> bytes:
    """Some bytes flipped, cut off, repeated or overwritten by a number that may be a count."""
    way = chance.randrange(4)
    at = chance.randrange(len(data) + 1)
    if way == 0:
        found = bytearray(data)
        for _ in range(chance.choice((1, 4, 32))):
            if found:
                found[chance.randrange(len(found))] ^= 1 << chance.randrange(8)
        return bytes(found)
    if way == 1:
        return data[:at]
    if way == 2:
        return data[:at] + data[at : at + chance.choice((1, 4, 64))] * chance.choice((0, 2, 9)) + data[at:]
    word = struct.pack("<I", chance.choice((0, 1, 0x7F800000, 0x7FC00000, 0x7FFFFFFF, 0xFFFFFFFF)))
    return data[:at] + word + data[at + 4 :]


def _parts(data: bytes) -> tuple[dict[str, Any] | None, bytes]:
    """The JSON and the binary chunk of a file that is whole so far."""
    try:
        if data[:4] != b"glTF":
            return json.loads(data.decode("utf-8-sig")), b""
        size = struct.unpack_from("<I", data, 12)[0]
        return json.loads(data[20 : 20 + size].rstrip(b"\0")), data[28 + size :]
    except (ValueError, struct.error, RecursionError):
        return None, b""


def _joined(document: dict[str, Any], binary: bytes, like: bytes) -> bytes:
    return glb(document, binary) if like[:4] == b"glTF" else json.dumps(document).encode()


def _json(data: bytes, chance: random.Random) -> bytes:
    document, binary = _parts(data)
    if not isinstance(document, dict):
        return bytes_changed(data, chance)
    places = list(_places(document))
    if not places:
        return data
    holder, key = chance.choice(places)
    way = chance.random()
    if way < 0.2:
        del holder[key]
    elif way < 0.45 and isinstance(holder[key], int | float):
        holder[key] = holder[key] + chance.choice((-1, 1, 2, 0.5, 1000))
    elif way < 0.6:  # a value from elsewhere in the document
        other, place = chance.choice(places)
        holder[key] = json.loads(json.dumps(other[place]))
    else:
        holder[key] = chance.choice(_VALUES)
    return _joined(document, binary, data)


def _places(value: Any) -> Any:
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in entries:
        yield value, key
        yield from _places(below)


def _binary(data: bytes, chance: random.Random) -> bytes:
    document, binary = _parts(data)
    if not isinstance(document, dict) or not binary:
        return bytes_changed(data, chance)
    return _joined(document, bytes_changed(binary, chance), data)
