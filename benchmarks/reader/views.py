"""One view of each object's 30 from a shard of pictures, as a training on pixels would want it."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import webdataset
from numpy.typing import NDArray
from PIL import Image

from benchmarks.measure import alternately, table
from captionless.store.shards import ShardReader, write_shard
from captionless.store.views import encode_view

OBJECTS, VIEWS, SIZE = 48, 30, 224


def picture(rng: np.random.Generator) -> NDArray[np.uint8]:
    """(H, W, 4): a shaded ellipsoid of some proportions and colour, as a rendered view is; straight alpha."""
    y, x = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
    turn, (a, b) = rng.uniform(0, np.pi), rng.uniform(0.3, 0.9, 2)
    u, v = (x * np.cos(turn) + y * np.sin(turn)) / a, (y * np.cos(turn) - x * np.sin(turn)) / b
    depth = np.sqrt(np.clip(1 - u * u - v * v, 0, 1))
    grain = 1 + 0.02 * rng.standard_normal((SIZE, SIZE))
    shade = np.clip((0.2 + 0.8 * depth * grain)[..., None] * rng.uniform(60, 255, 3), 0, 255)
    return np.concatenate([shade, 255.0 * (depth > 0)[..., None]], axis=-1).astype(np.uint8)


def jpeg(rgba: NDArray[np.uint8]) -> bytes:
    """As JPEG of quality 90."""
    sink = io.BytesIO()
    Image.fromarray(rgba[..., :3]).save(sink, "JPEG", quality=90)
    return sink.getvalue()


def shard(folder: Path, kind: str) -> str:
    """A shard of pictures, made once."""
    url = str(folder / f"{kind}.tar")
    if not Path(url).with_suffix(".index").exists():
        rng, encode = np.random.default_rng(0), {"webp": encode_view, "jpg": jpeg}[kind]
        write_shard(
            url,
            (
                (f"object-{i:04d}", {f"view{v:02d}.{kind}": encode(picture(rng)) for v in range(VIEWS)})
                for i in range(OBJECTS)
            ),
        )
    return url


def decode(data: bytes) -> NDArray[np.uint8]:
    """The pixels."""
    with Image.open(io.BytesIO(data)) as found:
        return np.asarray(found)


def ours(url: str, kind: str, then: Callable[[bytes], object]) -> Callable[[], object]:
    """A random view of every object, in random order."""
    opened, rng = ShardReader(url), np.random.default_rng(0)

    def epoch() -> None:
        for key in rng.permutation(opened.keys):
            then(opened.read(str(key), f"view{rng.integers(VIEWS):02d}.{kind}"))

    return epoch


def lazy(url: str, kind: str, then: Callable[[bytes], object]) -> Callable[[], object]:
    """One view of every object, the same for all, the only one that webdataset takes from the tar."""

    def epoch() -> None:
        wanted = f"view07.{kind}"
        for sample in webdataset.WebDataset(
            url, shardshuffle=False, empty_check=False, select_files=lambda name: name.endswith(wanted)
        ):
            then(sample[wanted])

    return epoch


def views_table(folder: Path, rounds: int) -> str:
    """Bytes, and pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for kind in ("webp", "jpg"):
        url = shard(folder, kind)
        size = Path(url).stat().st_size / OBJECTS / VIEWS
        for what, then in (("bytes", lambda data: data), ("pixels", decode)):
            candidates = {"ours": ours(url, kind, then), "lazy": lazy(url, kind, then)}
            times = alternately(candidates, rounds, f"{kind}, {what}")
            own, peer = times["ours"].median, times["lazy"].median
            rates = (f"{OBJECTS / own:,.0f}", f"{OBJECTS / peer:,.0f}")
            rows.append([f"{kind}, {size / 1e3:.1f} KB a view, {what}", *rates, f"{peer / own:.1f}"])
    return (
        f"{OBJECTS} objects of {VIEWS} views of {SIZE} x {SIZE} pixels in a local shard, the page cache warm; medians "
        f"of {rounds} alternating rounds. Ours reads a random view of each object; webdataset reads the same "
        "view of all, since its `select_files` allows no more.\n\n"
        + table(["", "captionless, views/s", "webdataset, views/s", "times as fast"], rows)
    )
