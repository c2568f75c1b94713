"""Collects what report.html shows of a run besides its figures: pictures, curves, examples, neighbours.

Pictures are the stored views, scaled down for the map where there are many; nothing is rendered or embedded again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Set
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from captionless.clip import demo
from captionless.eval import results
from captionless.eval.report import context as shown
from captionless.eval.report.html import render_report
from captionless.spec.alignment import AlignmentSpec
from captionless.spec.plan import EVAL, LANDMARKS, PACK, SIMILARITY, TrainingVariant, training_variants
from captionless.stages import train
from captionless.stages.inspect import measure
from captionless.store import objects
from captionless.store.embeddings import Embeddings, open_embeddings
from captionless.store.landmark_store import open_landmarks
from captionless.store.shards import ShardReader, decode_array
from captionless.store.similarity_store import open_similarity
from captionless.store.views import shown_view, thumbnail, view_name

_MOST_MARKS = 1000
"""Test objects in the embedding map, each with its picture; more would make the page too large for a phone."""


def report_html(spec: AlignmentSpec, data: Embeddings, test: results.TestSplit, found: Mapping[str, Any]) -> str:
    """The page for the results `found` on the test split `data`; classes are shown of the spec's first run."""
    first = training_variants(spec)[0]
    url = objects.join(spec.root, EVAL, "runs", f"{first.name}.npy")
    shapes = decode_array(objects.read_bytes(url), url)
    training = open_embeddings(data.url, "train")
    categories = dict(zip(data.keys, data.categories, strict=True))
    training_categories = dict(zip(training.keys, training.categories, strict=True))
    asked = test.choices()[0]
    images = test.views[np.arange(len(test.views)), asked]
    queries = [
        replace(q, picture=_view(spec, data, index := data.keys.index(q.key), int(asked[index])))
        for q in shown.retrieval_queries(images, shapes, data.keys, categories)
    ]
    neighbours = _neighbours(spec, training.keys, training_categories)
    examples = _examples(spec, training, training_categories)
    marked = sorted(shown.drawn(data.keys, categories, _MOST_MARKS))
    seen = {q.key for q in queries} | {h.key for q in queries for h in q.hits}
    small = {k: thumbnail(v, k) for k, v in _pictures(spec, data, {data.keys[i] for i in marked}).items()}
    of_training = {e.key for e in examples} | {n.key for n in neighbours}
    of_training |= {o.key for n in neighbours for o in (*n.nearest, *n.farthest)}
    return render_report(
        found,
        shown.ReportContext(
            title=f"captionless: {spec.name}",
            summary=_summary(spec, len(training), len(data)),
            chosen=(first.weights.value, first.seed),
            thumbnails=small | _pictures(spec, data, seen) | _pictures(spec, training, of_training),
            categories=categories | training_categories,
            histories=[_curve(spec, r) for r in training_variants(spec)],
            queries=queries,
            neighbours=neighbours,
            examples=examples,
            embedding_map=shown.EmbeddingMap(shapes, data.keys, marked),
        ),
    )


def _summary(spec: AlignmentSpec, training: int, unseen: int) -> str:
    clip = spec.clip.model + demo.remark(spec.clip.model)
    return (
        f"{spec.train.encoder.name} of width {spec.train.encoder.width}, trained for {spec.train.steps} steps of "
        f"{spec.train.batch_size} clouds of {spec.train.points} points on {training} objects, against "
        f"{clip}; evaluated on {unseen} unseen objects."
    )


def _curve(spec: AlignmentSpec, run: TrainingVariant) -> shown.History:
    history = train.history(spec, run)
    return shown.History(run.weights.value, run.seed, history["step"], history["loss"], history["scale"])


def _neighbours(spec: AlignmentSpec, keys: list[str], categories: Mapping[str, str]) -> list[shown.NeighbourLists]:
    """Of a few training objects, by every metric; weights are those in a batch of all training objects."""
    sharpen = spec.train.sharpen
    stores = [open_similarity(objects.join(spec.root, SIMILARITY, metric)) for metric in spec.metrics]
    means = [store.category_mean() if sharpen != 1 else {} for store in stores]
    found = []
    for key in (keys[index] for index in shown.drawn(keys, categories, 3)):
        for store, mean in zip(stores, means, strict=True):
            row, mates = measure.row_of(store, key, categories[key], mean)
            if mates:
                weights = measure.negatives(row.sharpened(sharpen), len(keys) - row.objects, store.cross_category_sim)
                others = float(weights[measure.OTHER][0]) if weights[measure.OTHER].size else None
                found.append(
                    shown.neighbours_of(
                        key, row.similarity[0], mates, store.metric, weights=weights[measure.MIXED][0], others=others
                    )
                )
    return found


def _examples(spec: AlignmentSpec, training: Embeddings, categories: Mapping[str, str]) -> list[shown.Example]:
    landmarks = open_landmarks(objects.join(spec.root, LANDMARKS)) if "i2l" in spec.metrics else {}
    found = []
    for index in shown.drawn(training.keys, categories, 8):
        item = training.objects[index]
        about = json.loads(ShardReader(objects.join(training.url, item.shard)).read(item.key, "json"))
        texts = [about["text"]] if about.get("text") else []
        marks = landmarks[item.category].texts()[:3] if item.category in landmarks else []
        found.append(shown.Example(item.key, texts, marks))
    return found


def _pictures(spec: AlignmentSpec, data: Embeddings, keys: Set[str]) -> dict[str, bytes]:
    """The stored view that stands for each object."""
    pose = shown_view(spec.data.views)
    return {o.key: _view(spec, data, i, pose) for i, o in enumerate(data.objects) if o.key in keys}


def _view(spec: AlignmentSpec, data: Embeddings, index: int, pose: int) -> bytes:
    """The picture of an object from a pose, as it is stored."""
    item = data.objects[index]
    return _tar(objects.join(spec.root, PACK, item.shard)).read(item.key, view_name(pose))


@lru_cache(maxsize=256)
def _tar(url: str) -> ShardReader:
    return ShardReader(url)
