"""What a world's run gives from scratch, and whether a run in place has given the same.

A reference is made once for each state of a world and kept in a folder that all of pytest's processes share.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from captionless.spec.load import load_spec
from captionless.spec.plan import plan
from captionless.store import objects
from captionless.store.embeddings import open_embeddings
from captionless.store.similarity_store import open_similarity
from tests.chaos.processes import Command, Ended, Interruption
from tests.chaos.world import World
from tests.flow.conftest import comparable

SIMILARITY = 6e-6
"""How far two stores' values of a pair may be apart: each is within 3e-6 of the true one."""


@dataclass(frozen=True)
class Reference:
    """A run from scratch: where it is, and how it ended."""

    out: Path
    code: int
    error: str


def commands(world: World, order: random.Random | None = None) -> Iterator[list[str]]:
    """The command lines of a world's plan, a stage's workers in any order."""
    for stage in plan(load_spec(str(world.folder / "spec.yaml"))):
        workers = list(range(stage.workers))
        if order is not None:
            order.shuffle(workers)
        for worker in workers:
            share = ["--shard", f"{worker}/{stage.workers}"] if stage.workers > 1 and not stage.gang else []
            yield [*stage.command, "spec.yaml", *share]


def run(
    world: World, order: random.Random | None = None, interrupted: int = -1, interruption: Interruption | None = None
) -> tuple[list[str], Ended]:
    """Runs a world's plan to its end or to the first command that fails; that command, or the last, and its end.

    The `interrupted`-th command, if there are as many, gets the `interruption`.
    """
    last: list[str] = []
    ended = Ended(0, "", "")
    for number, last in enumerate(commands(world, order)):
        ended = Command(world.folder, last, interruption if number == interrupted else None).end()
        if ended.code:
            break
    return last, ended


def reference(world: World, shared: Path) -> Reference:
    """The world's run from scratch, made or found in the folder `shared`."""
    shared.mkdir(parents=True, exist_ok=True)
    folder, done = shared / world.digest, shared / f"{world.digest}.json"
    with FileLock(shared / f"{world.digest}.lock"):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            _, ended = run(world.copy(folder))
            done.write_text(json.dumps([ended.code, ended.error]))
    code, error = json.loads(done.read_text())
    return Reference(folder / "out", code, error)


def differences(out: Path, of: Reference, world: World, folder: Path) -> list[str]:
    """How the published outputs of a finished run in place, of this world, differ from those made from scratch.

    Stored similarity may differ in its last bits, by which a training that starts from it may change which of two
    nearly equal objects is found first. So where figures differ although all stores agree, training and evaluation are
    made from scratch once more, in `folder`, on the stores in place, and have to give the published figures exactly.
    """
    found = _store_differences(out, of)
    if not found and (found := _figure_differences(out, of.out)):
        found = _figure_differences(out, _trained_again(world, out, folder))
    return found


def _trained_again(world: World, out: Path, folder: Path) -> Path:
    """The outputs of a run of this world that begins with the stores of `out`, which it must not make anew."""
    other = world.copy(folder)
    shutil.copytree(out, folder / "out", ignore=lambda where, _: ["train", "eval"] if where == str(out) else [])
    stores = sorted(path.relative_to(folder) for path in (folder / "out" / "similarity").rglob("*.sim"))
    before = {path: (folder / path).stat().st_mtime_ns for path in stores}
    _, ended = run(other)
    assert ended.code == 0, ended.error
    assert {path: (folder / path).stat().st_mtime_ns for path in stores} == before
    return folder / "out"


def _figure_differences(out: Path, other: Path) -> list[str]:
    ours, theirs = (_figures((folder / "eval" / "results.json").read_bytes()) for folder in (out, other))
    return [f"results.json: {path}: {a!r}, from scratch {b!r}" for path, a, b in _unequal(ours, theirs)]


def _store_differences(out: Path, of: Reference) -> list[str]:
    found: list[str] = []
    for split in ("train", "test"):
        found += _embeddings(f"{out}/embed", f"{of.out}/embed", split)
    for metric in objects.list_names(f"{of.out}/similarity"):
        found += _similarity(f"{out}/similarity/{metric}", f"{of.out}/similarity/{metric}")
    return found


def _figures(results: bytes) -> dict[str, Any]:
    """What is compared of results.json: everything but times, the host, and the models' checksums, which change with
    the last bits of the stored similarity, as do the names of files that contain some of them."""
    found = comparable(results)
    for outcomes in found["files"]["outcomes"].values():
        del outcomes["file"]
    found["provenance"] = {k: v for k, v in found["provenance"].items() if k != "checkpoints"}
    return found


def _unequal(a: Any, b: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(a, dict) and isinstance(b, dict):
        for key in sorted({*a, *b}):
            yield from _unequal(a.get(key), b.get(key), f"{path}.{key}" if path else key)
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for index, (x, y) in enumerate(zip(a, b, strict=True)):
            yield from _unequal(x, y, f"{path}[{index}]")
    elif a != b:
        yield path, a, b


def _embeddings(ours: str, theirs: str, split: str) -> Iterator[str]:
    a, b = open_embeddings(ours, split), open_embeddings(theirs, split)
    if list(a.keys) != list(b.keys) or list(a.categories) != list(b.categories):
        yield f"embed {split}: objects {list(a.keys)}, from scratch {list(b.keys)}"
        return
    everything = range(len(a))
    for name, x, y in (("views", a.views, b.views), ("points", a.points, b.points)):
        for key, one, other in zip(a.keys, x(everything), y(everything), strict=True):
            if one.tobytes() != other.tobytes():
                yield f"embed {split}: {name} of {key} differ from those made from scratch"


def _similarity(ours: str, theirs: str) -> Iterator[str]:
    a, b = open_similarity(ours), open_similarity(theirs)
    keys = sorted(key for category in b.categories for key in b.keys(category))
    if sorted(key for category in a.categories for key in a.keys(category)) != keys:
        yield f"{ours}: not the objects of a run from scratch"
        return
    apart = float(np.abs(a.lookup(keys) - b.lookup(keys)).max())
    if not apart <= SIMILARITY:
        yield f"{ours}: a pair is {apart:.1e} from its value from scratch"
