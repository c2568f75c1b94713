"""What is wrong with an OBJ, PLY, STL or OFF file is one line that names where; nothing else comes out of a reader."""

from __future__ import annotations

import importlib
import struct
from pathlib import Path

import pytest

from captionless.errors import DataError
from captionless.precompute.object_files import ObjectFiles, Scope
from captionless.spec.data import ReadingLimits
from tests import meshes
from tests.precompute.meshes import text_files
from tests.precompute.meshes.test_text_files import read

V = b"v 0 0 0\nv 1 0 0\nv 0 1 0\n"
HEAD = "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
FACE = "element face 1\nproperty list uchar int vertex_indices\nend_header\n"
POINTS = "0 0 0\n1 0 0\n0 1 0\n"


def ply(head: str = HEAD, face: str = FACE, rows: str = POINTS + "3 0 1 2\n") -> bytes:
    return (head + face + rows).encode()


FACET = "facet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 1 0 0\nvertex 0 1 0\nendloop\nendfacet\n"
STL = f"solid x\n{FACET}"
OFF = "OFF\n3 1 0\n" + POINTS

WRONG = {
    "x.obj": [
        (b"v 0 0\n" + V, "line 1: expected three coordinates"),
        (V + b"v 1 2", "truncated"),
        (V + b"\r\nv 0 zero 0\r\n", "line 5: expected a number, not 'zero'"),
        (V + b"v 0,5 0 0\n", "line 4: expected a number, not '0,5'"),
        (V + b"f 1 2 4\n", "line 4: a face names vertex 4 of 3"),
        (V + b"\n# x\nf 1 2 3\nf 3 2 9\n", "line 7: a face names vertex 9 of 3"),
        (V + b"f 1 2 -4\n", "line 4: an index names what is not there"),
        (V + b"f 0 1 2\n", "line 4: expected an index"),
        (V + b"f 1/1 2/2 3/3\n", "line 4: a face names texture coordinate 1 of 0"),
        (V + b"vt 0 0\nf 1/-2 2/1 3/1\n", "line 5: an index names"),
        (V + b"f 1.0 2 3\n", "line 4: expected an index"),
        (V + b"f 1 2 3x\n", "line 4: expected an index .*not '3x'"),
        (V + b"f 1 2 99999999999999999999\n", "line 4: an index names"),
        (V + b"f 1 2", "truncated"),
        (V + b"vt\nf 1 2 3\n", "line 4: expected a number"),
        (b"\xff\xfe\x00", "UTF-16"),
    ],
    "x.ply": [
        (b"solid", "does not begin with ply"),
        (b"ply\nformat ascii 1.0\n", "no end_header"),
        (ply(HEAD.replace("1.0", "2.0")), "line 2: expected version 1.0"),
        (ply(HEAD.replace("ascii", "binary_middle_endian")), "line 2: expected one of ascii"),
        (ply(HEAD.replace("format ascii 1.0\n", "")), "no format"),
        (ply(HEAD.replace("float x", "float16 x")), "line 4: expected a type .*'float16'"),
        (ply(HEAD.replace("float x", "float y")), "line 5: there is a second property y"),
        (ply(HEAD.replace("float x", "float w")), "no property x"),
        (ply(HEAD.replace("vertex 3", "point 3")), "no element vertex"),
        (ply(HEAD.replace("vertex 3", "vertex -3")), "line 3: expected an element's name and count"),
        (ply(HEAD.replace("vertex 3", "vertex 3000000000")), "truncated|at most"),
        (ply(face=FACE.replace("uchar int", "float int")), "line 8: expected a whole number"),
        (ply(face=FACE.replace("vertex_indices", "corners")), "no list vertex_indices"),
        (ply(face=FACE.replace("end_header", "hello\nend_header")), "line 9: expected a keyword"),
        (ply(face="element face 1\nproperty list int vertex_indices\nend_header\n"), "line 8: expected a property's"),
        (ply(rows=POINTS), "ends within face 0 of 1|ends before"),
        (ply(rows=POINTS + "3 0 1\n"), "ends within face 0 of 1"),
        (ply(rows=POINTS + "3 0 1 5\n"), "face 0 names vertex 5 of 3"),
        (ply(rows=POINTS + "3 0 1 -1\n"), "face 0 names vertex -1 of 3"),
        (ply(rows=POINTS + "3 0 1 0.5\n"), "face 0 names vertex 0.5"),
        (ply(rows=POINTS + "-3 0 1 2\n"), "length of a list"),
        (ply(rows=POINTS + "3 0 1 two\n"), "line 13: expected a number, not 'two'"),
        (
            ply(face=FACE.replace("face 1", "face 2"), rows=POINTS + "3 0 1 2 7\n" * 2),
            "line 13: expected the end of face 0 of 2, not '7'",
        ),
        (
            ply(rows=POINTS.replace("0 0 0", "0 0 0 7") + "3 0 1 2\n"),
            "line 10: expected the end of vertex 0 of 3, not '7'",
        ),
    ],
    "x.stl": [
        (b"", "not an STL"),
        (b"\x00" * 83, "not an STL"),
        (b"\x00" * 80 + struct.pack("<I", 9) + b"\x00" * 50, "9 faces by its header and 1 by its length"),
        (text_files.stl_binary()[:-1], "truncated"),
        (f"# by hand\n{STL}".encode(), "line 1: expected a statement .*'#'"),
        (f"{STL}facet normal".encode(), "ends within a facet"),
        (STL.replace("endfacet\n", "").encode(), "ends within a facet"),
        (STL.replace("vertex 1 0 0", "vertex 1 x 0").encode(), "line 5: expected a number, not 'x'"),
        (STL.replace("vertex 1 0 0", "vertex 1 0").encode(), "line 6: expected a number, not 'vertex'"),
        (STL.replace("vertex 1 0 0\n", "").encode(), "line 7: expected three vertices"),
        (STL.replace("endfacet", "endface").encode(), "line 8: expected a statement .*'endface'"),
        (f"{STL}vertex 1 2 3\n".encode(), "line 9: expected a statement"),
    ],
    "x.off": [
        (b"NOT\n1 2 3\n", "does not begin with OFF"),
        (b"OFF\n", "truncated"),
        (b"OFF\nthree 1 0\n", "line 2: expected the numbers"),
        (b"OFF BINARY\n3 1 0\n", "OFF BINARY is not read"),
        (b"4OFF\n3 1 0\n", "4OFF is not read"),
        (b"nOFF\n4 3 1 0\n", "nOFF is not read"),
        (b"OFF\n1000000000 1000000000 0\n0 0 0\n", "truncated|at most"),
        (OFF.encode(), "truncated"),
        ((OFF + "3 0 1 3\n").encode(), "line 6: expected a whole number from 0 to 2, not '3'"),
        ((OFF + "3 0 1\n").encode(), "line 6: .*where the line ends|truncated"),
        ((OFF + "x 0 1 2\n").encode(), "line 6: expected a number of corners, not 'x'"),
        ((OFF + "3 0 1 2 9 9\n").encode(), "line 6: expected the end of the line, or a colour"),
        ((OFF.replace("1 0 0", "1 0") + "3 0 1 2\n").encode(), "line 4: expected 3 numbers"),
        ((OFF.replace("1 0 0", "1 z 0") + "3 0 1 2\n").encode(), "line 4: expected a number, not 'z'"),
        ((OFF.replace("0 0 0", "0 0") + "3 0 1 2\n").encode(), "line 3: expected a line of 3 to"),
    ],
}


@pytest.mark.parametrize(("name", "content", "line"), [(n, *w) for n, several in WRONG.items() for w in several])
def test_what_is_wrong_is_named(tmp_path: Path, name: str, content: bytes, line: str) -> None:
    with pytest.raises(DataError, match=line) as caught:
        read(tmp_path, {name: content})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("library", "line"),
    [(b"newmtl m\nKd red\n", r"x\.mtl, line 2: Kd expects three numbers, not 'red'"),
     (b"newmtl m\n\nd\n", r"x\.mtl, line 3: d expects a number"),
     (b"newmtl m\nKd 0.5 nan 0\n", r"x\.mtl, line 2: Kd"), (b"newmtl m\nKd 0.5 1\n", r"x\.mtl, line 2: Kd")],
)  # fmt: skip
def test_what_is_wrong_with_a_library_is_named(tmp_path: Path, library: bytes, line: str) -> None:
    with pytest.raises(DataError, match=line):
        read(tmp_path, {"x.obj": text_files.obj(), "x.mtl": library})


@pytest.mark.parametrize(
    "name", ["obj-plain-lf", "ply-ascii-plain", "ply-binary_little-plain", "stl-plain-lf", "stl-binary", "off-plain-lf"]
)
def test_limits(tmp_path: Path, name: str) -> None:
    case = text_files.CASES[name]
    assert read(tmp_path, case.files, ReadingLimits(faces=12, vertices=24)).mesh.face_count == 12
    with pytest.raises(DataError, match="faces"):
        read(tmp_path, case.files, ReadingLimits(faces=11))


@pytest.mark.parametrize(
    "name", ["../../../../../../etc/hostname", "/etc/hostname", "http://127.0.0.1:9/x.png", "/dev/zero"]
)
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    files = {"x.obj": text_files.obj(), "x.mtl": f"newmtl m\nmap_Kd {name}\n".encode()}
    with pytest.raises(DataError, match="refers to"):
        read(tmp_path / "in", files)


def test_a_million_losses_are_few_lines(tmp_path: Path) -> None:
    text = text_files.obj() + b"".join(b"usemtl m%d\nf 1 2 3\n" % i for i in range(1000))
    losses = read(tmp_path, {"x.obj": text}).losses
    assert len(losses) < 30
    assert any("more" in loss.detail for loss in losses)


KINDS = ("obj", "ply", "ply-ascii", "ply-texture", "stl", "stl-ascii", "off")


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_are_data_errors(tmp_path: Path, kind: str) -> None:
    reader = importlib.import_module(f"captionless.precompute.meshes.{kind.partition('-')[0]}")
    limits = ReadingLimits(faces=10_000, vertices=10_000, pixels=1 << 20)
    whole = 0
    for number in range(150):
        files = meshes.mutated(kind, number)
        for name, content in files.items():
            (tmp_path / name).write_bytes(content)
        opened = ObjectFiles(str(tmp_path / next(iter(files))), Scope((str(tmp_path),)))
        try:
            mesh = reader.read(opened.own(), opened, limits).mesh
        except DataError:
            continue
        whole += 1
        for part in mesh.parts:
            assert part.faces.min() >= 0
            assert part.faces.max() < len(part.vertices)
    assert 0 < whole < 150
