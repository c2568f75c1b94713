"""Hundreds of broken files among good ones: each costs itself, no stage ends, no worker dies, every skip is named."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trimesh
import yaml

from captionless.errors import DataError
from captionless.precompute import isolated_reader
from captionless.spec import load
from captionless.stages import listing, pack
from captionless.stages.remedies import broken_objects, remedy
from captionless.store import storage_retry
from captionless.store.ledger import Ledger
from captionless.store.packed import content_digest
from captionless.store.shards import ShardReader
from tests.meshes import CRASHES, VALID, Files, mutated, picture
from tests.store.web import serving

GOOD = 12


def _write(folder: Path, files: Files) -> None:
    """An object's files, and beside them some of what they may name."""
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
    (folder / "loop.png").symlink_to("loop.png")
    os.mkfifo(folder / "pipe.png")
    (folder / "folder").mkdir()


def _shapes(folder: Path, bad: dict[str, Files]) -> None:
    """Good boxes, and bad objects between them."""
    for number in range(GOOD):
        path = folder / "shapes" / ("a-good", "z-good")[number % 2] / f"g{number:02d}.glb"
        path.parent.mkdir(parents=True, exist_ok=True)
        trimesh.creation.box((1, 1 + number / 7, 2)).export(path)
    for name, files in bad.items():
        _write(folder / "shapes" / "bad" / name, files)


def _spec(folder: Path, **data: object) -> dict[str, Any]:
    return {
        "output": str(folder / "out"), "name": "broken",
        "data": {
            "source": {"kind": "folder", "url": str(folder / "shapes"), "up": "y"}, "testFraction": 0,
            "views": 1, "imageSize": 16, "points": 32, "shardObjects": 16, "maxSkippedShare": 1, **data,
        },
        "train": {"weights": ["uniform"], "points": 32},
    }  # fmt: skip


def _packed(folder: Path) -> dict[str, str]:
    """The digests of what is packed, by key."""
    url = f"{folder}/out/pack"
    found = {}
    for facts in Ledger(url).manifest().facts():
        reader = ShardReader(f"{url}/{facts['shard']}")
        found |= {key: content_digest(members) for key, members in reader.members(reader.keys).items()}
    return found


def _assert_each_costs_itself(folder: Path, bad: dict[str, Files]) -> None:
    good = folder.parent / f"{folder.name}-good"
    _shapes(good, {})
    spec = load.build_spec(_spec(good))
    listing.run(spec)
    pack.run(spec)
    expected, found = _packed(good), _packed(folder)
    assert len(expected) == GOOD
    assert {key: found[key] for key in expected} == expected
    skipped = {each.key: each.reason for each in broken_objects(f"{folder}/out/pack")}
    assert len(skipped) > 0.3 * len(bad)
    assert all(skipped.values())
    assert not any("\n" in reason or "Traceback" in reason for reason in skipped.values())
    assert not skipped.keys() & found.keys()
    names = {key.split("/")[1] for key in [*found, *skipped] if key.startswith("bad/")}
    assert names == set(bad)


def _crashes() -> dict[str, Files]:
    return {name: make() for name, make in CRASHES.items()}


def _mutations(count: int) -> dict[str, Files]:
    """So many of all kinds together."""
    kinds = list(VALID)
    return {f"{kinds[i % len(kinds)]}-{i}": mutated(kinds[i % len(kinds)], i) for i in range(count)}


def test_files_that_made_a_stage_end_and_mutations_of_valid_ones(tmp_path: Path) -> None:
    folder, bad = tmp_path / "run", {**_crashes(), **_mutations(60)}
    _shapes(folder, bad)
    spec = load.build_spec(_spec(folder))
    listing.run(spec)
    outcome = pack.run(spec)
    assert outcome.finished
    assert outcome.made + outcome.skipped == GOOD + len(bad)
    _assert_each_costs_itself(folder, bad)
    again = pack.run(spec)
    assert (again.made, again.skipped) == (0, outcome.skipped)


def test_too_many_fail_the_stage_only_when_all_have_been_tried(tmp_path: Path) -> None:
    bad = _crashes()
    _shapes(tmp_path, bad)
    spec = load.build_spec(_spec(tmp_path, maxSkippedShare=0, maxSkipped=3))
    listing.run(spec)
    with pytest.raises(DataError, match=r"data\.maxSkipped allows 3"):
        pack.run(spec)
    skipped = list(broken_objects(f"{tmp_path}/out/pack"))
    assert len(skipped) > 3
    allowed = load.build_spec(_spec(tmp_path, maxSkippedShare=0, maxSkipped=len(skipped)))
    outcome = pack.run(allowed)
    assert (outcome.made, outcome.skipped) == (0, len(skipped))  # what was made is kept


@pytest.mark.parametrize("options", [(), ("--json",)], ids=["text", "json"])
def test_before_anything_is_packed_none_is_said_to_be_broken(tmp_path: Path, options: tuple[str, ...]) -> None:
    _shapes(tmp_path, {})
    spec = tmp_path / "spec.yaml"
    spec.write_text(yaml.safe_dump(_spec(tmp_path)))
    listing.run(load.load_spec(str(spec)))
    refused = subprocess.run(
        [sys.executable, "-m", "captionless", "data", "broken", str(spec), *options], capture_output=True, text=True
    )
    assert (refused.returncode, refused.stdout) == (65, "")
    (line,) = refused.stderr.strip().splitlines()
    assert "captionless pack" in line


@pytest.mark.chaos
def test_three_hundred_broken_files_and_three_workers(tmp_path: Path) -> None:
    folder, bad = tmp_path / "run", {**_crashes(), **_mutations(300)}
    _shapes(folder, bad)
    (folder / "spec.yaml").write_text(yaml.safe_dump(_spec(folder)))
    command = [sys.executable, "-m", "captionless"]
    subprocess.run([*command, "list", str(folder / "spec.yaml")], check=True)
    workers = [
        subprocess.Popen([*command, "pack", str(folder / "spec.yaml"), "--shard", f"{index}/3"]) for index in range(3)
    ]
    assert [worker.wait() for worker in workers] == [0, 0, 0]
    _assert_each_costs_itself(folder, bad)
    listed = subprocess.run(
        [*command, "data", "broken", str(folder / "spec.yaml"), "--json"], capture_output=True, check=True
    )
    document = json.loads(listed.stdout)
    assert document["count"] == len(document["broken"]) == len(list(broken_objects(f"{folder}/out/pack")))
    assert all(each["kind"] and each["remedy"] for each in document["broken"])


def _counts(spec: dict[str, Any], retry: bool = False) -> tuple[int, int, int]:
    """What pack made, kept and skipped, after a new listing."""
    loaded = load.build_spec(spec)
    listing.run(loaded)
    outcome = pack.run(loaded, retry=retry)
    return outcome.made, outcome.kept, outcome.skipped


def test_what_may_be_read_is_asked_again_when_it_changes(tmp_path: Path) -> None:
    outside = tmp_path / "textures"
    outside.mkdir()
    (outside / "t.png").write_bytes(picture())
    files = VALID["obj"]()
    files["x.mtl"] = files["x.mtl"].replace(b"x.png", str(outside / "t.png").encode())
    _shapes(tmp_path, {"outside": files})
    assert _counts(_spec(tmp_path)) == (GOOD, 0, 1)
    (only,) = broken_objects(f"{tmp_path}/out/pack")
    assert remedy(only.reason).kind == "outside"
    assert _counts(_spec(tmp_path, allow=[str(outside)])) == (1, GOOD, 0)
    assert not list(broken_objects(f"{tmp_path}/out/pack"))
    assert _counts(_spec(tmp_path, allow=[str(outside)])) == (0, GOOD + 1, 0)
    assert _counts(_spec(tmp_path)) == (0, GOOD, 1)
    assert "bad/outside/x" not in _packed(tmp_path)


def test_only_what_is_beyond_the_source_is_made_again_when_it_changes(tmp_path: Path) -> None:
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    within, linked = VALID["obj"](), VALID["obj"]()
    (outside / "x.obj").write_bytes(linked.pop("x.obj"))
    within["pictures/x.png"] = within.pop("x.png")
    within["models/x.mtl"] = within.pop("x.mtl").replace(b"x.png", b"../pictures/x.png")
    within["models/x.obj"] = within.pop("x.obj")
    _shapes(tmp_path, {"within": within, "linked": linked})
    (tmp_path / "shapes" / "bad" / "linked" / "x.obj").symlink_to(outside / "x.obj")
    assert _counts(_spec(tmp_path, allow=[str(outside)])) == (GOOD + 2, 0, 0)
    assert _counts(_spec(tmp_path, allow=[str(outside), str(tmp_path / "more")])) == (1, GOOD + 1, 0)
    assert _counts(_spec(tmp_path)) == (0, GOOD + 1, 1)
    assert "bad/linked/x" not in _packed(tmp_path)


def test_what_broke_of_a_small_machine_is_tried_again_on_a_larger_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _shapes(tmp_path, {"large": {**VALID["obj"](), "x.png": picture(6000)}})
    with monkeypatch.context() as small:
        small.setattr(isolated_reader.memory, "available", lambda: 200 << 20)
        assert _counts(_spec(tmp_path)) == (GOOD, 0, 1)
    (only,) = broken_objects(f"{tmp_path}/out/pack")
    assert remedy(only.reason).kind == "limits"
    assert _counts(_spec(tmp_path)) == (0, GOOD, 1)
    assert _counts(_spec(tmp_path), retry=True) == (1, GOOD, 0)
    assert not list(broken_objects(f"{tmp_path}/out/pack"))
    assert _counts(_spec(tmp_path), retry=True) == (0, GOOD + 1, 0)


def test_odd_addresses_and_silent_servers_cost_their_objects_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAPTIONLESS_STORE_RETRY_SECONDS", "0.1")  # of the process that reads
    monkeypatch.setattr(storage_retry, "RETRY_SECONDS", 0.1)
    _shapes(tmp_path, {})
    with (
        socket.socket() as free,
        socket.create_server(("127.0.0.1", 0)) as private,
        serving(tmp_path / "shapes") as url,
    ):
        free.bind(("127.0.0.1", 0))
        private.settimeout(0)
        silent, trap = (f"127.0.0.1:{each.getsockname()[1]}" for each in (free, private))
        bad = {
            "port": "http://example.com:99999/a.obj", "host": "http://a..b/a.obj", "none": "http:///a.obj",
            "blank": "http://exa mple.com/a.obj", "silent": f"http://{silent}/a.obj", "again": f"http://{silent}/b.obj",
            "chain": "a-good/a::b.obj", "bucket": "s3://", "scheme": "nosuch://a/b.obj", "gs": "gs://b/a.obj",
            "hadoop": f"webhdfs://{trap}/a.obj", "ftp": f"ftp://{trap}/a.obj", "git": "github://o:r@main/a.obj",
            "in-hadoop": f"zip://a.obj::webhdfs://{trap}/a.zip", "in-private": f"zip://a.obj::http://{trap}/a.zip",
            "in-nothing": "zip://a.obj", "in-silent": f"zip://a.obj::http://{silent}/a.zip",
            "reference": f"reference://a.obj::http://{trap}/a.json", "cache": f"filecache::http://{trap}/a.obj",
        }  # fmt: skip
        meshes = {f"g{n:02d}": f"{('a-good', 'z-good')[n % 2]}/g{n:02d}.glb" for n in range(GOOD)} | bad
        lines = [
            {"key": key, "category": "box", "mesh": mesh, "source": "here", "licence": "CC0"}
            for key, mesh in meshes.items()
        ]
        (tmp_path / "shapes" / "list.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        spec = _spec(tmp_path, source={"kind": "manifest", "url": f"{url}/list.jsonl", "up": "y"})
        assert _counts(spec) == (GOOD, 0, len(bad))
        broken = {each.key: each.reason for each in broken_objects(f"{tmp_path}/out/pack")}
        assert broken.keys() == bad.keys()
        assert not any("Error" in reason.split(":")[0] for reason in broken.values()), broken
        assert _counts(spec) == (0, GOOD, len(bad))
        with pytest.raises(BlockingIOError):
            private.accept()
