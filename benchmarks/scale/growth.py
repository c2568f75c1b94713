"""52,000 objects to which 1,000 are added, and of which 1,000 are removed: what list, pack and embed make.

    python -m benchmarks.scale.growth 5200 --real
    python -m benchmarks.scale.growth 52000

Every object is a mesh of its own, in a file. With `--real` all is as it is, with few and small views, and the demo's
CLIP. Without, rendering, sampling and the model's arithmetic are replaced: views and points are drawn by a generator
that the mesh seeds, embeddings are a projection of the decoded views. All else remains: meshes are read in their
process, views are encoded and decoded, shards, indices, records and manifests are written, and members copied by
ranges.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import re
import resource
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
from pyarrow import parquet

from benchmarks.measure import table
from captionless.spec import load
from captionless.spec.alignment import AlignmentSpec
from captionless.stages import embed, listing, pack
from captionless.stages.work_items import Outcome
from captionless.store import objects
from captionless.store.embeddings import open_embeddings
from captionless.store.key_search import KeySearch
from captionless.store.shards import ShardReader, encode_array
from captionless.store.views import encode_view, view_name

_VIEWS, _SIZE, _POINTS, _WIDTH = 2, 32, 16, 24
_CATEGORIES = 55
_KEY, _HEX = re.compile(rb"q\d{6}"), re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale.growth", description=__doc__)
    parser.add_argument("objects", type=int, nargs="?", default=52_000)
    parser.add_argument("--changed", type=int, help="how many are added and removed (default: a 52nd)")
    parser.add_argument("--real", action="store_true", help="render, sample and embed")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        changed = arguments.changed or max(1, arguments.objects // 52)
        print(growth_table(Path(folder), arguments.objects, changed, arguments.real))


def growth_table(folder: Path, count: int, changed: int, real: bool) -> str:
    """What the stages do of each change; the store that has changed against one from scratch."""
    grown, fresh = _spec(folder, "grown"), _spec(folder, "fresh")
    rows: list[list[str]] = []
    with contextlib.nullcontext() if real else _in_place_of_arithmetic():
        _write_meshes(folder, range(count))
        rows += _run(grown, f"{count:,} objects")
        _write_meshes(folder, range(count, count + changed))
        rows += _run(grown, f"{changed:,} more")
        rows += _run(fresh, f"{count + changed:,} from scratch")
    made_at_once = {stage: _members(fresh, stage) for stage in ("pack", "embed")}
    same = all(_members(grown, stage) == made_at_once[stage] for stage in made_at_once)
    digests = [open_embeddings(objects.join(each.root, "embed"), "all").digest for each in (grown, fresh)]
    gone = set(np.random.default_rng(0).choice(count + changed, changed, replace=False).tolist())
    for number in gone:
        _mesh_file(folder, number).unlink()
    with contextlib.nullcontext() if real else _in_place_of_arithmetic():
        rows += _run(grown, f"{changed:,} removed")
    keys = {_key(number) for number in gone}
    left = {
        stage: {name: digest for name, digest in members.items() if name[0] not in keys}
        for stage, members in made_at_once.items()
    }
    same_left = all(_members(grown, stage) == left[stage] for stage in left)
    of_the_gone = {digest for members in made_at_once.values() for name, digest in members.items() if name[0] in keys}
    of_the_others = {digest for members in left.values() for digest in members.values()}
    found, searched = _search(Path(grown.root), keys, of_the_gone - of_the_others)
    in_fresh, _ = _search(Path(fresh.root), keys, of_the_gone - of_the_others)
    members = sum(map(len, made_at_once.values()))
    return table(["", "", "made", "kept", "removed", "shards stored anew", "core seconds"], rows) + (
        f"\nBy key, {members:,} members of the store that has grown and of the one from scratch are "
        f"{'equal byte for byte' if same else '**not equal**'}, and the embeddings' digests "
        f"{'are the same' if digests[0] == digests[1] else '**differ**'}. After the removal, the other objects' "
        f"members are {'still' if same_left else '**not**'} those from scratch. In all {searched / 1e6:,.0f} MB of "
        f"list, pack and embed, {len(found):,} of the {len(keys):,} keys that were removed, or of their "
        f"{len(of_the_gone):,} members' digests, are found; in the store from scratch, {len(in_fresh):,} are.\n"
    )


def _spec(folder: Path, name: str) -> AlignmentSpec:
    return load.build_spec(
        {
            "output": str(folder / name),
            "data": {
                "source": {"kind": "folder", "url": str(folder / "shapes")},
                "views": _VIEWS, "imageSize": _SIZE, "points": _POINTS,
            },
            "clip": {"model": "captionless-demo"},
            "train": {"weights": ["uniform"], "points": _POINTS},
        }
    )  # fmt: skip


def _key(number: int) -> str:
    return f"c{number % _CATEGORIES:02d}/q{number:06d}"


def _mesh_file(folder: Path, number: int) -> Path:
    return folder / "shapes" / f"{_key(number)}.obj"


def _write_meshes(folder: Path, numbers: range) -> None:
    """Tetrahedra, each with other corners."""
    for number in numbers:
        path = _mesh_file(folder, number)
        path.parent.mkdir(parents=True, exist_ok=True)
        corners = np.random.default_rng(number).uniform(-1, 1, (4, 3))
        lines = [*("v {:.6f} {:.6f} {:.6f}".format(*corner) for corner in corners), "f 1 2 3", "f 1 4 2"]
        path.write_text("\n".join([*lines, "f 2 4 3", "f 3 4 1", ""]))


def _run(spec: AlignmentSpec, what: str) -> list[list[str]]:
    """Lists, packs and embeds; a row for each."""
    rows = []
    for name, stage in (("list", listing.run), ("pack", pack.run), ("embed", embed.run)):
        before, began = _tars(spec, name), _seconds()
        done: Outcome = stage(spec)
        new = _tars(spec, name) - before
        counts = [f"{n:,}" for n in (done.made, done.kept, done.removed)]
        rows.append([what, name, *counts, f"{len(new):,}" if name != "list" else "", f"{_seconds() - began:.0f}"])
        print(*rows[-1], sep=" | ", flush=True)
        assert done.finished
        assert not done.skipped
        what = ""
    return rows


def _tars(spec: AlignmentSpec, stage: str) -> set[str]:
    return {str(path) for path in Path(spec.root, stage).rglob("*.tar")}


def _seconds() -> float:
    """Of processors, by this process and those that it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _members(spec: AlignmentSpec, stage: str) -> dict[tuple[str, str], str]:
    """sha256 of every member of every tar of a stage, by key and extension."""
    found: dict[tuple[str, str], str] = {}
    for tar in sorted(_tars(spec, stage)):
        for key, members in ShardReader(tar).samples():
            for extension, data in members.items():
                assert (key, extension) not in found
                found[key, extension] = hashlib.sha256(data).hexdigest()
    return found


def _search(root: Path, keys: set[str], digests: set[str]) -> tuple[set[str], int]:
    """Which of these keys and digests any file below a folder has, and how many bytes were searched.

    The files' bytes are searched, and in tables, which are compressed, every value.
    """
    short = {key.rpartition("/")[2] for key in keys}
    search, found, searched = KeySearch(keys), set[str](), 0
    for path in (each for each in root.rglob("*") if each.is_file()):
        found |= search.in_file(str(path))
        data = path.read_bytes()
        if path.suffix == ".parquet":
            columns = parquet.read_table(path).to_pydict().values()
            values = {value for column in columns for value in column if isinstance(value, str | bytes)}
            data = b"\n".join(v.encode() if isinstance(v, str) else v.hex().encode() for v in values)
        searched += len(data)
        found |= short & {match.decode() for match in _KEY.findall(data)}
        found |= digests & {match.decode() for match in _HEX.findall(data)}
    return found, searched


@contextlib.contextmanager
def _in_place_of_arithmetic() -> Iterator[None]:
    """What is rendered, sampled and embedded within the block is drawn instead."""
    import torch

    weights = torch.from_numpy(np.random.default_rng(0).standard_normal((_SIZE * _SIZE * 3, _WIDTH), np.float32))

    def start(pictures: np.ndarray) -> torch.Tensor:
        rows: torch.Tensor = torch.from_numpy(pictures.reshape(len(pictures), -1)).float() @ weights
        return torch.nn.functional.normalize(rows, dim=1)

    def rendered(self: pack.Packer, mesh: Any, key: str) -> dict[str, bytes]:
        seed = hashlib.sha256(np.concatenate([part.vertices for part in mesh.parts]).tobytes()).digest()
        rng = np.random.default_rng(int.from_bytes(seed[:8], "big"))
        views = rng.integers(0, 256, (_VIEWS, _SIZE, _SIZE, 4), np.uint8)
        members = {view_name(i): encode_view(view) for i, view in enumerate(views)}
        members["points.npy"] = encode_array(rng.uniform(-0.5, 0.5, (_POINTS, 6)).astype(np.float16))
        return members

    clip = SimpleNamespace(device=torch.device("cpu"), digest="0" * 64, start=start)
    with (
        mock.patch.object(pack.Packer, "_rendered", rendered),
        mock.patch.object(embed, "load_clip", return_value=clip),
    ):
        yield


if __name__ == "__main__":
    os.environ.setdefault("CAPTIONLESS_QUIET", "1")
    main()
