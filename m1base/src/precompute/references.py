"""The files that a mesh file names: materials, textures, buffers.

They are read up front and by our own store, for three reasons: a digest of an object
must cover all that its looks depend on, a storage failure must surface as one, where mesh
libraries take any failure of a texture for its absence, and a file must not name whatever
this machine can read (`object_files`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from urllib.parse import unquote

from captionless.errors import DataError
from captionless.precompute.object_files import ObjectFiles, beside


def references(files: ObjectFiles, file_type: str, data: bytes) -> dict[str, bytes | None]:
    """What the object's own file, `data`, refers to: names as it writes them, and bytes, None where missing.

    OBJ: its material libraries and their `map_Kd` pictures; PLY: its texture; GLTF and
    GLB: buffers and images by URI. Other formats refer to nothing. DataError when a
    glTF header is not JSON, or when a file must not or cannot be read.
    """
    found: dict[str, bytes | None] = {}
    for name, path in _named(file_type, data):
        if name not in found:
            found[name] = files.named(path)
            content = found[name]
            if file_type == "obj" and content is not None:
                # A picture is sought beside its library, then beside the mesh.
                for picture in _statements(content, "map_kd"):
                    if picture not in found:
                        near = files.named(picture, by=beside(files.url, path))
                        found[picture] = near if near is not None else files.named(picture)
    return found


def _named(file_type: str, data: bytes) -> Iterator[tuple[str, str]]:
    """The names as they are written, and the paths that they mean."""
    names: Callable[[bytes], Iterator[str]] | None = {
        "obj": lambda text: _statements(text, "mtllib"),
        "ply": _ply_textures,
        "gltf": _gltf_uris,
        "glb": lambda blob: _gltf_uris(_glb_header(blob)),
    }.get(file_type)
    for name in names(data) if names else ():
        # glTF names files by URI, the others as they are called.
        yield name, unquote(name) if file_type in ("gltf", "glb") else name


def _statements(text: bytes, keyword: str) -> Iterator[str]:
    for line in text.splitlines():
        word, _, rest = line.strip().partition(b" ")
        if word.lower() == keyword.encode() and rest.strip():
            yield rest.decode("utf-8", "replace").strip()


def _ply_textures(data: bytes) -> Iterator[str]:
    for line in data[: data.find(b"end_header")].splitlines():
        words = line.decode("utf-8", "replace").split(maxsplit=2)
        if len(words) == 3 and words[:2] == ["comment", "TextureFile"]:
            yield words[2].strip()


def _glb_header(blob: bytes) -> bytes:
    # 12 bytes of file header, then the first chunk: its length, "JSON", its bytes.
    return blob[20 : 20 + int.from_bytes(blob[12:16], "little")]


def _gltf_uris(header: bytes) -> Iterator[str]:
    try:
        tree = json.loads(header)
        for kind in ("buffers", "images"):
            for entry in tree.get(kind, ()):
                uri = entry.get("uri", "")
                if uri and not uri.startswith("data:"):
                    yield uri
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise DataError(f"not a glTF file: its header is not valid JSON ({error})") from error
