"""The files that a mesh file names: materials, textures, buffers.

They are read up front and by our own store, for two reasons: a digest of an object
must cover all that its looks depend on, and a storage failure must surface as one,
where mesh libraries take any failure of a texture for its absence.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable, Iterator
from urllib.parse import unquote

from captionless.errors import DataError
from captionless.store import objects


def beside(url: str, name: str) -> str:
    """URL of the file that the one at `url` names; inside the same archive for `zip://inner::outer` URLs."""
    inner, *outer = url.split("::")
    scheme, mark, path = inner.rpartition("://")
    joined = posixpath.normpath(posixpath.join(posixpath.dirname(path), name.replace("\\", "/")))
    return "::".join([scheme + mark + joined, *outer])


def references(url: str, file_type: str, data: bytes) -> dict[str, bytes | None]:
    """What the mesh file `data` at `url` refers to: names as it writes them, and bytes, None where missing.

    OBJ: its material libraries and their `map_Kd` pictures; PLY: its texture; GLTF and
    GLB: buffers and images by URI. Other formats refer to nothing. DataError when a
    glTF header is not JSON.
    """
    found: dict[str, bytes | None] = {}
    for name, target in _named(url, file_type, data):
        if name not in found:
            found[name] = _read(target)
            content = found[name]
            if file_type == "obj" and content is not None:
                # A picture is sought beside its library, then beside the mesh.
                for picture in _statements(content, "map_kd"):
                    if picture not in found:
                        near = _read(beside(target, picture))
                        found[picture] = near if near is not None else _read(beside(url, picture))
    return found


def _named(url: str, file_type: str, data: bytes) -> Iterator[tuple[str, str]]:
    names: Callable[[bytes], Iterator[str]] | None = {
        "obj": lambda text: _statements(text, "mtllib"),
        "ply": _ply_textures,
        "gltf": _gltf_uris,
        "glb": lambda blob: _gltf_uris(_glb_header(blob)),
    }.get(file_type)
    for name in names(data) if names else ():
        # glTF names files by URI, the others as they are called.
        yield name, beside(url, unquote(name) if file_type in ("gltf", "glb") else name)


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
    except (ValueError, AttributeError, TypeError) as error:
        raise DataError(f"not a glTF file: its header is not valid JSON ({error})") from error


def _read(url: str) -> bytes | None:
    try:
        return objects.read_bytes(url)
    except (FileNotFoundError, IsADirectoryError, KeyError):
        return None
