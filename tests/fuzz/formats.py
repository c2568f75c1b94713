"""The formats of meshes that are fuzzed, each with its inputs by number."""

from __future__ import annotations

import base64
import json
import random
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow

from tests.precompute.meshes import gltf, ktx2_samples, text_files, text_mutations
from tests.precompute.meshes.gltf_document import Document, Files, as_gltf
from tests.precompute.meshes.gltf_files import cases
from tests.precompute.meshes.gltf_mutations import bytes_changed, mutated
from tests.precompute.meshes.gltf_shapes import on_box

_MESHES = "captionless.precompute.meshes"
_KTX2_PIXELS = 1 << 13
"""A texel takes 10,000 times as long where its decoder is not compiled."""


@dataclass(frozen=True)
class Format:
    """reader: the module or package of `meshes` whose `read` is fuzzed. whole: files to begin with, the first inputs.
    mutated: the n-th input from there on. container: a pattern of what is said of a file that is not of the format, or
    is cut off; every other input got past the container. counts: the modules and packages of `meshes` whose lines are
    counted. pixels: the most that a picture may have."""

    reader: str
    whole: Callable[[], Mapping[str, Files]]
    mutated: Callable[[Mapping[str, Files], int], Files]
    container: str
    counts: tuple[str, ...]
    pixels: int = 1 << 22

    @property
    def module(self) -> str:
        """The reader's full name."""
        return f"{_MESHES}.{self.reader}"

    @property
    def counted(self) -> tuple[str, ...]:
        """The full names of `counts`."""
        return tuple(f"{_MESHES}.{name}" for name in self.counts)

    def files(self, number: int) -> Files:
        """The n-th input."""
        whole = list(self.whole().values())
        return whole[number] if number < len(whole) else self.mutated(self.whole(), number)


@cache
def _gltf() -> Mapping[str, Files]:
    """Every variation of the reader's tests as it is; those that are read as JSON alone, too; and every kind of stream
    that meshoptimizer writes."""
    found = {name: case.files for name, case in cases().items()} | _streams()
    valid = {f"{name}-json": as_gltf(case.files) for name, case in cases().items() if not case.error}
    return found | {name: files for name, files in valid.items() if files is not None}


def _streams() -> Mapping[str, Files]:
    streams = json.loads((Path(gltf.__file__).parent / "data" / "meshopt_streams.json").read_text())
    return {f"stream-{one['name']}": _holding(one) for one in streams}


def _holding(stream: dict[str, Any]) -> Files:
    """A GLB whose indices, or coordinates of textures, are a stream's."""
    document = Document()
    count, stride, mode = stream["count"], stream["stride"], stream["mode"]
    view = document.packed(base64.b64decode(stream["stream"]), count, stride, mode)
    document.json["bufferViews"][view]["extensions"]["EXT_meshopt_compression"]["filter"] = stream["filter"]
    entry: dict[str, Any] = {"bufferView": view, "count": count, "type": "SCALAR"}
    if mode == "ATTRIBUTES":
        values = document.add("accessors", entry | {"componentType": 5121, "normalized": True, "type": "VEC3"})
        primitive: dict[str, Any] = {"attributes": {"COLOR_0": values}}
    else:
        values = document.add("accessors", entry | {"componentType": 5123 if stride == 2 else 5125})
        primitive = {"attributes": {}, "indices": values, "mode": 4 if mode == "TRIANGLES" else 5}
        count = 70_000
    primitive["attributes"]["POSITION"] = document.add(
        "accessors", {"componentType": 5126, "count": count, "type": "VEC3"}
    )
    document.node({"mesh": document.mesh(primitive)})
    return document.glb()


def _ktx2() -> Mapping[str, Files]:
    """A GLB with each of the textures of the reader's tests."""
    return {name: _with_texture(data) for name, data in _textures().items()}


def _ktx2_mutated(whole: Mapping[str, Files], number: int) -> Files:
    """The file around the texture is whole: what is changed is the texture, or what Zstandard or zlib has packed."""
    chance = random.Random(number)
    name = chance.choice(sorted(whole))
    data = _textures()[name]
    for _ in range(chance.choice((1, 1, 2, 4))):
        if chance.random() < 0.5:
            data = bytes_changed(data, chance)
        else:
            data = ktx2_samples.repacked(data, lambda level: bytes_changed(level, chance))
    return _with_texture(data)


@cache
def _textures() -> Mapping[str, bytes]:
    plain = bytes(range(24))
    packed = {0: plain, 2: pyarrow.Codec("zstd").compress(plain, asbytes=True), 3: zlib.compress(plain)}
    made = {
        f"plain-{vk_format}-{scheme}": ktx2_samples.container(level, vk_format=vk_format, scheme=scheme, whole=24)
        for vk_format in (37, 43)
        for scheme, level in packed.items()
    }
    small = {
        name: sample.data for name, sample in ktx2_samples.SAMPLES.items() if sample.texels.size <= 4 * _KTX2_PIXELS
    }
    return small | made


def _with_texture(data: bytes) -> Files:
    document = Document()
    document.uses("KHR_texture_basisu", required=True)
    index = document.texture(data)
    texture = document.json["textures"][index]
    texture["extensions"] = {"KHR_texture_basisu": {"source": texture.pop("source")}}
    look = {"pbrMetallicRoughness": {"baseColorTexture": {"index": index}}}
    return on_box(look, document).files


def _texts(kind: str) -> Callable[[], Mapping[str, Files]]:
    """Every variation of a format's tests."""
    return lambda: {name: case.files for name, case in text_files.CASES.items() if name.startswith(kind)}


FORMATS: Mapping[str, Format] = {
    "obj": Format(
        "obj",
        _texts("obj"),
        text_mutations.mutated,
        r"^begins as UTF-16",
        (
            "obj",
            "obj_text",
            "obj_lines",
            "obj_looks",
            "mtl",
            "finding",
            "told",
            "lexing",
            "decimals",
            "polygons",
            "polypaint",
            "splitting",
        ),
    ),
    "ply": Format(
        "ply",
        _texts("ply"),
        text_mutations.mutated,
        r"^(is not a PLY|its header|line \d+: (there is a second|expected (one of|version|a type|a key|a prop|an el)))",
        ("ply", "ply_header", "ply_body", "written_colors"),
    ),
    "stl": Format("stl", _texts("stl"), text_mutations.mutated, r"^is not an STL|by its header", ("stl", "stl_text")),
    "off": Format(
        "off", _texts("off"), text_mutations.mutated, r"^is not an OFF|OFF.* is not read|the numbers of", ("off",)
    ),
    "gltf": Format(
        "gltf",
        _gltf,
        mutated,
        r"^(not a G|not a glTF|the G|the glTF|glTF|GLB|the file: expected)",
        ("gltf",),
    ),
    "ktx2": Format(
        "gltf", _ktx2, _ktx2_mutated, r"a KTX2 file: its (header|data format|.*? bytes at)", ("ktx2",), _KTX2_PIXELS
    ),
}
