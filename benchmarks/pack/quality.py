"""What a view costs and what it loses: samples a pixel, and formats at rest."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.measure import table
from benchmarks.pack.stage import SIZE, VIEWS
from captionless.clip import openclip
from captionless.clip.demo import NAME as DEMO
from captionless.mesh import Mesh
from captionless.precompute.meshfile import load_mesh
from captionless.precompute.render import Renderer
from captionless.store.views import on_white

_REFERENCE = 8  # samples a pixel along each axis
_SEEN = 6  # views of each mesh that are compared
Encode = Callable[[NDArray[np.uint8]], bytes]


def supersampling_table(paths: Sequence[Path]) -> str:
    meshes = [load_mesh(str(path), "y") for path in paths]
    clip = openclip.load(DEMO, device="cpu")
    reference = _views(meshes, _REFERENCE)[0]
    embedded = [clip.images(views) for views in reference]
    rows = []
    for samples in (1, 2, 3, 4):
        views, seconds = _views(meshes, samples)
        apart = np.mean([np.abs(a.astype(int) - b).mean() for a, b in zip(views, reference, strict=True)])
        cosines = np.concatenate([(clip.images(v) * e).sum(axis=1) for v, e in zip(views, embedded, strict=True)])
        name = f"{samples} x {samples}" + (", what pack does" if samples == 2 else "")
        rows.append(
            (name, f"{1e3 * seconds * VIEWS:.0f} ms", f"{apart:.2f}", f"{1 - cosines.mean():.1e}",
             f"{1 - cosines.min():.1e}")
        )  # fmt: skip
    headings = ("samples a pixel", f"processor, {VIEWS} views", "difference, of 255", "1 - cosine, mean", "most")
    return (
        f"{len(paths)} meshes, {_SEEN} views each, compared with {_REFERENCE} x {_REFERENCE} samples: the mean "
        "absolute difference of pixels on white, and the cosine of the views' embeddings by the embedded CLIP model, "
        f"which sees {clip.image_size} pixels a side.\n\n" + table(headings, rows)
    )


def _views(meshes: Sequence[Mesh], samples: int) -> tuple[list[NDArray[np.uint8]], float]:
    """Views on white by mesh, and processor seconds a view."""
    renderer = Renderer(_SEEN, SIZE, supersampling=samples)
    renderer.render(meshes[0])
    began = time.process_time()
    views = [renderer.render(mesh) for mesh in meshes]
    seconds = (time.process_time() - began) / len(meshes) / _SEEN
    return [on_white(v) for v in views], seconds


def _saved(kind: str, opaque: bool = False, **options: object) -> Encode:
    def encode(view: NDArray[np.uint8]) -> bytes:
        sink = io.BytesIO()
        Image.fromarray(on_white(view) if opaque else view).save(sink, kind, **options)
        return sink.getvalue()

    return encode


_FORMATS: dict[str, Encode] = {
    "WebP, lossless, effort 0: what pack writes": _saved("WEBP", lossless=True, method=0, quality=0, exact=True),
    "WebP, lossless, effort 4": _saved("WEBP", lossless=True, method=4, quality=75, exact=True),
    "PNG, level 1": _saved("PNG", compress_level=1),
    "PNG, level 6": _saved("PNG", compress_level=6),
    "JPEG on white, quality 90: no mask, not exact": _saved("JPEG", opaque=True, quality=90),
    "uncompressed": lambda view: view.tobytes(),
}


def formats_table(paths: Sequence[Path]) -> str:
    renderer = Renderer(_SEEN, SIZE)
    views = [view for path in paths for view in renderer.render(load_mesh(str(path), "y"))]
    rows = []
    for name, encode in _FORMATS.items():
        began = time.process_time()
        stored = [encode(view) for view in views]
        encoded = time.process_time()
        for data in stored:
            if name != "uncompressed":
                Image.open(io.BytesIO(data)).load()
        decoded = time.process_time()
        each = len(views)
        rows.append(
            (name, f"{sum(map(len, stored)) / each / 1e3:.1f} kB", f"{1e3 * (encoded - began) / each:.2f} ms",
             f"{1e3 * (decoded - encoded) / each:.2f} ms")
        )  # fmt: skip
    return f"{len(views)} views of {SIZE} pixels.\n\n" + table(("a view", "size", "encode", "decode"), rows)
