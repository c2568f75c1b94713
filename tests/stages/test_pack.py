"""Packing a listing: what is new is rendered, the rest copied; a broken object is an entry of its shard's record."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trimesh

from captionless.errors import DataError
from captionless.mesh import Mesh
from captionless.precompute.isolated_reader import IsolatedReader
from captionless.precompute.meshes.reading import KINDS, Loss
from captionless.precompute.object_files import MeshFile
from captionless.precompute.sources import Loaded
from captionless.spec import load
from captionless.spec.alignment import AlignmentSpec
from captionless.stages import chain, embed, listing, pack
from captionless.stages.listing.card import describe
from captionless.stages.remedies import Lossy, broken_objects, lossy_objects, remedy
from captionless.stages.work_items import Outcome, Shard
from captionless.store import objects
from captionless.store.embeddings import open_embeddings
from captionless.store.ledger import Ledger
from captionless.store.shards import ShardReader
from captionless.store.table import read_table, write_table
from captionless.telemetry import catalog, registry


def _folder(folder: Path, count: int) -> None:
    for number in range(count):
        path = folder / "box" / f"q{number:02d}.glb"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            trimesh.creation.box((1, 1 + number / 7, 2)).export(path)


def _spec(folder: Path, out: str = "out", **data: object) -> AlignmentSpec:
    return load.build_spec(
        {
            "output": str(folder / out),
            "data": {
                "source": {"kind": "folder", "url": str(folder / "shapes")},
                "views": 2, "imageSize": 32, "points": 32, "shardObjects": 3, "testFraction": 0, **data,
            },
            "clip": {"model": "captionless-demo"},
            "train": {"weights": ["uniform"], "points": 32},
        }
    )  # fmt: skip


def _run(spec: AlignmentSpec) -> tuple[Outcome, Outcome]:
    """What pack and embed did after a new listing."""
    listing.run(spec)
    return pack.run(spec), embed.run(spec)


def _counts(outcome: Outcome) -> tuple[int, int, int]:
    return outcome.made, outcome.kept, outcome.removed


def _members(spec: AlignmentSpec, stage: str) -> dict[str, str]:
    """sha256 of every member of every tar of a stage, found as any tool finds them, by its name."""
    found: dict[str, str] = {}
    for path in sorted(Path(spec.root, stage).rglob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                file = tar.extractfile(member)
                assert file is not None
                assert member.name not in found
                found[member.name] = hashlib.sha256(file.read()).hexdigest()
    return found


def test_what_is_appended_changed_or_removed_is_all_that_is_made(tmp_path: Path) -> None:
    _folder(tmp_path / "shapes", 12)
    spec = _spec(tmp_path)
    assert [_counts(o) for o in _run(spec)] == [(12, 0, 0)] * 2
    assert [_counts(o) for o in _run(spec)] == [(0, 12, 0)] * 2
    _folder(tmp_path / "shapes", 13)
    assert [_counts(o) for o in _run(spec)] == [(1, 12, 0)] * 2
    trimesh.creation.box((3, 1, 2)).export(tmp_path / "shapes" / "box" / "q05.glb")
    assert [_counts(o) for o in _run(spec)] == [(1, 12, 0)] * 2
    (tmp_path / "shapes" / "box" / "q07.glb").unlink()
    assert [_counts(o) for o in _run(spec)] == [(0, 12, 1)] * 2
    scratch = _spec(tmp_path, "scratch")
    _run(scratch)
    for stage in ("pack", "embed"):
        members = _members(spec, stage)
        assert members == _members(scratch, stage)
        assert not any("q07" in name for name in members)
    for path in Path(spec.root).rglob("*"):
        assert not path.is_file() or b"q07" not in path.read_bytes(), path
    digests = [open_embeddings(objects.join(each.root, "embed"), "train").digest for each in (spec, scratch)]
    assert digests[0] == digests[1]


def test_what_only_names_an_object_is_changed_without_rendering(tmp_path: Path) -> None:
    _folder(tmp_path / "shapes", 4)
    manifest = tmp_path / "list.jsonl"

    def write(licence: str) -> None:
        same = {"category": "box", "source": "s", "licence": licence}
        lines = [{"key": f"b{n}", "mesh": f"shapes/box/q{n:02d}.glb", **same} for n in range(4)]
        manifest.write_text("\n".join(map(json.dumps, lines)))

    write("CC0")
    spec = _spec(tmp_path, source={"kind": "manifest", "url": str(manifest)})
    _run(spec)
    write("CC-BY")
    assert [_counts(o) for o in _run(spec)] == [(0, 4, 0)] * 2
    shards = [ShardReader(str(path)) for path in Path(spec.root, "embed").rglob("*.tar")]
    assert all(b"CC-BY" in shard.read(key, "json") for shard in shards for key in shard.keys)


def test_a_damaged_shard_is_not_copied_from(tmp_path: Path) -> None:
    _folder(tmp_path / "shapes", 2)
    spec = _spec(tmp_path)
    _run(spec)
    (path,) = Path(spec.root, "pack").rglob("*.tar")
    shard = ShardReader(str(path))
    offset, _ = shard.index["box/q01"]["points.npy"]
    raw = bytearray(path.read_bytes())
    raw[offset + 200] ^= 1
    path.write_bytes(bytes(raw))
    _folder(tmp_path / "shapes", 3)
    listing.run(spec)
    assert _counts(pack.run(spec)) == (2, 1, 0)
    scratch = _spec(tmp_path, "scratch")
    listing.run(scratch)
    pack.run(scratch)
    assert _members(spec, "pack") == _members(scratch, "pack")


def test_what_another_release_has_drawn_is_drawn_again_when_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _folder(tmp_path / "shapes", 3)
    spec, scratch = _spec(tmp_path), _spec(tmp_path, "scratch")
    with monkeypatch.context() as then:
        then.setattr(pack, "RENDERER", "another")
        then.setattr(pack.Packer, "_rendered", _tinted(pack.Packer._rendered))
        _run(spec)
    _folder(tmp_path / "shapes", 4)
    listing.run(spec)
    assert _counts(pack.run(spec)) == (1, 3, 0)
    assert _counts(pack.run(spec, redraw=True)) == (3, 1, 0)
    assert _counts(pack.run(spec, redraw=True)) == (0, 4, 0)
    assert _counts(embed.run(spec)) == (4, 0, 0)
    _run(scratch)
    for stage_name in ("pack", "embed"):
        assert _members(spec, stage_name) == _members(scratch, stage_name)


def _tinted(rendered: Callable[..., dict[str, bytes]]) -> Callable[..., dict[str, bytes]]:
    """Views that are not what they should be."""

    def wrongly(packer: pack.Packer, mesh: Mesh, key: str) -> dict[str, bytes]:
        mesh = Mesh(tuple(replace(part, color=(250, 10, 10)) for part in mesh.parts))
        return rendered(packer, mesh, key)

    return wrongly


def test_workers_share_the_shards_and_leave_what_one_would(tmp_path: Path) -> None:
    _folder(tmp_path / "shapes", 10)
    spec, scratch = _spec(tmp_path), _spec(tmp_path, "scratch")
    listing.run(spec)
    for stage in (pack, embed):
        outcomes = [stage.run(spec, Shard(i, 3)) for i in range(3)]
        assert [o.finished for o in outcomes] == [False, False, True]
        assert sum(o.made for o in outcomes) == 10
    _run(scratch)
    for stage_name in ("pack", "embed"):
        assert _members(spec, stage_name) == _members(scratch, stage_name)


def test_broken_objects_are_named_counted_and_left_out_up_to_the_limit(tmp_path: Path) -> None:
    _folder(tmp_path / "shapes", 6)
    (tmp_path / "shapes" / "box" / "broken.obj").write_text("v 0 0 nan\n")
    (tmp_path / "shapes" / "box" / "flat.obj").write_text("v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n")
    spec = _spec(tmp_path)
    listing.run(spec)
    with pytest.raises(DataError, match=r"data\.maxSkipped allows 0") as caught:
        pack.run(spec)
    assert "box/broken" in str(caught.value)
    assert "box/flat" in str(caught.value)
    with pytest.raises(DataError, match="pack"):
        embed.run(spec)
    registry.reset()
    lenient = _spec(tmp_path, maxSkipped=2)
    outcome = pack.run(lenient)
    assert (outcome.made, outcome.kept, outcome.skipped) == (0, 6, 2)  # nothing that was made is lost
    rows = Ledger(objects.join(spec.root, "pack")).manifest().rows(["key", "reason"]).to_pylist()
    assert sorted(row["key"] for row in rows if row["reason"]) == ["box/broken", "box/flat"]
    assert len(rows) == 8
    # One series, however many objects are left out.
    assert [m[1] for m in registry.snapshot() if m[0] == catalog.STAGE_SKIPPED_OBJECTS.name] == [["broken"]]
    embed.run(lenient)
    assert len(open_embeddings(objects.join(spec.root, "embed"), "train")) == 6


def test_an_object_whose_missing_file_is_added_is_tried_again(tmp_path: Path) -> None:
    _folder(tmp_path / "shapes", 2)
    (tmp_path / "shapes" / "box" / "named.gltf").write_text(
        '{"asset": {"version": "2.0"}, "buffers": [{"uri": "x.bin", "byteLength": 36}], "bufferViews":'
        '[{"buffer": 0, "byteLength": 36}], "accessors": [{"bufferView": 0, "componentType": 5126, "count": 3,'
        '"type": "VEC3"}], "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}], "nodes": [{"mesh": 0}]}'
    )
    spec = _spec(tmp_path, maxSkipped=1)
    assert _run(spec)[0].skipped == 1
    assert _counts(_run(spec)[0]) == (0, 2, 0)
    before = Ledger(objects.join(spec.root, "pack")).manifest().digest
    (tmp_path / "shapes" / "box" / "x.bin").write_bytes(b"abcd")
    _run(spec)
    rows = Ledger(objects.join(spec.root, "pack")).manifest().rows(["key", "reason"]).to_pylist()
    assert [row["key"] for row in rows if row["reason"]] == ["box/named"]
    assert Ledger(objects.join(spec.root, "pack")).manifest().digest != before


@pytest.fixture
def lossy(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[Loss, ...]]:
    """The losses that reading a file tells, by its name without suffix: to be changed by the test."""
    told: dict[str, tuple[Loss, ...]] = {
        "q01": (Loss("texture missing", "wood.png"), Loss("texture missing", "oak.png")),
        "q02": (Loss("texture missing", "wood.png"), Loss("skin not applied", "Armature")),
    }
    whole = IsolatedReader._load_mesh

    def load(reader: IsolatedReader, mesh: MeshFile) -> Loaded:
        return replace(whole(reader, mesh), losses=told.get(Path(mesh.url).stem, ()))

    monkeypatch.setattr(IsolatedReader, "_load_mesh", load)
    return told


def test_what_was_lost_is_counted_noted_and_told_once(
    tmp_path: Path, lossy: dict[str, tuple[Loss, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    _folder(tmp_path / "shapes", 5)
    spec = _spec(tmp_path)
    listing.run(spec)
    registry.reset()
    assert _counts(pack.run(spec)) == (5, 0, 0)
    counted = {tuple(m[1]): m[2] for m in registry.snapshot() if m[0] == catalog.STAGE_LOSSY_OBJECTS.name}
    lost = {"texture missing": 2, "skin not applied": 1}
    assert counted == {(kind,): lost.get(kind, 0) for kind in KINDS}
    told = [line for line in capsys.readouterr().err.splitlines() if "lack" in line or "q0" in line]
    assert len(told) == 1
    assert "2 objects lack something that their files have (texture missing 2, skin not applied 1)" in told[0]
    url = objects.join(spec.root, "pack")
    expected = [Lossy("box/q01", lossy["q01"]), Lossy("box/q02", lossy["q02"])]
    assert list(lossy_objects(url)) == expected
    card = describe(spec)
    assert "| texture missing | appearance | 2 | 40.0 % |\n| skin not applied | geometry | 1 | 20.0 % |" in card
    _folder(tmp_path / "shapes", 6)  # another object comes: what is known of the others is kept with them
    listing.run(spec)
    assert _counts(pack.run(spec)) == (1, 5, 0)
    assert list(lossy_objects(url)) == expected


@pytest.mark.parametrize(
    ("strict", "broken"), [("geometry", ["q02"]), ("appearance", ["q01", "q02"]), ("all", ["q01", "q02"])]
)
def test_strict_makes_losses_errors_of_their_object(
    tmp_path: Path, lossy: dict[str, tuple[Loss, ...]], strict: str, broken: list[str]
) -> None:
    """Whether it is set at first or later, and it may be lifted again. The other objects are not made again."""
    _folder(tmp_path / "shapes", 4)
    spec, strictly = _spec(tmp_path), _spec(tmp_path, strict=strict, maxSkipped=2)
    listing.run(spec)
    url = objects.join(spec.root, "pack")
    for first in (True, False):
        outcome = pack.run(strictly)
        assert (outcome.made, outcome.skipped) == ((4 - len(broken)) if first else 0, len(broken))
        reasons = {each.key: each.reason for each in broken_objects(url)}
        assert sorted(reasons) == [f"box/{name}" for name in broken]
        assert all(reason.startswith(f"data.strict is {strict}, and it has lost: ") for reason in reasons.values())
        outcome = pack.run(spec)
        assert (outcome.made, outcome.kept, outcome.skipped) == (len(broken), 4 - len(broken), 0)
    with pytest.raises(DataError, match=r"data\.maxSkipped allows 0.*data\.strict is"):
        pack.run(_spec(tmp_path, strict=strict))


def test_after_other_limits_objects_are_those_of_a_run_from_scratch(tmp_path: Path) -> None:
    """What was read within narrower limits is kept; after lower ones all is read again."""
    _folder(tmp_path / "shapes", 3)
    trimesh.creation.icosphere(1).export(tmp_path / "shapes" / "box" / "ball.glb")  # 80 faces
    wide, narrow = _spec(tmp_path), _spec(tmp_path, limits={"faces": 79}, maxSkipped=1)
    enough = _spec(tmp_path, limits={"faces": 80})
    listing.run(wide)

    def counts(spec: AlignmentSpec) -> tuple[int, int, int]:
        outcome = pack.run(spec)
        return outcome.made, outcome.kept, outcome.skipped

    assert counts(narrow) == (3, 0, 1)
    (only,) = broken_objects(objects.join(wide.root, "pack"))
    assert only.key == "box/ball"
    assert only.reason.startswith("has more than 79 faces")
    assert remedy(only.reason).kind == "size"
    assert counts(narrow) == (0, 3, 1)
    assert counts(enough) == (1, 3, 0)
    assert counts(wide) == (0, 4, 0)
    assert counts(narrow) == (0, 3, 1)
    (tmp_path / "shapes" / "box" / "q00.glb").unlink()
    trimesh.creation.box((2, 3, 4)).export(tmp_path / "shapes" / "box" / "q00.glb")
    listing.run(wide)
    assert counts(wide) == (2, 2, 0)
    assert counts(narrow) == (1, 2, 1)


def test_what_is_not_said_of_losses_and_limits_changes_no_fingerprint(tmp_path: Path) -> None:
    """A run of an earlier release, which has no such field, stays what it is."""
    _folder(tmp_path / "shapes", 2)
    spec = _spec(tmp_path)
    assert not {"data.strict", "data.limits"} & chain.settings(spec, "pack").keys()
    assert chain.settings(_spec(tmp_path, strict="all"), "pack")["data.strict"] == "all"


def test_rows_of_an_earlier_release_have_no_losses(tmp_path: Path) -> None:
    _folder(tmp_path / "shapes", 4)
    spec = _spec(tmp_path)
    listing.run(spec)
    pack.run(spec)
    url = objects.join(spec.root, "pack")
    header = Ledger(url).published
    assert header is not None
    assert header.rows_url is not None
    earlier = read_table(header.rows_url).drop_columns(["losses"])
    write_table(header.rows_url, [earlier], earlier.schema)
    assert list(lossy_objects(url)) == []
    assert "## Meshes" in describe(spec)
    _folder(tmp_path / "shapes", 5)
    listing.run(spec)
    assert _counts(pack.run(spec)) == (1, 4, 0)
    assert Ledger(url).manifest().rows(["losses"])["losses"].to_pylist() == [None] * 5
