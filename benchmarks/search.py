"""What search finds on the demo's unseen objects, whose structure is known, and its cost for a million shapes.

python -m benchmarks.search demo runs/demo     # after `make demo`; two tables
python -m benchmarks.search scale FOLDER       # writes 2 GB of random unit rows there, opens and searches them
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from captionless.clip import openclip
from captionless.eval.gallery_search import GallerySearch
from captionless.stages.search import Search
from captionless.stages.search.build import build
from captionless.store import gallery
from captionless.store.embeddings import EmbeddedObject, open_embeddings
from captionless.store.shards import ShardReader
from captionless.store.views import view_name

ASKED = {
    "a chair with arms": ("chair", "arms", "yes"),
    "a chair without arms": ("chair", "arms", "no"),
    "a chair with a round seat": ("chair", "seat", "round"),
    "a table with a round top": ("table", "top", "round"),
    "a tall stool": ("stool", "height", "tall"),
    "a lamp with two shades": ("lamp", "shades", "two"),
    "a bookshelf with six shelves": ("bookshelf", "shelves", "six"),
    "a mug with a saucer": ("mug", "saucer", "yes"),
    "a bed with a canopy": ("bed", "posts", "canopy"),
    "an airplane with a propeller": ("airplane", "engines", "propeller"),
    "a bottle with a handle": ("bottle", "handle", "yes"),
    "a door with a round window": ("door", "window", "round"),
    "a vase with handles": ("vase", "handles", "yes"),
    "a sofa with rolled arms": ("sofa", "arms", "rolled"),
}
"""Words, and what of the demo world they mean: category, attribute, value. All that were tried."""

_K = 10
_T = TypeVar("_T")


def demo(run: str) -> None:
    """Words, pictures and shapes against the demo's test objects, avg, seed 0."""
    checkpoint, index = f"{run}/train/avg-seed0/model.pt", f"{run}/search/avg-seed0-test"
    build(checkpoint, f"{run}/embed", index, "test")
    search = Search(index, checkpoint)
    known: dict[str, dict[str, Any]] = {}
    shards = {path: ShardReader(str(path)) for path in sorted(Path(run, "pack", "test").glob("*.tar"))}
    for shard in shards.values():
        known |= {key: json.loads(shard.read(key, "json")) for key in shard.keys}
    print(search.described(), end="\n\n")
    _words(search, known, run)
    found = []
    for shard in shards.values():
        for key in shard.keys:
            with tempfile.NamedTemporaryFile(suffix=".webp") as file:
                file.write(shard.read(key, view_name(3)))
                file.flush()
                found.append((key, [hit.key for hit in search(file.name, 5).hits]))
    first, among = (sum(key in keys[:k] for key, keys in found) for k in (1, 5))
    print(f"\npictures (view 3): the shape itself is first for {first}, among five for {among} of {len(found)}")
    same = [hit.category == known[key]["category"] for key in known for hit in search(f"key:{key}", 5).hits]
    print(f"shapes: {100 * np.mean(same):.0f} % of the five nearest shapes are of the same category")


def _words(search: Search, known: dict[str, dict[str, Any]], run: str) -> None:
    data, model = open_embeddings(f"{run}/embed", "test"), openclip.load("captionless-demo")
    views = data.views(range(len(data))).mean(axis=1, dtype=np.float64)
    views /= np.linalg.norm(views, axis=1, keepdims=True)
    print("| words | right category, of ten | right detail, within the category | by chance | CLIP's views |")
    print("| --- | ---: | ---: | ---: | ---: |")
    total = np.zeros(5)
    for words, (category, attribute, value) in ASKED.items():
        own_kind = {key: about for key, about in known.items() if about["category"] == category}
        right = {key for key, about in own_kind.items() if about["attributes"][attribute] == value}
        ten = sum(hit.category == category for hit in search(words, _K).hits)
        own = sum(hit.key in right for hit in search(words, len(right), within=category).hits)
        cosines = views @ model.texts([words])[0]
        seen = [data.keys[i] for i in np.argsort(-cosines, kind="stable") if data.categories[i] == category]
        clips = sum(key in right for key in seen[: len(right)])
        chance = len(right) ** 2 / len(own_kind)
        total += (ten, own, len(right), chance, clips)
        print(f"| {words} | {ten} | {own} of {len(right)} | {chance:.1f} | {clips} |")
    ten, own, right_, chance, clips = total
    print(f"| all | {ten:.0f} of {_K * len(ASKED)} | {own:.0f} of {right_:.0f} | {chance:.1f} | {clips:.0f} |")


def scale(folder: str, objects: int = 1_000_000, width: int = 512) -> None:
    """Opening and searching a gallery of random unit rows."""
    url, parts, random = f"{folder}/{objects}-{width}", [], np.random.default_rng(0)
    if not os.path.exists(f"{url}/gallery.json"):
        for start in range(0, objects, 4096):
            rows = random.standard_normal((min(4096, objects - start), width), dtype=np.float32)
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            file, sha256 = gallery.write_rows(url, start, rows)
            parts.append(
                gallery.GalleryPart((start, start + len(rows)), file, os.path.getsize(f"{url}/{file}"), sha256)
            )
        listed = [
            EmbeddedObject(f"{i % 1000:04d}/{i:032x}", f"category-{i % 1000:04d}", f"train/{i % 4096:05d}.tar", "", "")
            for i in range(objects)
        ]
        gallery.publish(url, "random", width, {}, sorted(listed, key=lambda o: o.key), parts)
        print("written; run the same command again to measure, in a process without this data in memory")
        return
    opened = _timed("open", lambda: gallery.open_gallery(url))
    nearest = _timed("read and check the rows", lambda: GallerySearch(opened.indices()))
    for query in random.standard_normal((3, width)).astype(np.float32):
        _timed("search, k = 10", lambda query=query: nearest.search(query, 10))  # type: ignore[misc]
    one = opened.categories[7]
    _timed("search within a category of a thousandth", lambda: nearest.search(query, 10, opened.within(one)))
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB")


def _timed(what: str, call: Callable[[], _T]) -> _T:
    wall, processor = time.perf_counter(), time.process_time()
    found = call()
    print(f"{what}: {time.perf_counter() - wall:.2f} s, {time.process_time() - processor:.2f} s of processor")
    return found


if __name__ == "__main__":
    {"demo": demo, "scale": scale}[sys.argv[1]](sys.argv[2])
