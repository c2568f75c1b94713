"""Small OBJ, PLY, STL and OFF files in many variations (format x feature x encoding), each with what is right for it.

All but a few are a box of side 1 about the origin whose sides are six squares. On side k the point at fractions (s, t)
along its first and its last edge has the texture coordinates (s, t), so that colours there are known without reading
anything.
"""

from __future__ import annotations

import io
import itertools
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from PIL import Image

Color = tuple[float, float, float]
Files = dict[str, bytes]
"""By path below the object's folder; its own file is the first."""

SIDES = np.array([
    [(1, -1, 1), (1, -1, -1), (1, 1, -1), (1, 1, 1)], [(-1, -1, -1), (-1, -1, 1), (-1, 1, 1), (-1, 1, -1)],
    [(-1, 1, 1), (1, 1, 1), (1, 1, -1), (-1, 1, -1)], [(-1, -1, -1), (1, -1, -1), (1, -1, 1), (-1, -1, 1)],
    [(-1, -1, 1), (1, -1, 1), (1, 1, 1), (-1, 1, 1)], [(1, -1, -1), (-1, -1, -1), (-1, 1, -1), (1, 1, -1)],
]) / 2  # fmt: skip
SQUARE = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
GREY = (178.0, 178.0, 178.0)
WHITE = (255.0, 255.0, 255.0)
PAINT = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
"""Of two sides each."""
QUADRANTS = (((20, 20, 230), (240, 220, 20)), ((230, 20, 20), (20, 200, 20)))
"""Of the texture, by row from below and column."""


def picture(alpha: bool = False) -> bytes:
    """A PNG of `QUADRANTS`; with `alpha`, its upper half half transparent."""
    pixels = np.full((8, 8, 4), 255, np.uint8)
    for row, column in itertools.product(range(2), range(2)):
        pixels[4 - 4 * row : 8 - 4 * row, 4 * column : 4 * column + 4, :3] = QUADRANTS[row][column]
    pixels[:4, :, 3] = 128
    found = io.BytesIO()
    Image.fromarray(pixels if alpha else np.ascontiguousarray(pixels[..., :3])).save(found, "png")
    return found.getvalue()


@dataclass(frozen=True)
class Look:
    """A point of side `side` at (s, t), and its colour: sRGB, 0..255, and opacity."""

    side: int
    at: tuple[float, float]
    color: Color
    opacity: float = 1.0

    @property
    def point(self) -> np.ndarray:
        first, second, _, last = SIDES[self.side]
        return np.asarray(first + self.at[0] * (second - first) + self.at[1] * (last - first))


@dataclass(frozen=True)
class Case:
    """What is right: the number of triangles, their area, the box around them, colours of points, kinds of losses."""

    files: Files
    looks: tuple[Look, ...] = ()
    faces: int = 12
    area: float = 6.0
    low: Color = (-0.5, -0.5, -0.5)
    high: Color = (0.5, 0.5, 0.5)
    losses: frozenset[str] = field(default_factory=frozenset)


def everywhere(color: Color, opacity: float = 1.0) -> tuple[Look, ...]:
    return tuple(Look(side, (0.3, 0.6), color, opacity) for side in range(6))


def painted(opacity: float = 1.0) -> tuple[Look, ...]:
    return tuple(Look(side, (0.3, 0.6), PAINT[side // 2], opacity) for side in range(6))


def textured(
    scale: tuple[float, float] = (1, 1), offset: tuple[float, float] = (0, 0), sides: Sequence[int] = range(6)
) -> tuple[Look, ...]:
    """The texture on every side, repeated, at uv * scale + offset."""
    found = []
    for side, s, t in itertools.product(sides, (0.2, 0.8), (0.3, 0.9)):
        u, v = (s * scale[0] + offset[0]) % 1, (t * scale[1] + offset[1]) % 1
        found.append(Look(side, (s, t), QUADRANTS[int(v >= 0.5)][int(u >= 0.5)]))
    return tuple(found)


# --- how texts are written ------------------------------------------------------------------------------------------

Encoding = Callable[[bytes], bytes]

ENCODINGS: Mapping[str, Encoding] = {
    "lf": lambda t: t,
    "crlf": lambda t: t.replace(b"\n", b"\r\n"),
    "cr": lambda t: t.replace(b"\n", b"\r"),
    "tabs": lambda t: t.replace(b" ", b"\t"),
    "wide": lambda t: t.replace(b" ", b"  \t "),
    "indented": lambda t: b"\t " + t.replace(b"\n", b"\n\t  "),
    "trailing-blanks": lambda t: t.replace(b"\n", b" \t\n"),
    "blank-lines": lambda t: t.replace(b"\n", b"\n\n \n"),
    "no-last-newline": lambda t: t.rstrip(b"\n"),
    "bom": lambda t: b"\xef\xbb\xbf" + t,
    "utf-16-le": lambda t: b"\xff\xfe" + t.decode().encode("utf-16-le"),
    "utf-16-be": lambda t: b"\xfe\xff" + t.decode().encode("utf-16-be"),
}

# --- OBJ --------------------------------------------------------------------------------------------------------------

LIBRARY = b"newmtl m\nKd 1 1 1\nmap_Kd tex.png\n"


def obj(
    corner: str = "{v}/{t}",
    head: str = "mtllib x.mtl\n",
    use: str = "usemtl m\n",
    relative: bool = False,
    split: bool = False,
    colors: Callable[[int], str] = lambda side: "",
    number: str = "{:.6f}",
    keyword: str = "f",
) -> bytes:
    """A box: every side's vertices and coordinates before its face, or faces."""
    text = head + use
    for side, square in enumerate(SIDES):
        for x in square:
            text += "v " + " ".join(number.format(c) for c in x) + colors(side) + "\n"
        for u, v in SQUARE:
            text += f"vt {u} {v}\n"
        text += "vn 0 0 1\n"
        places = [i - 4 if relative else 4 * side + i + 1 for i in range(4)]
        words = [corner.format(v=p, t=p, n=-1 if relative else side + 1) for p in places]
        for of in ([0, 1, 2], [0, 2, 3]) if split else ([0, 1, 2, 3],):
            text += f"{keyword} " + " ".join(words[i] for i in of) + "\n"
    return text.encode()


def _obj(text: bytes, library: bytes = LIBRARY, name: str = "x.mtl", picture_name: str = "tex.png") -> Files:
    return {"x.obj": text, name: library, picture_name: picture()}


def _paint(side: int, full: float = 1) -> str:
    return "".join(f" {c * full / 255:.9g}" for c in PAINT[side // 2])


def _polypaint(count: int = 24) -> bytes:
    """As ZBrush writes it, but that it has 64 vertices a line."""
    words = [f"ff{r:02x}{g:02X}{b:02x}" for r, g, b in (PAINT[i // 8] for i in range(count))]
    return f"# polypaint\n#MRGB {''.join(words[:10])}\n#MRGB {''.join(words[10:])}\n# End of MRGB block\n".encode()


def _obj_texts() -> Iterator[tuple[str, Case]]:
    """OBJ files that every encoding is tried on."""
    yield "plain", Case({"x.obj": obj("{v}", head="", use="")}, everywhere(GREY))
    yield "triangles", Case({"x.obj": obj("{v}", head="", use="", split=True)}, everywhere(GREY))
    yield "relative", Case({"x.obj": obj("{v}", head="", use="", relative=True)}, everywhere(GREY))
    yield "normals", Case({"x.obj": obj("{v}//{n}", head="", use="")}, everywhere(GREY))
    yield "textured", Case(_obj(obj()), textured())
    yield "textured-normals", Case(_obj(obj("{v}/{t}/{n}")), textured())
    yield "textured-relative", Case(_obj(obj("{v}/{t}/{n}", relative=True)), textured())
    yield "colours", Case({"x.obj": obj("{v}", head="", use="", colors=_paint)}, painted())
    yield "polypaint", Case({"x.obj": obj("{v}", head="", use="") + _polypaint()}, painted())
    yield "exponents", Case({"x.obj": obj("{v}", head="", use="", number="{:+.3E}")}, everywhere(GREY))


def _library(text: str) -> Files:
    return _obj(obj(), text.encode())


def _obj_features() -> Iterator[tuple[str, Case]]:
    kd = "newmtl m\nKd 1 1 1\n"
    for name, statement in {
        "tab": "map_Kd\ttex.png", "upper": "MAP_KD tex.png", "quotes": 'map_Kd "tex.png"',
        "apostrophes": "map_Kd 'tex.png'",
        "windows": "map_Kd C:\\Users\\me\\maps\\tex.png", "windows-slashes": "map_Kd D:/me/tex.png",
        "unc": "map_Kd \\\\host\\share\\tex.png", "unix": "map_Kd /home/me/maps/tex.png", "case": "map_Kd Tex.PNG",
        "folder-that-is-not": "map_Kd maps/tex.png", "folder-and-case": "map_Kd Maps\\TEX.png",
        "options": "map_Kd -blendu on -mm 0 1 -s 1 1 1 -o 0 0 0 -cc off -imfchan m -texres 64 -clamp off tex.png",
        "one-number": "map_Kd -s 1 -o 0 tex.png", "comment": "map_Kd tex.png # the paint",
        "dot": "map_Kd ./tex.png", "ks-first": "Ks 0 0 0\nNs 9\nillum 2\nmap_Bump none.png\nmap_Kd tex.png",
    }.items():  # fmt: skip
        yield f"map-{name}", Case(_library(f"{kd}{statement}\n"), textured())
    yield "map-scale", Case(_library(kd + "map_Kd -s 2 3 1 tex.png\n"), textured((2, 3)))
    yield "map-offset", Case(_library(kd + "map_Kd -o 0.5 0.25 tex.png\n"), textured((1, 1), (0.5, 0.25)))
    yield "map-both", Case(_library(kd + "map_Kd -o -0.5 0.5 0 -s -1 1 1 tex.png\n"), textured((-1, 1), (-0.5, 0.5)))
    yield (
        "map-ignored",
        Case(_library(kd + "map_Kd -mm 0.5 2 tex.png\n"), textured(), losses=frozenset({"option ignored"})),
    )
    corner = tuple(Look(side, (0.9, 0.9), QUADRANTS[1][1]) for side in range(6))
    yield "map-clamp", Case(_library(kd + "map_Kd -clamp on -s 3 3 1 tex.png\n"), corner)
    yield "map-spaces", Case(_obj(obj(), b"newmtl m\nmap_Kd my tex 1.png\n", picture_name="my tex 1.png"), textured())
    yield (
        "map-options-spaces",
        Case(_obj(obj(), b"newmtl m\nmap_Kd -s 1 1 1 my tex.png\n", picture_name="my tex.png"), textured()),
    )
    yield "map-images", Case(_obj(obj(), b"newmtl m\nmap_Kd tex.png\n", picture_name="images/tex.png"), textured())
    mug = {"mug/meshes/model.obj": obj(head="mtllib model.mtl\n"), "mug/meshes/model.mtl": LIBRARY}
    yield "map-scanned-objects", Case({**mug, "mug/materials/textures/tex.png": picture()}, textured())
    net = {"models/x.obj": obj(), "models/x.mtl": b"newmtl m\nKd 0 0 0\nmap_Kd ../images/tex.png\n"}
    yield "map-shapenet", Case({**net, "images/tex.png": picture()}, textured())
    lost = frozenset({"texture missing"})
    for name, statement in {"kd-black": "Kd 0 0 0", "kd-red": "Kd 1 0 0", "no-kd": ""}.items():
        yield (
            f"map-missing-{name}",
            Case(_library(f"newmtl m\n{statement}\nmap_Kd gone.png\n"), everywhere(GREY), losses=lost),
        )
    yield "kd", Case(_library("newmtl m\nKd 1 0.5 0\n"), everywhere((255, 128, 0)))
    yield "kd-one", Case(_library("newmtl m\nKd 0.2\n"), everywhere((51, 51, 51)))
    yield "kd-black", Case(_library("newmtl m\nKd 0 0 0\n"), everywhere((0, 0, 0)))
    yield "kd-none", Case(_library("newmtl m\nNs 3\n"), everywhere(GREY))
    yield "kd-does-not-tint", Case(_library("newmtl m\nKd 0.1 0 0\nmap_Kd tex.png\n"), textured())
    red = tuple(replace(look, opacity=0.25) for look in everywhere((255, 0, 0)))
    yield "d", Case(_library("newmtl m\nKd 1 0 0\nd 0.25\n"), red)
    yield "d-halo", Case(_library("newmtl m\nKd 1 0 0\nd -halo 0.25\n"), red)
    yield "tr", Case(_library("newmtl m\nKd 1 0 0\nTr 0.75\n"), red)
    opaque = _library("newmtl m\nKd 1 0 0\nTr 1.000000\n")
    yield "tr-of-1", Case(opaque, everywhere((255, 0, 0)), losses=frozenset({"option ignored"}))
    yield "d-before-tr", Case(_library("newmtl m\nKd 1 0 0\nTr 1\nd 0.25\n"), red)
    half = tuple(replace(x, opacity=128 / 255 if x.at[1] > 0.5 else 1.0) for x in textured())
    masked = {**_library(LIBRARY.decode() + "map_d mask.png\n"), "mask.png": picture(alpha=True)}
    yield "map-d", Case(masked, half)
    yield "map-d-of-itself", Case(_library(LIBRARY.decode() + "map_d ./tex.png\n"), textured())
    linked = {**_library(LIBRARY.decode() + "map_d tex.png\n"), "tex.png": picture(alpha=True)}
    yield "map-d-of-itself-with-alpha", Case(linked, half)
    yield "ke", Case(_library("newmtl m\nKd 0 0 0\nKe 0 0.5 0\n"), everywhere((0, 128, 0)))
    yield "map-ke", Case(_library("newmtl m\nKd 0 0 0\nKe 1 1 1\nmap_Ke tex.png\n"), textured())
    for name, statements, seen in (
        ("black", "Kd 0 0 0", GREY), ("black-and-ke", "Kd 0 0 0\nKe 1 1 1", GREY), ("no-kd", "Ke 1 1 1", GREY),
        ("red", "Kd 1 0 0\nKe 1 1 1", (255, 0, 0)),
    ):  # fmt: skip
        gone = _library(f"newmtl m\n{statements}\nmap_Ke gone.png\n")
        yield f"map-ke-missing-{name}", Case(gone, everywhere(seen), losses=lost)
    gone = _library("newmtl m\nKd 0 0 0\nmap_Kd tex.png\nmap_Ke gone.png\n")
    yield "map-ke-missing-beside-map-kd", Case(gone, textured(), losses=lost)
    yield (
        "map-ke-without-vt",
        Case(
            _obj(obj("{v}"), b"newmtl m\nKd 0 0 0\nKe 1 1 1\nmap_Ke tex.png\n"),
            everywhere(GREY),
            losses=frozenset({"texture coordinates missing"}),
        ),
    )
    yield "map-ke-alone", Case(_library("newmtl m\nKd 0 0 0\nmap_Ke tex.png\n"), textured())
    # libraries
    for name, head in {
        "tab": "mtllib\tx.mtl\n", "upper": "MTLLIB x.mtl\n", "quotes": 'mtllib "x.mtl"\n', "case": "mtllib X.MTL\n",
        "windows": "mtllib C:\\out\\x.mtl\n", "two-lines": "mtllib other.mtl\nmtllib x.mtl\n",
        "dot": "mtllib ./x.mtl\n",
        "two-names": "mtllib other.mtl x.mtl\n", "after-comment": "# mtllib is below\nmtllib x.mtl\n",
        "continued": "mtllib other.mtl \\\n x.mtl\n", "twice": "mtllib x.mtl\nmtllib x.mtl\n",
    }.items():  # fmt: skip
        files = {**_obj(obj(head=head)), "other.mtl": b"newmtl other\nKd 0 0 1\n"}
        yield f"library-{name}", Case(files, textured())
    yield "library-spaces", Case(_obj(obj(head="mtllib my own.mtl\n"), name="my own.mtl"), textured())
    yield "library-quoted-spaces", Case(_obj(obj(head='mtllib "my own.mtl"\n'), name="my own.mtl"), textured())
    yield (
        "library-folder",
        Case(_obj(obj(head="mtllib lib/x.mtl\n"), name="lib/x.mtl", picture_name="lib/tex.png"), textured()),
    )
    yield "library-beside-mesh", Case(_obj(obj(head="mtllib lib/x.mtl\n"), name="lib/x.mtl"), textured())
    yield "library-last", Case(_obj(obj(head="") + b"mtllib x.mtl\n"), textured())
    none = frozenset({"material missing"})
    yield "library-missing", Case({"x.obj": obj()}, everywhere(GREY), losses=none)
    yield "library-bom", Case(_obj(obj(), b"\xef\xbb\xbf" + LIBRARY), textured())
    # which material
    yield "use-none", Case(_obj(obj(use="")), textured())
    two = LIBRARY + b"newmtl n\nKd 1 0 0\n"
    yield "use-none-of-two", Case(_obj(obj(use=""), two), everywhere(GREY), losses=none)
    yield "use-unknown", Case(_obj(obj(use="usemtl who\n"), two), everywhere(GREY), losses=none)
    yield "use-case", Case(_obj(obj(use="usemtl M\n")), textured())
    yield "use-spaces", Case(_obj(obj(use="usemtl my own  \n"), b"newmtl  my own\nmap_Kd tex.png\n"), textured())
    yield "use-comment", Case(_obj(obj(use="usemtl m # of the box\n")), textured())
    yield "use-commented", Case(_obj(obj(), b"newmtl m # of the box\nmap_Kd tex.png\nnewmtl n\n"), textured())
    yield "use-number", Case(
        _obj(obj(use="usemtl m #2\n"), LIBRARY.replace(b" m", b" m #1") + b"newmtl n\n"), everywhere(GREY), losses=none
    )  # fmt: skip
    yield "use-two", Case(_obj(obj() + b"usemtl n\nf 1 2 3 4\n", two), textured(sides=range(1, 6)), faces=14, area=7.0)
    yield (
        "first-of-two-libraries",
        Case({**_obj(obj(head="mtllib x.mtl y.mtl\n")), "y.mtl": b"newmtl m\nKd 0 1 0\n"}, textured()),
    )

    # colours of vertices
    def bytes_of(side: int) -> str:
        return _paint(side, 255)

    yield "colours-255", Case({"x.obj": obj("{v}", head="", use="", colors=bytes_of)}, painted())
    over = obj("{v}", head="", use="", colors=lambda side: _paint(side).replace("1", "1.0000001"))
    yield "colours-above-1", Case({"x.obj": over}, painted())
    glare = obj("{v}", head="", use="", colors=lambda side: _paint(side, 1.5))
    yield "colours-of-glare", Case({"x.obj": glare}, painted())
    yield (
        "colours-65535",
        Case({"x.obj": obj("{v}", head="", use="", colors=lambda side: _paint(side, 65535))}, painted()),
    )
    yield (
        "colours-opacity",
        Case({"x.obj": obj("{v}", head="", use="", colors=lambda side: _paint(side) + " 0.5")}, painted(0.5)),
    )
    for name, more in (("eight", " 1"), ("nine", " 0 0 -1")):
        long = obj("{v}", head="", use="", colors=lambda side, more=more: _paint(side) + " 0"[: 6 - len(more)] + more)
        yield (
            f"colours-of-{name}-numbers",
            Case({"x.obj": long}, everywhere(GREY), losses=frozenset({"colours dropped"})),
        )
    few = obj("{v}", head="", use="") + _polypaint(23)
    yield "part-of-polypaint", Case({"x.obj": few}, everywhere(GREY), losses=frozenset({"colours dropped"}))
    yield "polypaint-and-kd", Case(_obj(obj() + _polypaint(), b"newmtl m\nKd 1 1 1\n"), painted())
    yield "weights", Case({"x.obj": obj("{v}", head="", use="", colors=lambda side: " 1.0")}, everywhere(GREY))
    yield "colours-and-kd", Case(_obj(obj(colors=_paint), b"newmtl m\nKd 1 1 1\n"), painted())
    yield "colours-and-texture", Case(_obj(obj(colors=_paint)), textured())
    yield "white-and-kd", Case(_obj(obj(colors=lambda s: " 1 1 1"), b"newmtl m\nKd 1 0 0\n"), everywhere((255, 0, 0)))
    yield "white", Case({"x.obj": obj("{v}", head="", use="", colors=lambda s: " 1 1 1")}, everywhere(WHITE))
    some = obj("{v}", head="", use="", colors=lambda side: _paint(side) if side > 1 else "")
    yield "colours-of-some", Case({"x.obj": some}, (*everywhere(GREY)[:2], *painted()[2:]))
    # faces
    lacking = _obj(obj() + b"v 5 0 0\nf 1 2 25\n")
    half_base = 0.5 * 1.0 * float(np.hypot(4.5, 0.5))
    yield (
        "face-without-vt",
        Case(
            lacking,
            textured(),
            13,
            6 + half_base,
            high=(5, 0.5, 0.5),
            losses=frozenset({"texture coordinates missing"}),
        ),
    )
    yield "fo", Case({"x.obj": obj("{v}", head="", use="", keyword="fo")}, everywhere(GREY))
    yield "continued", Case({"x.obj": obj("{v}", head="", use="").replace(b" 3 4\n", b" \\\n 3 4\n")}, everywhere(GREY))
    yield (
        "comments",
        Case({"x.obj": obj("{v}", head="# C:\\box\\\n", use="").replace(b"\n", b" # x\n")}, everywhere(GREY)),
    )
    yield "zero-vt", Case({"x.obj": obj("{v}/0/0", head="", use="")}, everywhere(GREY))
    yield (
        "lines",
        Case(
            {"x.obj": obj("{v}", head="", use="") + b"l 1 2 3\np 1\n"}, losses=frozenset({"points or lines not drawn"})
        ),
    )
    yield "short-face", Case({"x.obj": obj("{v}", head="", use="") + b"f 1 2\n"}, losses=frozenset({"faces dropped"}))
    yield "groups", Case({"x.obj": b"g a b\no C:\\x\\\ns off\n" + obj("{v}", head="", use="")}, everywhere(GREY))
    for name, statement, kind in (
        ("call", "call other.obj 1 2", "faces dropped"), ("usemap", "usemap brick", "texture not read"),
        ("usemap-off", "maplib x.map\nusemap off", ""), ("bevel", "bevel off\nlod 3\nc_interp off", ""),
    ):  # fmt: skip
        text = f"{statement}\n".encode() + obj("{v}", head="", use="")
        yield f"statement-{name}", Case({"x.obj": text}, everywhere(GREY), losses=frozenset({kind} - {""}))
    yield (
        "unknown-statement",
        Case({"x.obj": b"colour red\n" + obj("{v}", head="", use="")}, losses=frozenset({"extension ignored"})),
    )
    yield (
        "far",
        Case({"x.obj": _moved(obj("{v}", head="", use=""))}, low=(4649775.5, -0.5, -0.5), high=(4649776.5, 0.5, 0.5)),
    )
    yield (
        "concave",
        Case(
            {"x.obj": b"".join(b"v %d %d 0\n" % p for p in L) + b"f 1 2 3 4 5 6\n"}, (), 4, 12.0, (0, 0, 0), (4, 4, 0)
        ),
    )


L = ((0, 0), (4, 0), (4, 2), (2, 2), (2, 4), (0, 4))
"""A concave outline of area 12."""


def _moved(text: bytes) -> bytes:
    return text.replace(b"v 0.5", b"v 4649776.5").replace(b"v -0.5", b"v 4649775.5")


# --- PLY --------------------------------------------------------------------------------------------------------------

_FORMATS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_CODES = {"char": "b", "uchar": "B", "short": "h", "ushort": "H", "int": "i", "uint": "I", "float": "f", "double": "d"}
_CODES |= {"int8": "b", "uint8": "B", "int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "float32": "f"}

Value = float | Sequence[float]
Element = tuple[str, Sequence[str], Sequence[Sequence[Value]]]
"""Name, properties as the header has them, and rows."""


def ply(form: str, elements: Sequence[Element], comments: Sequence[str] = (), end: str = "\n") -> bytes:
    lines = ["ply", f"format {form} 1.0", *(f"comment {c}" for c in comments)]
    for name, properties, rows in elements:
        lines += [f"element {name} {len(rows)}", *(f"property {p}" for p in properties)]
    data = (end.join([*lines, "end_header"]) + end).encode()
    for _, properties, rows in elements:
        for row in rows:
            data += _row(form, properties, row, end)
    return data


def _row(form: str, properties: Sequence[str], row: Sequence[Value], end: str) -> bytes:
    found, words = b"", []
    for text, value in zip(properties, row, strict=True):
        kind, *rest = text.split()
        values = [value] if isinstance(value, int | float) else list(value)
        types = [kind] * len(values)
        if kind == "list":
            values, types = [len(values), *values], [rest[0], *[rest[1]] * len(values)]
        words += [
            f"{v:.9g}" if t in ("float", "double", "float32") else str(int(v))
            for v, t in zip(values, types, strict=True)
        ]
        if form != "ascii":
            for v, t in zip(values, types, strict=True):
                code = _CODES[t]
                found += struct.pack(_FORMATS[form] + code, v if code in "fd" else int(v))
    return found if form != "ascii" else " ".join(words).encode() + end.encode()


XYZ = ("float x", "float y", "float z")
FACES: Element = ("face", ["list uchar int vertex_indices"], [[range(4 * k, 4 * k + 4)] for k in range(6)])


def vertices(
    extra: Sequence[str] = (), of: Callable[[int, int], Sequence[float]] = lambda k, i: (), xyz: Sequence[str] = XYZ
) -> Element:
    rows = [[*map(float, SIDES[k][i]), *of(k, i)] for k, i in itertools.product(range(6), range(4))]
    return "vertex", [*xyz, *extra], rows


def _ply_features(form: str) -> Iterator[tuple[str, Case]]:
    def case(
        elements: Sequence[Element], looks: tuple[Look, ...], comments: Sequence[str] = (), **more: object
    ) -> Case:
        files = {"x.ply": ply(form, elements, comments), "tex.png": picture()}
        return replace(Case(files, looks), **more)  # type: ignore[arg-type]

    grey = everywhere(GREY)
    yield "plain", case([vertices(), FACES], grey)
    yield "double", case([vertices(xyz=("double x", "double y", "double z")), FACES], grey)
    triangles = [[(4 * k, 4 * k + 1, 4 * k + 2)] for k in range(6)] + [
        [(4 * k, 4 * k + 2, 4 * k + 3)] for k in range(6)
    ]
    yield "triangles", case([vertices(), ("face", FACES[1], triangles)], grey)
    yield "mixed", case([vertices(), ("face", FACES[1], [*triangles[:1], *triangles[6:7], *FACES[2][1:]])], grey)
    yield "vertex_index", case([vertices(), ("face", ["list uchar uint vertex_index"], FACES[2])], grey)
    for counter, item in (
        ("uint8", "int32"),
        ("int", "ushort"),
        ("ushort", "uchar"),
        ("int8", "short"),
        ("uint", "uint32"),
    ):
        yield (
            f"list-{counter}-{item}",
            case([vertices(), ("face", [f"list {counter} {item} vertex_indices"], FACES[2])], grey),
        )
    strip = [i for k in range(6) for i in (4 * k, 4 * k + 1, 4 * k + 3, 4 * k + 2, -1)]
    yield "tristrips", case([vertices(), ("tristrips", ["list int int vertex_indices"], [[strip]])], grey)
    yield (
        "tristrips-many",
        case(
            [
                vertices(),
                ("tristrips", ["list int int vertex_indices"], [[strip[5 * k : 5 * k + 4]] for k in range(6)]),
            ],
            grey,
        ),
    )
    yield "faces-first", case([FACES, vertices()], grey)
    yield (
        "skips",
        case(
            [
                ("camera", ["float a", "list uchar float b"], [[1, (2, 3)], [4, ()]]),
                vertices(["uchar flags", "float nx"], lambda k, i: (7, 0.5)),
                ("pair", ["int vertex1", "int vertex2"], [[0, 1]]),
                ("face", ["int group", "list uchar short neighbours", *FACES[1]], [[3, (1, 2), *f] for f in FACES[2]]),
                ("material", ["list int uchar name"], [[(65, 66)]]),
            ],
            grey,
        ),
    )
    edges = ("edge", ["int vertex1", "int vertex2"], [[0, 1], [1, 2]])
    lines = frozenset({"points or lines not drawn"})
    yield "edges", case([vertices(), edges, FACES], grey, losses=lines)
    for prefix in ("", "diffuse_"):
        for kind, full in {"uchar": 255, "ushort": 65535, "float": 1, "double": 1, "int": 255}.items():
            extra = [f"{kind} {prefix}{c}" for c in ("red", "green", "blue")]
            elements = [vertices(extra, lambda k, i, f=full: [c * f / 255 for c in PAINT[k // 2]]), FACES]
            yield f"colours-{prefix}{kind}", case(elements, painted())
    for name, kind, full in (
        ("of-255", "ushort", 255), ("of-65535", "int", 65535), ("of-255", "float", 255), ("above-1", "float", 1.000001),
        ("of-glare", "double", 1.7),
    ):  # fmt: skip
        extra = [f"{kind} {c}" for c in ("red", "green", "blue")]
        elements = [vertices(extra, lambda k, i, f=full: [c * f / 255 for c in PAINT[k // 2]]), FACES]
        yield f"colours-{name}-{kind}", case(elements, painted())
    short = [f"uchar {c}" for c in "rgb"]
    yield "colours-r", case([vertices(short, lambda k, i: PAINT[k // 2]), FACES], painted())
    upper = [f"uchar {c}" for c in ("Red", "GREEN", "Blue")]
    capitals = vertices(upper, lambda k, i: PAINT[k // 2], ("float X", "float Y", "float Z"))
    yield "colours-of-capitals", case([capitals, FACES], painted())
    dropped = frozenset({"colours dropped"})
    for name, extra in (
        ("intensity", ["float intensity"]), ("scalar", ["float scalar_Intensity"]),
        ("two", ["uchar red", "uchar green"]),
        ("ambient", [f"uchar ambient_{c}" for c in ("red", "green", "blue")]),
    ):  # fmt: skip
        unread = vertices(extra, lambda k, i, n=len(extra): [k] * n)
        yield f"unread-{name}", case([unread, FACES], grey, losses=dropped)
    yield "intensity-of-nothing", case([vertices(["float intensity"], lambda k, i: [0.5]), FACES], grey)
    for prop, value in (("list uchar float color", (0.5,) * 12), ("int material_index", 0)):
        faces: Element = ("face", [*FACES[1], prop], [[*f, value] for f in FACES[2]])
        yield f"unread-{prop.split()[-1]}", case([vertices(), faces], grey, losses=dropped)
    rgba = [f"uchar {c}" for c in ("red", "green", "blue", "alpha")]
    yield "alpha", case([vertices(rgba, lambda k, i: (*PAINT[k // 2], 51)), FACES], painted(0.2))
    yield "alpha-full", case([vertices(rgba, lambda k, i: (*PAINT[k // 2], 255)), FACES], painted())
    yield (
        "alpha-float",
        case([vertices([*rgba[:3], "float alpha"], lambda k, i: (*PAINT[k // 2], 0.2)), FACES], painted(0.2)),
    )
    mixed = [*(f"ushort {c}" for c in ("red", "green", "blue")), "uchar alpha"]
    yield "alpha-uchar", case([vertices(mixed, lambda k, i: (*PAINT[k // 2], 51)), FACES], painted(0.2))
    yield (
        "alpha-none",
        case(
            [vertices(rgba, lambda k, i: (*PAINT[k // 2], 0)), FACES], painted(), losses=frozenset({"colours dropped"})
        ),
    )
    colored = ("face", [*FACES[1], *rgba[:3]], [[*f, *PAINT[k // 2]] for k, f in enumerate(FACES[2])])
    yield "face-colours", case([vertices(), colored], painted())
    yield "vertex-and-face-colours", case([vertices(short, lambda k, i: PAINT[k // 2]), colored], painted())
    note = ["made by hand", "TextureFile tex.png"]
    for pair in (("u", "v"), ("s", "t"), ("texture_u", "texture_v")):
        yield (
            f"uv-{pair[0]}",
            case([vertices([f"float {c}" for c in pair], lambda k, i: SQUARE[i]), FACES], textured(), note),
        )
    flat = [c for uv in SQUARE for c in uv]
    listed = ("face", [*FACES[1], "list uchar float texcoord"], [[*f, flat] for f in FACES[2]])
    yield "texcoord", case([vertices(), listed], textured(), note)
    some = ("face", listed[1], [[*f, flat if k else ()] for k, f in enumerate(FACES[2])])
    lost = frozenset({"texture coordinates missing"})
    yield "texcoord-of-some", case([vertices(), some], (grey[0], *textured(sides=range(1, 6))), note, losses=lost)
    numbered = ("face", [*listed[1], "int texnumber"], [[*f, k % 2] for k, f in enumerate(listed[2])])
    yield "texnumber", case([vertices(), numbered], textured(), [*note, "TextureFile tex.png"])
    yield (
        "texture-and-colours",
        case([vertices(["float u", "float v", *short], lambda k, i: (*SQUARE[i], 9, 9, 9)), FACES], textured(), note),
    )
    yield "texture-missing", case(
        [vertices(["float u", "float v"], lambda k, i: SQUARE[i]), FACES], grey, ["TextureFile gone.png"],
        losses=frozenset({"texture missing"}),
    )  # fmt: skip
    yield "texture-without-uv", case([vertices(), FACES], grey, note, losses=lost)
    yield (
        "short-face",
        case([vertices(), ("face", FACES[1], [*FACES[2], [(0, 1)]])], grey, losses=frozenset({"faces dropped"})),
    )
    outline: Element = ("vertex", XYZ, [(x, y, 0) for x, y in L])
    yield (
        "concave",
        case([outline, ("face", FACES[1], [[range(6)]])], (), faces=4, area=12.0, low=(0, 0, 0), high=(4, 4, 0)),
    )


# --- STL --------------------------------------------------------------------------------------------------------------

TRIANGLES = np.concatenate([SIDES[:, [0, 1, 2]], SIDES[:, [0, 2, 3]]])


def stl_text(
    name: str = "box",
    form: str = "{:.6e}",
    join: str = " ",
    normal: str = "0 0 0",
    end: str = "endsolid box\n",
    squares: bool = False,
) -> bytes:
    text = f"solid {name}\n"
    for facet in SIDES if squares else TRIANGLES:
        text += f"facet normal {normal}\nouter loop\n"
        text += "".join(f"vertex {join.join(form.format(c) for c in corner)}\n" for corner in facet)
        text += "endloop\nendfacet\n"
    return (text + end).encode()


def stl_binary(head: bytes = b"made by hand", attributes: Sequence[int] = (0,) * 12, more: bytes = b"") -> bytes:
    data = head.ljust(80, b"\0") + struct.pack("<I", 12)
    for facet, attribute in zip(TRIANGLES, attributes, strict=True):
        data += struct.pack("<12fH", 0, 0, 0, *facet.ravel(), attribute)
    return data + more


def _stl_texts() -> Iterator[tuple[str, bytes]]:
    yield "plain", stl_text()
    yield "squares", stl_text(squares=True)
    yield "no-endsolid", stl_text(end="")


def _stl_features() -> Iterator[tuple[str, Case]]:
    for name, text in {
        "upper": stl_text().upper(), "no-name": stl_text(""), "name-vertex": stl_text("vertex 1 2 3"),
        "name-facet": stl_text("a facet of normal endsolid"), "name-long": stl_text("x" * 500),
        "one-line": stl_text("box").replace(b"\n", b" "), "commas": stl_text(join=", "),
        "commas-tight": stl_text(join=","),
        "commas-decimal": stl_text(form="{:.3f}").replace(b".", b","),
        "nan-normals": stl_text(normal="nan -nan(ind) 1.#QNAN"),
        "two-solids": stl_text()[:-13].replace(b"solid box", b"solid a", 1) + b"endsolid a\nsolid b\nendsolid b\n",
        "end-apart": stl_text().replace(b"endl", b"end l").replace(b"endf", b"end f"),
        "no-solid": stl_text().partition(b"\n")[2],
        "integers": stl_text(form="{:.1f}"), "wrapped": stl_text().replace(b"vertex ", b"vertex\n "),
    }.items():  # fmt: skip
        yield f"text-{name}", Case({"x.stl": text}, everywhere(GREY))
    yield "binary", Case({"x.stl": stl_binary()}, everywhere(GREY))
    yield "binary-solid", Case({"x.stl": stl_binary(b"solid facet normal")}, everywhere(GREY))
    yield "binary-trailing", Case({"x.stl": stl_binary(more=b"end of file\0" * 9)}, everywhere(GREY))
    few = stl_binary()[:80] + struct.pack("<I", 2) + stl_binary(more=b"\r\n")[84:]
    yield "binary-few-counted", Case({"x.stl": few}, faces=2, area=1.0, losses=frozenset({"faces dropped"}))
    yield "binary-solid-trailing", Case({"x.stl": stl_binary(b"solid from a CAD", more=b"\0\0")}, everywhere(GREY))
    marked = frozenset({"colours dropped"})
    yield (
        "binary-attributes",
        Case({"x.stl": stl_binary(attributes=[0x8000 | 31] * 12)}, everywhere(GREY), losses=marked),
    )
    bits = [31, 31 << 5, 31 << 10]
    paint = [bits[k % 6 // 2] for k in range(12)]
    yield "binary-magics", Case({"x.stl": stl_binary(b"COLOR=" + bytes((9, 9, 9, 255)), paint)}, painted())
    yield (
        "binary-magics-whole",
        Case({"x.stl": stl_binary(b"COLOR=" + bytes((200, 40, 40, 255)), [0x8000] * 12)}, everywhere((200, 40, 40))),
    )
    meshlab = stl_binary(b"COLOR=\x7f\x7f\x7f ", [bit | 0x8000 for bit in paint])
    yield "binary-magics-of-meshlab", Case({"x.stl": meshlab}, painted())
    yield (
        "binary-magics-zeros",
        Case({"x.stl": stl_binary(b"COLOR=" + bytes((200, 40, 40, 255)))}, everywhere((200, 40, 40))),
    )


# --- OFF --------------------------------------------------------------------------------------------------------------


def off(
    head: str = "OFF\n",
    counts: str = "24 6 0\n",
    vertex: Callable[[int, int], str] = lambda k, i: "",
    face: Callable[[int], str] = lambda k: "",
) -> bytes:
    text = head + counts
    for k, i in itertools.product(range(6), range(4)):
        text += " ".join(f"{c:.6f}" for c in SIDES[k][i]) + vertex(k, i) + "\n"
    for k in range(6):
        text += f"4 {4 * k} {4 * k + 1} {4 * k + 2} {4 * k + 3}{face(k)}\n"
    return text.encode()


def _words(values: Sequence[float]) -> str:
    return "".join(f" {v:.9g}" for v in values)


def _off_texts() -> Iterator[tuple[str, Case]]:
    yield "plain", Case({"x.off": off()}, everywhere(GREY))
    yield "coff", Case({"x.off": off("COFF\n", vertex=lambda k, i: _words((*PAINT[k // 2], 255)))}, painted())
    yield "face-colours", Case({"x.off": off(face=lambda k: _words(PAINT[k // 2]))}, painted())


def _off_features() -> Iterator[tuple[str, Case]]:
    for name, head in {
        "lower": "off\n", "mixed-case": "Off\n", "none": "", "one-line": "OFF ", "glued": "OFF",
        "comment": "# a box\nOFF # x\n# y\n",
    }.items():  # fmt: skip
        yield f"head-{name}", Case({"x.off": off(head)}, everywhere(GREY))
    yield "two-counts", Case({"x.off": off(counts="24 6\n")}, everywhere(GREY))
    yield "edges", Case({"x.off": off(counts="24 6 -1 # and edges\n")}, everywhere(GREY))
    yield "comments", Case({"x.off": off().replace(b"\n", b" # x\n# y\n")}, everywhere(GREY))
    unit = [[c / 255 for c in color] for color in PAINT]
    yield "coff-float", Case({"x.off": off("COFF\n", vertex=lambda k, i: _words((*unit[k // 2], 1)))}, painted())
    over = [[1.0000001 * c for c in color] for color in unit]
    yield "coff-above-1", Case({"x.off": off("COFF\n", vertex=lambda k, i: _words((*over[k // 2], 1)))}, painted())
    level = Case({"x.off": off("COFF\n", vertex=lambda k, i: _words((*unit[k // 2], 255)))}, painted())
    yield "coff-float-opacity-255", level
    yield "coff-three", Case({"x.off": off("COFF\n", vertex=lambda k, i: _words(PAINT[k // 2]))}, painted())
    yield "coff-alpha", Case({"x.off": off("coff\n", vertex=lambda k, i: _words((*unit[k // 2], 0.5)))}, painted(0.5))
    dropped = frozenset({"colours dropped"})
    hidden = off("COFF\n", vertex=lambda k, i: _words((*PAINT[k // 2], 0)))
    yield "coff-alpha-none", Case({"x.off": hidden}, painted(), losses=dropped)
    yield "coff-map", Case({"x.off": off("COFF\n", vertex=lambda k, i: " 3")}, everywhere(GREY), losses=dropped)
    yield "six-columns-of-normals", Case(
        {"x.off": off(vertex=lambda k, i: _words(SIDES[k].mean(axis=0)))}, everywhere(GREY), losses=dropped
    )  # fmt: skip
    for name, alpha in (("", (255,)), ("-three", ())):
        last = off("NCOFF\n", vertex=lambda k, i, a=alpha: _words((*PAINT[k // 2], *a, *SIDES[k].mean(axis=0))))
        yield f"ncoff-of-meshlab{name}", Case({"x.off": last}, painted())
    first = off("NCOFF\n", vertex=lambda k, i: _words((*SIDES[k].mean(axis=0), *PAINT[k // 2], 255)))
    yield "ncoff-of-negative-normals", Case({"x.off": first}, painted())
    yield "noff", Case({"x.off": off("NOFF\n", vertex=lambda k, i: " 0 0 1")}, everywhere(GREY))
    for head in ("CNOFF", "NCOFF"):
        yield (
            head.lower(),
            Case({"x.off": off(f"{head}\n", vertex=lambda k, i: " 0 0 1" + _words((*PAINT[k // 2], 255)))}, painted()),
        )
    yield "stoff", Case({"x.off": off("STOFF\n", vertex=lambda k, i: _words(SQUARE[i]))}, everywhere(GREY))
    yield (
        "stcnoff",
        Case(
            {"x.off": off("STCNOFF\n", vertex=lambda k, i: " 0 0 1" + _words((*PAINT[k // 2], 255, *SQUARE[i])))},
            painted(),
        ),
    )
    yield "face-float", Case({"x.off": off(face=lambda k: _words((*unit[k // 2], 1)))}, painted())
    yield (
        "face-some",
        Case(
            {"x.off": off(face=lambda k: _words(PAINT[k // 2]) if k > 1 else "")},
            (*everywhere(GREY)[:2], *painted()[2:]),
        ),
    )
    # each colour in one of two scales, and whole numbers among fractions
    scales = [(PAINT, unit)[k % 2][k // 2] for k in range(6)]
    dotted = off(face=lambda k: "".join(f" {v:.1f}" if k % 2 else f" {v:d}" for v in map(int, scales[k])))
    yield "face-of-two-scales", Case({"x.off": dotted}, painted())
    grey_and_paint = off(face=lambda k: _words(PAINT[k // 2]) if k > 1 else " 0.5 0.5 0.5 1.0")
    yield (
        "face-of-fractions-and-levels",
        Case({"x.off": grey_and_paint}, (*everywhere((128, 128, 128))[:2], *painted()[2:])),
    )
    whole = off(face=lambda k: " 1 0 0" if k < 2 else " 0.5 0.5 0.5")
    yield "face-of-fractions-and-ones", Case({"x.off": whole}, (*painted()[:2], *everywhere((128, 128, 128))[2:]))
    more = off() + b"\n# and\n4 0 1 2 3\n4 4 5 6 7\n"
    yield "more-faces-than-counted", Case({"x.off": more}, everywhere(GREY), losses=frozenset({"faces dropped"}))
    yield (
        "face-map",
        Case({"x.off": off(face=lambda k: f" {k}")}, everywhere(GREY), losses=frozenset({"colours dropped"})),
    )
    yield "stoff-three", Case({"x.off": off("STOFF\n", vertex=lambda k, i: " 0.5 0.5 0")}, everywhere(GREY))
    yield from _off_free()
    short = off(counts="24 7 0\n") + b"2 0 1\n"
    yield "short-face", Case({"x.off": short}, everywhere(GREY), losses=frozenset({"faces dropped"}))
    outline = "OFF\n6 1 0\n" + "".join(f"{x} {y} 0\n" for x, y in L) + "6 0 1 2 3 4 5\n"
    yield "concave", Case({"x.off": outline.encode()}, (), 4, 12.0, (0, 0, 0), (4, 4, 0))


def _off_free() -> Iterator[tuple[str, Case]]:
    """Numbers as they come, which Geomview reads."""
    whole = off()
    for name, text in {
        "counts": off(counts="24 # of vertices\n\n6\n0\n"), "word-a-line": whole.replace(b" ", b"\n"),
        "one-line": whole.replace(b"\n", b" "), "comments": whole.replace(b" ", b" # x\n# y\n"),
        "two-vertices-a-line": whole.replace(b"\n-0.5", b" -0.5"), "counts-before-a-vertex": off(counts="24 6 0 "),
        "corners-on-lines": whole.replace(b"\n4 ", b"\n4\n"),
    }.items():  # fmt: skip
        yield f"free-{name}", Case({"x.off": text}, everywhere(GREY))
    painted_faces = off(face=lambda k: _words(PAINT[k // 2])).replace(b"\n-0.5", b" -0.5")
    yield "free-face-colours", Case({"x.off": painted_faces}, painted())
    for head in ("COFF\n", "STCNOFF\n"):
        more = (lambda k, i: _words((*PAINT[k // 2], 255))) if head[0] == "C" else (
            lambda k, i: " 0 0 1" + _words((*PAINT[k // 2], 255, *SQUARE[i]))
        )  # fmt: skip
        yield f"free-{head[:-1].lower()}", Case({"x.off": off(head, vertex=more).replace(b" ", b"\n")}, painted())


def _encoded(case: Case, encoding: Encoding) -> Case:
    (own, data), *others = case.files.items()
    return replace(case, files={own: encoding(data), **dict(others)})


def _all() -> Iterator[tuple[str, Case]]:
    for (name, case), (how, encoding) in itertools.product(_obj_texts(), ENCODINGS.items()):
        yield f"obj-{name}-{how}", _encoded(case, encoding)
    for name, case in _obj_features():
        yield f"obj-{name}", case
    for form in _FORMATS:
        for name, case in _ply_features(form):
            yield f"ply-{form.removesuffix('_endian')}-{name}", case
    for form, end in itertools.product(_FORMATS, ("\r\n", "\r")):
        data = ply(form, [vertices(), FACES], end=end)
        yield f"ply-{form}-{'crlf' if len(end) > 1 else 'cr'}", Case({"x.ply": data}, everywhere(GREY))
    for (name, text), (how, encoding) in itertools.product(_stl_texts(), ENCODINGS.items()):
        yield f"stl-{name}-{how}", Case({"x.stl": encoding(text)}, everywhere(GREY))
    for name, case in _stl_features():
        yield f"stl-{name}", case
    for (name, case), (how, encoding) in itertools.product(_off_texts(), ENCODINGS.items()):
        yield f"off-{name}-{how}", _encoded(case, encoding)
    for name, case in _off_features():
        yield f"off-{name}", case


CASES: Mapping[str, Case] = dict(_all())
