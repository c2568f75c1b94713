"""The version of an object, when its files change and when they only seem to; and what the storage is asked for it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import sys
import tarfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from captionless.precompute.object_files import beside, unsigned
from captionless.precompute.sources import MeshLoader, open_source
from captionless.spec.alignment import AlignmentSpec
from captionless.stages import listing
from captionless.store import objects, scan
from captionless.store.ledger import Ledger
from captionless.store.listing import open_listing
from captionless.store.manifest import read_header
from captionless.store.packed import packed_rows
from captionless.store.versions import is_of_time
from tests.stages.listing.sources import fill, manifest, put, rows, spec_of
from tests.store.faulty_s3 import FaultyS3, reached_by_environment
from tests.store.web import serving

BUCKET = "captionless-listing"


def pack(spec: AlignmentSpec, **references: list[str]) -> None:
    """Publishes a pack stage that has read every listed object's file, and what `references` says of it by key."""
    url = objects.join(spec.root, "pack")
    ledger, fingerprints = Ledger(url, (), packed_rows), {}
    read = open_listing(objects.join(spec.root, "list"))
    for shard in read.shards:
        fingerprints[shard.name] = shard.fingerprint
        if ledger.whole(shard.name, shard.fingerprint) is not None:
            continue
        listed = read.rows(shard)
        columns: dict[str, list[Any]] = {
            "key": [o.key for o in listed], "category": [o.ref.category for o in listed],
            "split": [o.ref.split for o in listed], "reason": ["" for _ in listed],
            "version": [o.version for o in listed], "made": [None for _ in listed],
            "files": [
                json.dumps([_seen(str(o.ref.url), p) for p in [_name(o.ref.url), *references.get(o.key, [])]])
                for o in listed
            ],
            "faces": [1 for _ in listed], "textured": [False for _ in listed],
        }  # fmt: skip
        ledger.commit(shard.name, shard.fingerprint, {}, {}, columns)
    records = ledger.finished(fingerprints)
    assert records is not None
    ledger.publish(records)


def _name(url: str | None) -> str:
    return str(url).partition("::")[0].partition("?")[0].rsplit("/", 1)[-1]


def _seen(own: str, path: str) -> list[str]:
    url = beside(own, path)
    found = [f for page in scan.look_up([url]) for f in page if f.url == url]
    if not found:
        return [path, "", ""]
    if url == own and is_of_time(found[0].version):
        path = unsigned(url)
    return [path, found[0].version, hashlib.sha256(objects.read_bytes(url)).hexdigest()]


def versions(root: str) -> dict[str, str]:
    return {key: row["version"] for key, row in rows(root).items()}


def touch(path: Path) -> None:
    """Writes a file again with its own content."""
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data)


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    """Three objects; what `a` and `b` refer to, `b` in vain, is packed."""
    folder = tmp_path / "shapes"
    fill(str(folder), 3)
    (folder / "tex").mkdir()
    (folder / "tex" / "a.png").write_text("a texture")
    return folder


REFERENCES = {"box/000": ["../tex/a.png"], "box/001": ["../tex/none.png"]}


def test_a_version_changes_with_any_file_and_only_then(tmp_path: Path, shapes: Path) -> None:
    root = str(tmp_path / "out")
    spec = spec_of(root, "folder", str(shapes))
    listing.run(spec)
    first = versions(root)
    pack(spec, **REFERENCES)
    assert listing.run(spec).made == 0
    assert versions(root) == first

    def changed() -> set[str]:
        before = versions(root)
        listing.run(spec)
        now = versions(root)
        listing.run(spec)
        assert versions(root) == now, "until it is packed, it is the same"
        pack(spec, **REFERENCES)
        listing.run(spec)
        assert versions(root) == now, "and when it is packed"
        return {key for key in now if now[key] != before[key]}

    touch(shapes / "box" / "000.obj")
    touch(shapes / "tex" / "a.png")
    assert changed() == set()
    (shapes / "tex" / "a.png").write_text("a new one")
    assert changed() == {"box/000"}
    (shapes / "tex" / "none.png").write_text("now it is there")
    assert changed() == {"box/001"}
    (shapes / "tex" / "none.png").unlink()
    assert changed() == {"box/001"}
    (shapes / "box" / "002.obj").write_text("box 2, otherwise")
    assert changed() == {"box/002"}
    assert versions(root).keys() == first.keys()


def described(root: str) -> tuple[str, Any]:
    """The digest by which readers know the listing, and its table's file."""
    header, _ = read_header(f"{root}/list")
    assert header is not None
    return header.digest, header.entries()["objects"]["files"]


def test_what_was_written_again_with_its_content_is_read_once(
    tmp_path: Path, shapes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = str(tmp_path / "out")
    spec = spec_of(root, "folder", str(shapes))
    listing.run(spec)
    pack(spec, **REFERENCES)
    listing.run(spec)
    before, (digest, table) = versions(root), described(root)
    read: list[tuple[str, str]] = []
    named = listing._Files.named
    monkeypatch.setattr(listing._Files, "named", lambda self, *args: (read.append(args), named(self, *args))[1])
    copied = tmp_path / "copied"
    shutil.copytree(shapes, copied)
    shutil.rmtree(shapes)
    os.rename(copied, shapes)
    listing.run(spec)
    assert len(read) == 4, "three meshes and a texture"
    assert versions(root) == before
    assert described(root)[0] == digest, "what is made from the listing is current"
    assert described(root)[1] != table
    read.clear()
    listing.run(spec)
    assert not read
    assert versions(root) == before


def test_a_content_that_comes_back_is_not_taken_for_what_was_packed_between(tmp_path: Path, shapes: Path) -> None:
    root = str(tmp_path / "out")
    spec = spec_of(root, "folder", str(shapes))
    listing.run(spec)
    pack(spec)
    seen = [versions(root)["box/000"]]
    for content in ("another", "box 0"):
        (shapes / "box" / "000.obj").write_text(content)
        listing.run(spec)
        seen.append(versions(root)["box/000"])
        pack(spec)
    assert len(set(seen)) == 3


@pytest.fixture(scope="module")
def server() -> Iterator[FaultyS3]:
    with reached_by_environment(BUCKET) as server:
        yield server


def test_on_s3_a_listing_takes_a_request_a_page_and_nothing_else_of_the_source(
    tmp_path: Path, server: FaultyS3
) -> None:
    shapes, root = f"s3://{BUCKET}/{uuid.uuid4()}", str(tmp_path / "out")
    for number in range(30):
        put(shapes, **{f"box__{number:03d}": f"box {number:03d}", f"rod__{number:03d}": f"rod {number % 10:03d}"})
    objects.write_bytes(f"{shapes}/tex/a.png", b"a texture")
    spec = spec_of(root, "folder", shapes)
    server.requests.clear()
    listing.run(spec)
    assert {method for method, _ in server.requests} == {"GET"}
    assert len(server.requests) == 4, "the folder, and a page of either category"
    assert open_listing(f"{root}/list").facts["copies"] == 20, "told by their ETags"
    pack(spec, **{"box/000": ["../tex/a.png"]})
    before = versions(root)
    server.requests.clear()
    listing.run(spec)
    assert versions(root) == before
    assert len(server.requests) == 4
    objects.write_bytes(f"{shapes}/tex/a.png", b"another")
    put(shapes, rod__000="rod, otherwise")
    server.requests.clear()
    assert listing.run(spec).made == 2
    assert {key for key, version in versions(root).items() if version != before[key]} == {"box/000", "rod/000"}
    assert len(server.requests) <= 4 + 2 * 2, "and what has changed is read"


def test_on_s3_meshes_of_a_manifest_are_listed_too(tmp_path: Path, server: FaultyS3) -> None:
    shapes, root = f"s3://{BUCKET}/{uuid.uuid4()}", str(tmp_path / "out")
    fill(shapes, 60)
    lines = [{"key": f"k{n}", "mesh": f"{shapes}/box/{n:03d}.obj"} for n in range(60)]
    lines.append({"key": "gone", "mesh": f"{shapes}/box/gone.obj"})
    spec = spec_of(root, "manifest", manifest(tmp_path / "list.jsonl", *lines))
    server.requests.clear()
    assert listing.run(spec).made == 61
    assert len(server.requests) <= 3, "a page, and one look for what is not on it"
    found = rows(root)
    assert found["k7"]["size"] == 5
    assert found["gone"]["size"] == -1
    assert len({row["version"] for row in found.values()}) == 61
    fill(shapes, 1, first=7)
    assert listing.run(spec).made == 0
    put(shapes, box__007="changed")
    assert listing.run(spec).made == 1


def test_on_s3_an_address_that_cannot_be_costs_its_object(tmp_path: Path, server: FaultyS3) -> None:
    shapes = f"s3://{BUCKET}/{uuid.uuid4()}"
    fill(shapes, 1)
    odd = ["box/a::b.obj", f"{shapes}/a::b.obj", f"{shapes}/a::http://127.0.0.1/x", "zip://a.obj::s3://none/x.zip"]
    lines = [{"key": f"k{n}", "mesh": mesh} for n, mesh in enumerate([f"{shapes}/box/000.obj", *odd])]
    text = Path(manifest(tmp_path / "list.jsonl", *lines)).read_bytes()
    objects.write_bytes(f"{shapes}/list.jsonl", text)
    assert listing.run(spec_of(str(tmp_path / "out"), "manifest", f"{shapes}/list.jsonl")).made == 5
    assert [rows(str(tmp_path / "out"))[f"k{n}"]["size"] for n in range(5)] == [5, -1, -1, -1, -1]


def test_signatures_of_meshes_are_used_and_not_kept(tmp_path: Path) -> None:
    root = str(tmp_path / "out")
    put(str(tmp_path / "web"), a="a mesh", b="a mesh", c="other")
    with serving(tmp_path / "web") as url:
        # An address that is private, so it is the manifest's own server.
        lines = [
            {"key": k, "mesh": f"{url}/{k}.obj?X-Amz-Signature=5ecre7{k}", "source": f"{url}?sig=5ecre7"} for k in "abc"
        ]
        manifest(tmp_path / "web" / "list.jsonl", *lines)
        spec = spec_of(root, "manifest", f"{url}/list.jsonl")
        listing.run(spec)
        read = open_listing(f"{root}/list")
        assert read.facts["copies"] == 1
        listed = [o for shard in read.shards for o in read.rows(shard)]
        assert {o.ref.url for o in listed} == {f"{url}/{k}.obj?X-Amz-Signature=***" for k in "abc"}
        source = open_source(spec.data)
        assert isinstance(source, MeshLoader)
        assert {o.key: source.mesh_file(o.ref).open().own() for o in listed} == {
            "a": b"a mesh", "b": b"a mesh", "c": b"other",
        }  # fmt: skip
        pack(spec)
        assert listing.run(spec).made == 0
    kept = b"".join(p.read_bytes() for p in Path(root).rglob("*") if p.is_file())
    assert b"5ecre7" not in kept
    assert b"5ecre7" not in str(rows(root)).encode()


def test_another_file_of_an_objects_own_is_another_version(tmp_path: Path, shapes: Path) -> None:
    root = str(tmp_path / "out")

    def listed(mesh: str) -> str:
        line = {"key": "one", "mesh": mesh}
        spec = spec_of(root, "manifest", manifest(shapes / "list.jsonl", line, {"key": "two", "mesh": "box/001.obj"}))
        listing.run(spec)
        found = versions(root)["one"]
        listing.run(spec)
        assert versions(root)["one"] == found, "until it is packed, it is the same"
        pack(spec)
        listing.run(spec)
        assert versions(root)["one"] == found, "and when it is packed"
        return found

    seen = [listed("box/000.obj"), listed("box/002.obj"), listed("box/none.obj"), listed("box/gone.obj")]
    assert len({*seen}) == len(seen), "though the files that were packed before are as they were"


def _vague(tmp_path: Path, mesh: str) -> str:
    """The URL of a manifest of one mesh in an archive without checksums, whose members have one time and size."""
    with tarfile.open(tmp_path / "shapes.tar", "w") as archive:
        for name in ("a/mesh.obj", "b/mesh.obj"):
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(name), 1
            archive.addfile(member, io.BytesIO(name.encode()))
    return manifest(tmp_path / "list.jsonl", {"key": "one", "mesh": f"tar://{mesh}::{tmp_path}/shapes.tar"})


@pytest.mark.parametrize("by_earlier", [False, True])
def test_another_file_with_the_time_and_size_of_the_first_is_another_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_earlier: bool
) -> None:
    root = str(tmp_path / "out")
    if by_earlier:
        monkeypatch.setattr(sys.modules[__name__], "unsigned", _name)
    spec = spec_of(root, "manifest", _vague(tmp_path, "a/mesh.obj"))
    listing.run(spec)
    pack(spec)
    monkeypatch.undo()
    first = versions(root)["one"]
    for _ in range(2):
        listing.run(spec)
        assert versions(root)["one"] == first
    _vague(tmp_path, "b/mesh.obj")
    for _ in range(2):
        listing.run(spec)
        assert versions(root)["one"] != first
    pack(spec)
    second = versions(root)["one"]
    listing.run(spec)
    assert versions(root)["one"] == second
    _vague(tmp_path, "a/mesh.obj")
    listing.run(spec)
    assert versions(root)["one"] not in (first, second)
