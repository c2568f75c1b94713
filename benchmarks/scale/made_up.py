"""A run whose objects are made up and whose bookkeeping is real: nothing is rendered, sampled, embedded or compared.

What stands in for these says of every object what they would, and the shards' tars hold nothing. Listing, dealing,
indices, records, manifests and their tables are those of the stages, of the size that they have.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.scale.listing import made_up
from captionless.precompute.row_partition import RowBlock
from captionless.spec import load
from captionless.spec.alignment import AlignmentSpec
from captionless.stages import embed, listing, neighbours, pack, vectors
from captionless.store import file_index, neighbour_store, objects, scan, shards
from captionless.store.listing import ListedObject
from captionless.store.packed import RENDERER
from captionless.store.shards import ShardInfo, ShardReader

NEIGHBOURS = 10
_SIZES = {"views.npy": 30 * 512 * 2 + 128, "points.npy": 10_000 * 6 * 2 + 128}


def spec_of(source: str, output: str) -> AlignmentSpec:
    return load.build_spec(
        {
            "output": output,
            "data": {"source": {"kind": "manifest", "url": source}},
            "clip": {"model": "captionless-demo"},
            "train": {"weights": ["uniform"]},
        }
    )


@contextlib.contextmanager
def in_place_of_the_work() -> Iterator[None]:
    """Within the block the stages do everything but what takes time by the object."""
    with contextlib.ExitStack() as stack:
        for owner, name, stand_in in (
            (scan, "look_up", made_up),
            (file_index, "_is_of_content", lambda url, version: True),
            (pack, "write_shard", _written),
            (embed, "write_shard", _written),
            (pack.Packer, "_samples", _packed),
            (embed.Embedder, "_samples", _embedded),
            (vectors._Mean, "embed", lambda self, indices: np.zeros((len(indices), 4), np.float32)),
            (neighbours._Neighbours, "_block", _compared),
        ):
            stack.enter_context(mock.patch.object(owner, name, stand_in))
        yield


def run_all(spec: AlignmentSpec) -> None:
    """List, pack and embed, by one worker each."""
    for stage in (listing.run, pack.run, embed.run):
        stage(spec)


def compute_neighbours(spec: AlignmentSpec, shard: Any) -> Any:
    url = objects.join(spec.root, "embed")
    return neighbours.compute(url, objects.join(spec.root, "neighbours"), "mean", "category", NEIGHBOURS, shard)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _written(
    url: str, samples: Iterable[tuple[str, Mapping[str, bytes]]], notes: Mapping[str, Mapping[str, str]]
) -> ShardInfo:
    """In place of `write_shard`: the index of a tar that is not there."""
    index: dict[str, dict[str, list[int]]] = {}
    at = 0
    for key, _ in samples:
        index[key] = {}
        for name, size in _SIZES.items():
            index[key][name], at = [at + 512, size], at + 1024 + size
    objects.write_bytes(url, b"made up")
    info = ShardInfo(url, at, _digest(url.rsplit("/", 1)[-1]), index)
    shards._write_index(info, notes)
    return info


def _packed(
    self: pack.Packer, wanted: Sequence[ListedObject], before: Any, done: Any, advance: Callable[[int], None]
) -> Iterator[tuple[str, dict[str, bytes]]]:
    for each in wanted:
        [[file]] = made_up([str(each.ref.url)])
        files = json.dumps([[Path(file.url).name, file.version, _digest(each.key)]])
        done.notes[each.key] = {
            "made": self.made(each, beyond=False), "content": _digest(each.key), "renderer": RENDERER, "files": files,
            "faces": "1000", "textured": "True",
        }  # fmt: skip
        yield each.key, {}
        advance(1)


def _embedded(
    self: embed.Embedder, shard: ShardReader, before: Any, done: Any, advance: Callable[[int], None]
) -> Iterator[tuple[str, dict[str, bytes]]]:
    for key in shard.keys:
        done.categories[key] = _category_of(key)
        done.notes[key] = {"made": self._made(shard, key), "views": _digest(key), "points": _digest(key[::-1])}
        yield key, {}
        advance(1)


def _category_of(key: str) -> str:
    """As `listing.write_manifest` has it."""
    from benchmarks.scale.listing import CATEGORIES

    return f"class {int(key.rpartition('/')[2], 16) * 7919 % CATEGORIES:04d}"


def _compared(
    self: neighbours._Neighbours, block: RowBlock, fingerprint: str, advance: Callable[[int], None]
) -> neighbour_store.NeighbourBlock:
    rows = block.stop - block.start
    nearest = np.tile(np.arange(self.k, dtype=np.int32), (rows, 1))
    return neighbour_store.write_block(
        self.out, block.group, block.start, nearest, np.zeros((rows, self.k), np.float32), fingerprint
    )
