"""What a file is: by its content where that says so, by its name where it does not.

Names lie: a mesh is exported under the wrong suffix, and what a browser or a script has saved may be a login page, an
archive, or a pointer to a file that was never fetched. Most formats begin with bytes of their own; OBJ, and what
nothing here knows, go by their names. One table serves meshes, clouds and pictures, and names what is none of them.
"""

from __future__ import annotations

import posixpath
import re
import struct
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal

from captionless.errors import DataError

HEAD = 4096
"""Bytes that suffice to tell what a file is."""

Shape = Literal["mesh", "cloud", "picture", ""]


@dataclass(frozen=True)
class FileKind:
    """A kind of file.

    name: what modules call it, `glb`. title: what messages call it, `a GLB file`. shape: what it is read as, empty if
    it is not read. suffixes: with which its files' names end, lower case.
    """

    name: str
    title: str
    shape: Shape = ""
    suffixes: tuple[str, ...] = ()


def _read(name: str, shape: Shape, *suffixes: str, title: str = "") -> FileKind:
    return FileKind(name, title or f"{_article(name)} {name.upper()} file", shape, suffixes or (f".{name}",))


def _article(name: str) -> str:
    return "an" if name[0] in "o" or name[:2] in ("np", "hd") else "a"


_GLB, _GLTF, _OBJ = _read("glb", "mesh"), _read("gltf", "mesh", title="a glTF file"), _read("obj", "mesh")
_PLY, _STL, _OFF = _read("ply", "mesh"), _read("stl", "mesh"), _read("off", "mesh")
_NPZ = _read("npz", "cloud", title="an npz archive")
_H5 = _read("h5", "cloud", ".h5", ".hdf5", title="an HDF5 file")
_NPY = _read("npy", "cloud", title="a NumPy array")
_PNG, _JPEG = _read("png", "picture", title="a PNG picture"), _read("jpeg", "picture", ".jpg", ".jpeg",
                                                                    title="a JPEG picture")  # fmt: skip
_WEBP = _read("webp", "picture", title="a WebP picture")

KINDS = (_GLB, _GLTF, _OBJ, _PLY, _STL, _OFF, _NPZ, _H5, _NPY, _PNG, _JPEG, _WEBP)
"""The kinds that are read."""

MESHES = tuple(kind.name for kind in KINDS if kind.shape == "mesh")
CLOUDS = ("npz", "h5")
"""Files of many labelled clouds."""

_HTML = FileKind("html", "an HTML page, such as a server shows in place of a file")
_POINTER = FileKind("lfs", "a Git LFS pointer, whose file was not fetched (git lfs pull)")
_EMPTY = FileKind("empty", "an empty file")
_JSON = FileKind("json", "a JSON document without a glTF scene")
_XML = FileKind("xml", "an XML document, such as a storage answers in place of a file")
_ZIP = FileKind("zip", "a ZIP archive; unpack it")


def _ply(head: bytes, size: int) -> bool:
    return re.match(rb"ply\s", head) is not None


def _stl(head: bytes, size: int) -> bool:
    """`solid` of the text form, or exactly as many bytes as the binary form's number of triangles says."""
    count = struct.unpack_from("<I", head, 80)[0] if len(head) >= 84 else 0
    return re.match(rb"\s*solid\b", head, re.IGNORECASE) is not None or (count > 0 and size == 84 + 50 * count)


_OFF_HEADER = re.compile(rb"(\s*#[^\n]*\n)*\s*(ST)?C?N?4?n?OFF(?![A-Za-z])", re.IGNORECASE)
_BEFORE_VERTICES = (b"mtllib", b"usemtl", b"o", b"g", b"s", b"vn", b"vt", b"vp")
_PAGE = (b"<!doctype html", b"<html", b"<head", b"<body")
_SCENE = tuple(
    b'"%s"' % name
    for name in (b"asset", b"accessors", b"buffers", b"bufferViews", b"extensionsUsed", b"meshes", b"nodes", b"scenes")
)


def _text(head: bytes) -> bytes:
    """The beginning without a byte order mark."""
    return head.removeprefix(b"\xef\xbb\xbf")


def _starts(*signatures: bytes) -> Callable[[bytes, int], bool]:
    return lambda head, size: head.startswith(signatures)


def _matches(pattern: re.Pattern[bytes]) -> Callable[[bytes, int], bool]:
    return lambda head, size: pattern.match(_text(head)) is not None


def _json_text(head: bytes, size: int) -> bool:
    return _text(head).lstrip().startswith(b"{")


def _scene(head: bytes, size: int) -> bool:
    return _json_text(head, size) and any(name in head for name in _SCENE)


def _page(head: bytes, size: int) -> bool:
    """HTML, perhaps behind comments."""
    rest = _text(head).lstrip()
    while rest.startswith(b"<!--"):
        rest = rest.partition(b"-->")[2].lstrip()
    return rest[:16].lower().startswith(_PAGE)


def _obj(head: bytes, size: int) -> bool:
    """A vertex in the first statement that cannot come before one."""
    for line in _text(head).splitlines():
        words = line.split()
        if words and not words[0].startswith(b"#") and words[0] not in _BEFORE_VERTICES:
            return words[0] == b"v" and len(words) > 3 and all(map(_is_number, words[1:4]))
    return False


def _is_number(word: bytes) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _hdf5(head: bytes, size: int) -> bool:
    """At the start, or behind a user's block."""
    return any(head[at : at + 8] == b"\x89HDF\r\n\x1a\n" for at in (0, 512, 1024, 2048))


def _npz(head: bytes, size: int) -> bool:
    """A ZIP archive whose first member is an array; one without members as well."""
    if head.startswith(b"PK\x05\x06"):
        return True
    if not head.startswith(b"PK\x03\x04") or len(head) < 30:
        return False
    return head[30 : 30 + struct.unpack_from("<H", head, 26)[0]].endswith(b".npy")


_SIGNATURES: tuple[tuple[FileKind, Callable[[bytes, int], bool]], ...] = (
    (_EMPTY, lambda head, size: size == 0),
    (_GLB, _starts(b"glTF")),
    (_PLY, _ply),
    (_NPY, _starts(b"\x93NUMPY")),
    (_NPZ, _npz),
    (_H5, _hdf5),
    (_PNG, _starts(b"\x89PNG\r\n\x1a\n")),
    (_JPEG, _starts(b"\xff\xd8\xff")),
    (_WEBP, lambda head, size: head[:4] == b"RIFF" and head[8:12] == b"WEBP"),
    (FileKind("gif", "a GIF picture"), _starts(b"GIF87a", b"GIF89a")),
    (FileKind("pdf", "a PDF document"), _starts(b"%PDF-")),
    (_POINTER, _starts(b"version https://git-lfs.github.com/spec/")),
    (FileKind("fbx", "an FBX file"), _starts(b"Kaydara FBX Binary", b"; FBX ")),
    (FileKind("blend", "a Blender file"), _starts(b"BLENDER")),
    (FileKind("usd", "a USD file"), _starts(b"PXR-USDC", b"#usda ")),
    (FileKind("pcd", "a PCD cloud"), _starts(b"# .PCD")),
    (FileKind("las", "a LAS or LAZ cloud"), _starts(b"LASF")),
    (FileKind("step", "a STEP file"), _starts(b"ISO-10303-21")),
    (FileKind("vrml", "a VRML file"), _starts(b"#VRML ")),
    (FileKind("gzip", "gzip-compressed; unpack it"), _starts(b"\x1f\x8b")),
    (FileKind("xz", "xz-compressed; unpack it"), _starts(b"\xfd7zXZ\x00")),
    (FileKind("zstd", "zstd-compressed; unpack it"), _starts(b"\x28\xb5\x2f\xfd")),
    (FileKind("bzip2", "bzip2-compressed; unpack it"), _matches(re.compile(rb"BZh[1-9]1AY&SY"))),
    (FileKind("7z", "a 7-Zip archive; unpack it"), _starts(b"7z\xbc\xaf\x27\x1c")),
    (FileKind("rar", "a RAR archive; unpack it"), _starts(b"Rar!\x1a\x07")),
    (_ZIP, _starts(b"PK\x03\x04")),
    (_HTML, _page),
    (FileKind("collada", "a COLLADA file"), lambda head, size: b"<COLLADA" in head),
    (_XML, _matches(re.compile(rb"\s*<\?xml\b"))),
    (_GLTF, _scene),
    (_STL, _stl),
    (_OFF, _matches(_OFF_HEADER)),
    (_JSON, _json_text),
    (_OBJ, _obj),
)  # fmt: skip


def by_content(data: bytes, size: int | None = None) -> FileKind | None:
    """What a file of `size` bytes that begins with `data` is; None if its content does not say so.

    size: None if `data` is all of it.
    """
    size = len(data) if size is None else size
    head = data[:HEAD]
    return next((kind for kind, fits in _SIGNATURES if fits(head, size)), None)


def by_name(url: str) -> FileKind | None:
    """What a file's name says it is, None for a suffix that is none of those that are read. A web URL's query, and the
    archive that a file is in, do not count."""
    path = url.split("::")[0]
    if path.startswith(("http://", "https://")):
        path = path.partition("?")[0]
    suffix = posixpath.splitext(path)[1].lower()
    return next((kind for kind in KINDS if suffix in kind.suffixes), None)


def kind_of(url: str, data: bytes, among: Collection[str], wanted: str) -> str:
    """The kind of the file at `url` whose content is `data`, one of the names `among`.

    wanted: what is expected, in words. DataError when its content, or else its name, is that of another kind or of
    none.
    """
    named, found = by_name(url), by_content(data)
    if found is None or (found is _JSON and named is _GLTF):
        found = named
    if found is None:
        raise DataError(f"is not {wanted}: neither its name nor its content is of a kind that is read")
    if found is _EMPTY:
        raise DataError(f"the {named.name.upper()} file is empty" if named else "the file is empty")
    if found.name not in among:
        raise DataError(f"is not {named.title if named and named.name in among else wanted}, but {found.title}")
    return found.name


def mesh_kind(url: str, data: bytes) -> str:
    """The kind of a mesh file, one of `MESHES`. DataError as `kind_of`."""
    return kind_of(url, data, MESHES, f"a mesh ({', '.join(MESHES)})")
