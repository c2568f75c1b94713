"""A data set of 52,000 objects to which 1,000 are added, and of which 1,000 are removed: what is computed, and kept."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from benchmarks.measure import table
from benchmarks.similarity.shapenet import SHAPENET
from captionless.store import objects
from captionless.store.key_search import KeySearch
from captionless.store.similarity_index import read_index
from captionless.store.similarity_store import open_similarity
from tests.stages.test_similarity_growth import DataSet

OBJECTS, CHANGED = 52_000, 1_000


def growth_table(folder: Path) -> str:
    """Objects of 3 views of width 24, in ShapeNet's categories; the store that has changed against one from scratch."""
    data, rng = DataSet(str(folder)), np.random.default_rng(0)
    shares = np.array(list(SHAPENET.values())) / sum(SHAPENET.values())
    rows, gone = [], list[str]()
    for what in (f"{OBJECTS:,} objects", f"{CHANGED:,} more", f"{CHANGED:,} removed", "the same from scratch"):
        before, out = data.pairs(), "fresh" if "scratch" in what else "sim"
        if "objects" in what or "more" in what:
            for category, count in _drawn(rng, shares, OBJECTS if "objects" in what else CHANGED).items():
                data.add(category, count)
        elif "removed" in what:
            for category, count in _drawn(rng, shares, CHANGED).items():
                gone += data.remove(category, min(count, len(data.keys(category)) - 1))
        began = time.perf_counter()
        done = data.compute(out)
        seconds = time.perf_counter() - began
        new = data.pairs() if before == 0 or out == "fresh" else max(0, data.pairs() - before)
        counts = [f"{n:,}" for n in (done.made, new, done.kept, done.removed)]
        tiles = sum(name.endswith(".sim") for name in objects.list_names(f"{folder}/{out}"))
        rows.append([what, *counts, f"{tiles:,}", f"{seconds:.1f} s"])
    data.check()
    search, store = KeySearch(gone), f"{folder}/sim"
    found = {key for name in objects.walk(store) for key in search.in_file(f"{store}/{name}")}
    changed, fresh = open_similarity(store), open_similarity(f"{folder}/fresh")
    worst = 0.0
    for category in changed.categories:
        keys = data.keys(category)
        some = [keys[i] for i in rng.choice(len(keys), min(len(keys), 2000), replace=False)]
        worst = max(worst, float(np.abs(changed.lookup(some) - fresh.lookup(some)).max()))
    same = read_index(store).digest == read_index(f"{folder}/fresh").digest
    headings = ["", "pairs computed", "pairs that are new", "kept", "removed", "tiles", "wall"]
    return table(headings, rows) + (
        "\nEvery pair is within 3e-6 of the formula in float64. The store that has changed and the one from scratch "
        f"have {'the same digest' if same else '**other digests**'}, and differ by {worst:.1e} at most. Of the "
        f"{len(gone):,} keys that were removed {len(found):,} are found in its files.\n"
    )


def _drawn(rng: np.random.Generator, shares: np.ndarray, count: int) -> dict[str, int]:
    """How many of so many objects are of each category; one at least, if they are many."""
    counts = np.maximum(rng.multinomial(count, shares), count == OBJECTS)
    return {name: int(n) for name, n in zip(SHAPENET, counts, strict=True) if n}
