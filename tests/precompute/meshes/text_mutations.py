"""Mutations of OBJ, PLY, STL and OFF files that mostly get past their headers: of numbers, words and lines, and of the
files beside. Seeded."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping

from tests.meshes import HOSTILE_NAMES, HOSTILE_NUMBERS
from tests.precompute.meshes.gltf_mutations import bytes_changed
from tests.precompute.meshes.text_files import Files

_NUMBER = re.compile(rb"(?<=[\s/])[-+]?\d[\d.eE+-]*(?=[\s/]|\Z)")
_NAME = re.compile(rb"[\w.]+\.(?:mtl|png|MTL|PNG)")
_NUMBERS = (*HOSTILE_NUMBERS, "2", "3", "7", "-2", "1/1", "1//1", "0.1", "12345678901234567890", "255", "1e-400")
_WORDS = (
    b"v", b"vt", b"f", b"l", b"p", b"usemtl", b"mtllib", b"newmtl", b"curv", b"surf", b"foo", b"#", b"\\", b'"',
    b"list", b"element", b"property", b"uchar", b"float64", b"facet", b"endfacet", b"solid", b"end", b"vertex",
    b"outer", b"COFF", b"Kd", b"Ke", b"d", b"Tr", b"map_Kd", b"map_d", b"map_Ke", b"-s", b"-clamp", b"on", b"spectral",
    b"\xff\xfe", b"",
)  # fmt: skip
_BINARY = re.compile(rb"format binary")


def mutated(bases: Mapping[str, Files], number: int) -> Files:
    """The `number`-th mutation of some objects: most are broken, some may be harmless."""
    chance = random.Random(number)
    files = dict(bases[chance.choice(sorted(bases))])
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        own = next(iter(files))
        libraries = [name for name in files if name.endswith(".mtl")]
        name = chance.choice(libraries) if libraries and chance.random() < 0.3 else own
        way = chance.random()
        if way < 0.15 or (_BINARY.search(files[own], 0, 64) and way < 0.6):
            files[name] = bytes_changed(files[name], chance)
        elif way < 0.5:
            files[name] = _replaced(files[name], _NUMBER, chance.choice(_NUMBERS).encode(), chance)
        elif way < 0.6 and len(files) > 1:
            files[name] = _replaced(files[name], _NAME, chance.choice(HOSTILE_NAMES).encode("utf-8", "replace"), chance)
        elif way < 0.65 and len(files) > 1:
            del files[chance.choice(list(files)[1:])]
        else:
            files[name] = _lines(files[name], chance)
    return files


def _replaced(data: bytes, pattern: re.Pattern[bytes], by: bytes, chance: random.Random) -> bytes:
    found = list(pattern.finditer(data))
    if not found:
        return bytes_changed(data, chance)
    one = chance.choice(found)
    return data[: one.start()] + by + data[one.end() :]


def _lines(data: bytes, chance: random.Random) -> bytes:
    """A line left out, repeated, moved, cut, or with a word more or another."""
    lines = data.split(b"\n")
    at = chance.randrange(len(lines))
    words = lines[at].split()
    place = chance.randrange(len(words) + 1)
    ways = (
        [], [lines[at]] * 3, [lines[at][: chance.randrange(len(lines[at]) + 1)]], [lines[at], chance.choice(lines)],
        [b" ".join([*words[:place], chance.choice(_WORDS), *words[place:]])],
        [b" ".join([*words[:place], chance.choice(_WORDS), *words[place + 1 :]])],
        [b" ".join(words[:place]) + chance.choice((b"", b" \\"))],
    )  # fmt: skip
    lines[at : at + 1] = chance.choice(ways)
    return b"\n".join(lines)
