"""The formats of meshes that are fuzzed, each with its inputs by number."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.precompute.meshes import gltf, text_files, text_mutations
from tests.precompute.meshes.gltf_document import Document, Files, as_gltf
from tests.precompute.meshes.gltf_files import cases
from tests.precompute.meshes.gltf_mutations import mutated

_MESHES = "captionless.precompute.meshes"


@dataclass(frozen=True)
class Format:
    """package: module or package whose `read` is fuzzed; its lines are counted, and those of its modules, and of
    modules beside it. whole: files
    to begin with, the first inputs. mutated: the n-th input from there on. container: a pattern of what is said of a
    file that is not of the format, or is cut off; every other input got past the container."""

    package: str
    whole: Callable[[], Mapping[str, Files]]
    mutated: Callable[[Mapping[str, Files], int], Files]
    container: str
    beside: tuple[str, ...] = ()

    @property
    def counted(self) -> tuple[str, ...]:
        """The modules and packages whose lines are counted."""
        return (self.package, *(f"{_MESHES}.{name}" for name in self.beside))

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


def _texts(kind: str) -> Callable[[], Mapping[str, Files]]:
    """Every variation of a format's tests."""
    return lambda: {name: case.files for name, case in text_files.CASES.items() if name.startswith(kind)}


FORMATS: Mapping[str, Format] = {
    "obj": Format(
        f"{_MESHES}.obj",
        _texts("obj"),
        text_mutations.mutated,
        r"^begins as UTF-16",
        ("obj_text", "obj_lines", "obj_looks", "mtl", "finding", "told", "lexing", "decimals", "polygons", "splitting"),
    ),
    "ply": Format(
        f"{_MESHES}.ply",
        _texts("ply"),
        text_mutations.mutated,
        r"^(is not a PLY|its header|line \d+: (there is a second|expected (one of|version|a type|a key|a prop|an el)))",
        ("ply_header", "ply_body", "written_colors"),
    ),
    "stl": Format(
        f"{_MESHES}.stl", _texts("stl"), text_mutations.mutated, r"^is not an STL|by its header", ("stl_text",)
    ),
    "off": Format(
        f"{_MESHES}.off", _texts("off"), text_mutations.mutated, r"^is not an OFF|OFF.* is not read|the numbers of"
    ),
    "gltf": Format(
        "captionless.precompute.meshes.gltf",
        _gltf,
        mutated,
        r"^(not a G|not a glTF|the G|the glTF|glTF|GLB|the file: expected)",
    ),
}
