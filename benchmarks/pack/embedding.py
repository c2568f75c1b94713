"""Embedding packed views beside the bare model: whether it ever waits."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

import numpy as np
import torch

from benchmarks.measure import table
from benchmarks.pack.stage import SIZE, VIEWS
from captionless.clip import openclip
from captionless.clip.preprocessing import preprocess
from captionless.precompute.meshfile import load_mesh
from captionless.precompute.render import Renderer
from captionless.stages.embedding_pipeline import embed_views
from captionless.store.views import decode_view, encode_view, on_white, view_name

_MODEL = "ViT-B-32"


def embedding_table(paths: Sequence[Path], rounds: int) -> str:
    """Views a second of wall clock and of processor: from stored views to embeddings, and the model alone."""
    import open_clip

    create = open_clip.create_model

    def random_weights(name: str, **_: object) -> torch.nn.Module:
        torch.manual_seed(0)
        return create(name)

    with mock.patch.object(open_clip, "create_model", random_weights):
        clip = openclip.load(_MODEL, "laion2b_s34b_b79k", device="cpu")
    renderer = Renderer(VIEWS, SIZE)
    samples = [
        (
            path.stem,
            {view_name(n): encode_view(view) for n, view in enumerate(renderer.render(load_mesh(str(path), "y")))},
        )
        for path in paths
    ]
    config = dict(clip._model.visual.preprocess_cfg)  # type: ignore[union-attr, arg-type]
    ready = [
        preprocess(np.stack([on_white(decode_view(data, key)) for data in members.values()]), config, clip.device)
        for key, members in samples
    ]

    def bare() -> list[torch.Tensor]:
        with torch.inference_mode():
            return [clip._model.encode_image(pictures) for pictures in ready]  # type: ignore[operator]

    def embed() -> list[torch.Tensor]:
        return [torch.from_numpy(found.rows) for found in embed_views(clip, samples, VIEWS, 256)]

    same = torch.nn.functional.normalize(torch.cat(bare()), dim=-1)
    apart = float((torch.cat(embed()) - same).abs().max())
    spent: dict[str, list[tuple[float, float]]] = {"the model alone, pictures ready in memory": [], "**embed**": []}
    for _ in range(rounds):
        for name, work in zip(spent, (bare, embed), strict=True):
            wall, used = time.perf_counter(), time.process_time()
            work()
            spent[name].append((time.perf_counter() - wall, time.process_time() - used))
    best = {name: np.min(of, axis=0) for name, of in spent.items()}
    alone = best["the model alone, pictures ready in memory"]
    count = VIEWS * len(samples)
    rows = [
        (name, f"{count / wall:.1f}", f"{count / used:.1f}", f"{alone[0] / wall:.2f}", f"{alone[1] / used:.2f}")
        for name, (wall, used) in best.items()
    ]
    headings = ("", "views a second", "views a processor second", "over the model, wall clock", "over it, processor")
    return (
        f"{_MODEL} with random weights in float32, {len(samples)} objects of {VIEWS} views of {SIZE} pixels, "
        f"{torch.get_num_threads()} threads; the best of {rounds} alternating rounds. `embed` starts from the WebPs of "
        "a shard: it decodes, puts on white, converts and normalises. On a machine that others use, only the processor "
        f"time counts. The largest difference is {apart:.1e}.\n\n" + table(headings, rows)
    )
