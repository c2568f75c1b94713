"""Reading objects in a process that may die: what is the object's failure, what the storage's, and what comes back."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import signal
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import trimesh

from captionless.errors import DataError, Retryable, SpecError
from captionless.precompute.isolated_reader import IsolatedReader
from captionless.precompute.sources import BrokenObject, Loaded, ObjectRef, Source, open_source
from captionless.runtime import processes
from captionless.spec.data import DataSpec, ReadingLimits
from captionless.store import objects
from captionless.telemetry import catalog, registry
from tests import pace
from tests.store.faulty_s3 import Fault, reached_by_environment
from tests.store.web import serving


def source(url: Path | str, kind: str = "folder", **data: object) -> Source:
    return open_source(DataSpec.model_validate({"source": {"kind": kind, "url": str(url), "up": "y"}, **data}))


def refs(of: Source) -> dict[str, ObjectRef]:
    return {ref.key.rpartition("/")[2]: ref for ref in of.refs()}


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    """Three boxes, one with a material and a texture that is a bomb: 64 megapixels in 190 kilobytes."""
    (tmp_path / "box").mkdir()
    for name in ("a", "z"):
        trimesh.creation.box((1, 2, 3)).export(tmp_path / "box" / f"{name}.glb")
    (tmp_path / "box" / "m.obj").write_text(
        "mtllib m.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nusemtl m\nf 1/1 2/1 3/1\n"
    )
    (tmp_path / "box" / "m.mtl").write_text("newmtl m\nmap_Kd bomb.png\n")
    (tmp_path / "box" / "bomb.png").write_bytes(_png(8000))
    return tmp_path


@functools.cache
def _png(side: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(side * (3 * side + 1)), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def child(of: IsolatedReader) -> int:
    return of._process._child._process.pid  # type: ignore[union-attr]


def test_what_comes_back_is_what_the_source_loads(shapes: Path) -> None:
    of = source(shapes)
    registry.add(catalog.STAGE_READ_BYTES, 0)
    with IsolatedReader(of) as reader:
        found, expected = reader.load(refs(of)["a"]), of.load(refs(of)["a"])
        pid = child(reader)
        assert found.files == expected.files
        assert [f.path for f in found.files] == ["a.glb"]
        assert found.files[0].sha256 == hashlib.sha256((shapes / "box" / "a.glb").read_bytes()).hexdigest()
        assert found.mesh is not None
        assert expected.mesh is not None
        for one, other in zip(found.mesh.parts, expected.mesh.parts, strict=True):
            np.testing.assert_array_equal(one.vertices, other.vertices)
            np.testing.assert_array_equal(one.faces, other.faces)
            assert one.color == other.color
        reader.load(refs(of)["z"])
        assert child(reader) == pid
    assert not processes.is_alive(pid)


def test_too_much_memory_is_the_objects_failure(shapes: Path) -> None:
    of = source(shapes)
    with IsolatedReader(of, ReadingLimits(memory="200Mi")) as reader:
        for _ in range(2):
            with pytest.raises(BrokenObject, match=r"^needs more than 0\.2 GB of memory while reading$") as caught:
                reader.load(refs(of)["m"])
            assert [f.path for f in caught.value.files] == ["m.obj", "m.mtl", "bomb.png"]
            assert reader.load(refs(of)["a"]).mesh is not None


def test_too_much_time_is_the_objects_failure(shapes: Path) -> None:
    of = source(shapes)
    teeth = 60_000  # of a comb: soon read, long to cut into triangles
    corners = [f"v {i} {1 + i % 2} 0\n" for i in range(teeth)] + [f"v {teeth} 0 0\nv 0 0 0\n"]
    (shapes / "box" / "long.obj").write_text("".join(corners) + f"f {' '.join(map(str, range(1, teeth + 3)))}\n")
    with IsolatedReader(of, ReadingLimits(seconds=1)) as reader:
        reader.load(refs(of)["a"])
        with pytest.raises(BrokenObject, match=r"^took longer than 1 s of processor time while reading$") as caught:
            reader.load(refs(of)["long"])
        assert caught.value.files[0].path == "long.obj"
        assert reader.load(refs(of)["z"]).mesh is not None


def test_what_an_earlier_object_left_behind_is_not_held_against_the_next(shapes: Path) -> None:
    of = source(shapes)
    with IsolatedReader(of) as reader:
        reader.load(refs(of)["a"])
        before = child(reader)
        os.kill(before, signal.SIGKILL)
        pace.wait_for("the end of the child", lambda: not processes.is_alive(before))
        assert reader.load(refs(of)["z"]).mesh is not None
        assert child(reader) != before


def test_a_process_that_dies_twice_breaks_the_object(shapes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of = source(shapes)
    with IsolatedReader(of) as reader:
        reader.load(refs(of)["a"])
        begin = reader._process.begin
        killed = []

        def kill(*arguments: object) -> None:
            begin(*arguments)
            killed.append(child(reader))
            os.kill(killed[-1], signal.SIGSEGV)

        monkeypatch.setattr(reader._process, "begin", kill)
        with pytest.raises(BrokenObject, match=r"^killed by signal 11 \(SIGSEGV\) while reading$"):
            reader.load(refs(of)["z"])
        assert len(killed) == 2
        monkeypatch.undo()
        assert reader.load(refs(of)["z"]).mesh is not None


def test_reading_ahead(shapes: Path) -> None:
    of = source(shapes)
    expected = of.load(refs(of)["z"])
    with IsolatedReader(of, ReadingLimits(memory="200Mi")) as reader:
        reader.ahead(refs(of)["a"])
        reader.ahead(refs(of)["m"])  # there is one already
        assert reader.load(refs(of)["a"]).files[0].path == "a.glb"
        reader.ahead(refs(of)["m"])
        assert reader.load(refs(of)["z"]).files == expected.files  # another than the one begun
        reader.ahead(refs(of)["m"])
        with pytest.raises(BrokenObject):
            reader.load(refs(of)["m"])
        reader.ahead(refs(of)["z"])
        assert reader.load(refs(of)["z"]).files == expected.files


def test_failures_of_the_storage_are_no_objects(monkeypatch: pytest.MonkeyPatch, shapes: Path) -> None:
    monkeypatch.setenv("CAPTIONLESS_STORE_RETRY_SECONDS", "0.1")
    with reached_by_environment("bucket") as server:
        for name in ("a.glb", "m.obj", "m.mtl", "z.glb"):
            objects.write_bytes(f"s3://bucket/in/box/{name}", (shapes / "box" / name).read_bytes())
        of = source("s3://bucket/in")
        all_refs = refs(of)
        registry.add(catalog.STAGE_READ_BYTES, 0)
        with IsolatedReader(of) as reader:
            server.requests.clear()
            assert [f.path for f in reader.load(all_refs["a"]).files] == ["a.glb"]
            assert [path for _, path in server.requests] == ["/bucket/in/box/a.glb"]
            server.faults.append(Fault(503, "SlowDown", times=99))
            with pytest.raises(Retryable):
                reader.load(all_refs["z"])
            server.faults[:] = [Fault(403, "ExpiredToken")]
            with pytest.raises(SpecError):
                reader.load(all_refs["z"])
            server.faults[:] = [Fault(403, "AccessDenied", hits=lambda method, path: "m.mtl" in path)]
            with pytest.raises(BrokenObject, match="access denied"):
                reader.load(all_refs["m"])
            server.faults.clear()
            assert reader.load(all_refs["z"]).mesh is not None


def test_objects_without_files_of_their_own_are_read_here() -> None:
    of = source("", "parametric")
    ref = of.refs()[0]
    with IsolatedReader(of) as reader:
        assert reader.load(ref).mesh is not None
        assert reader._process._child is None

    class Failing:
        def load(self, ref: ObjectRef) -> Loaded:
            raise ZeroDivisionError("of a cloud")

    with IsolatedReader(Failing()) as reader, pytest.raises(BrokenObject, match=r"^ZeroDivisionError: of a cloud$"):
        reader.load(ref)


def test_a_reason_has_no_secrets_and_one_line(tmp_path: Path) -> None:
    with serving(tmp_path) as web:
        origin = web.replace("http://", "http://u:pa55word@")
        line = {"key": "a", "category": "c", "mesh": f"{origin}/a.glb?X-Amz-Signature=5ecre7", "licence": "CC0"}
        (tmp_path / "l.jsonl").write_text(json.dumps({**line, "source": line["mesh"]}) + "\n")
        of = source(f"{origin}/l.jsonl", "manifest")
        (ref,) = of.refs()
        assert not any(secret in ref.source for secret in ("pa55word", "5ecre7"))
        with IsolatedReader(of) as reader, pytest.raises(DataError, match="no such file") as caught:
            reader.load(ref)
    assert not any(secret in str(caught.value) for secret in ("pa55word", "5ecre7", "\n"))


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """No child of a test outlives it."""
    yield
    assert not [pid for pid in processes.with_argument("captionless.runtime.expendable_process") if _is_mine(pid)]


def _is_mine(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return int(stat.rpartition(")")[2].split()[1]) == os.getpid() and processes.is_alive(pid)
