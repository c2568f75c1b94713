"""A small aligned data set in the real stores: boxes of varying sides whose embeddings follow from their sides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from captionless.spec.train import TrainSpec
from captionless.spec.weights import Weights
from captionless.store.embeddings import open_embeddings
from captionless.store.packed import embedded_rows
from captionless.store.shards import encode_array
from captionless.store.tiles import Metric
from captionless.trainer.ops.point_sets import farthest_point_sample
from captionless.trainer.training_job import TrainingJob
from tests.embedded import publish, record_embedded
from tests.matrices import store_all

VIEWS, FEATURES = 4, 16


def write(
    root: Path, train: int = 24, test: int = 0, categories: int = 3, points: int = 64, seed: int = 0, shards: int = 1
) -> None:
    """embed/ with the splits train and test, of so many shards, and similarity/i2i and i2l (the latter of made-up
    values)."""
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((6, FEATURES))
    embed = str(root / "embed")
    for split, count in (("train", train), ("test", test)):
        samples = []
        for i in range(count):
            category = i % categories
            sides = np.array([1.0, 0.3 + 0.6 * category / categories, 0.3]) * rng.uniform(0.8, 1.2, 3)
            sides /= np.linalg.norm(sides)
            spectrum = np.concatenate([np.cos(3 * sides), np.sin(3 * sides)]) @ mixing
            views = spectrum + 0.02 * rng.standard_normal((VIEWS, FEATURES))
            views = (views / np.linalg.norm(views, axis=1, keepdims=True)).astype(np.float16)
            samples.append((f"c{category}-{split}-{i:03d}", f"c{category}", views, _box(sides, points, rng)))
        for number in range(shards):
            own = [
                (k, c, {"views.npy": encode_array(v), "points.npy": encode_array(p)})
                for k, c, v, p in samples[number::shards]
            ]
            record_embedded(embed, split, number, own)
    publish(embed, embedded_rows)
    data = open_embeddings(embed, "train")
    views = data.views(range(len(data))).astype(np.float64)
    metrics: tuple[Metric, ...] = ("i2i", "i2l")
    for metric in metrics:
        matrices = {}
        for name, own in data.members().items():
            sim = np.einsum("irf,jrf->ij", views[own], views[own]) / (2 * VIEWS) + 0.5
            sim = sim if metric == "i2i" else sim**4
            np.fill_diagonal(sim, 1.0)
            matrices[name] = ([data.keys[i] for i in own], sim)
        store_all(str(root / "similarity" / metric), matrices, metric)


def job(root: Path, run: str = "run", weights: str = "i2i", seed: int = 0, **train: Any) -> TrainingJob:
    """A tiny job on what `write` left under `root`; `train` overrides fields of the TrainSpec."""
    settings: dict[str, Any] = {
        "steps": 6, "batch_size": 8, "points": 32, "checkpoint_every": 2,
        "encoder": {"width": 4, "nsample": 4, "radius": 0.4, "dropout": 0.3},
        "optim": {"lr": 5e-3, "warmup": 0.1},
    }  # fmt: skip
    return TrainingJob(
        run=str(root / run),
        data=str(root / "embed"),
        similarity={metric: str(root / "similarity" / metric) for metric in ("i2i", "i2l")},
        weights=Weights(weights),
        seed=seed,
        train=TrainSpec.model_validate({**settings, **train}),
        clip={"model": "synthetic", "pretrained": ""},
    )


def _box(sides: np.ndarray, points: int, rng: np.random.Generator) -> np.ndarray:
    cloud = rng.uniform(-1, 1, (points, 3))
    cloud[np.arange(points), rng.integers(3, size=points)] = rng.choice([-1.0, 1.0], points)
    cloud = (cloud * sides).astype(np.float16)
    order = farthest_point_sample(torch.from_numpy(cloud[None].astype(np.float32)), points)[0].numpy()
    return np.concatenate([cloud[order], np.full((points, 3), 0.5, np.float16)], axis=1)
