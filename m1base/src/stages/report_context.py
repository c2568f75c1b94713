"""Collects what report.html shows of a run besides its figures: pictures, curves, examples, neighbours.

Pictures are the stored views, scaled down for the map where there are many; nothing is rendered or embedded again.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from captionless.clip import demo
from captionless.eval.class_tables import ClassTable
from captionless.eval.cosine import MadeRows
from captionless.eval.report import context as shown
from captionless.eval.report.html import render_report
from captionless.spec.alignment import AlignmentSpec
from captionless.spec.plan import LANDMARKS, PACK, SIMILARITY
from captionless.spec.variant import TrainingVariant, training_variants
from captionless.stages import train
from captionless.stages.inspect import measure
from captionless.stages.unseen import Unseen
from captionless.store import objects
from captionless.store.arrays import StoredArray
from captionless.store.columns import Named
from captionless.store.embeddings import Embeddings, open_embeddings
from captionless.store.landmark_store import open_landmarks
from captionless.store.packed import PackedShards
from captionless.store.shards import ShardReader
from captionless.store.similarity_store import open_similarity
from captionless.store.views import shown_view, thumbnail, view_name

_QUERIES = 8
_MOST_MARKS = 1000
"""Test objects in the embedding map, each with its picture; more would make the page too large for a phone."""


def report_html(
    spec: AlignmentSpec,
    unseen: Unseen,
    stored: StoredArray,
    found: Mapping[str, Any],
    tables: Mapping[str, ClassTable],
) -> str:
    """The page for the results `found` on the unseen objects; what is shown of one run is of the spec's first.

    stored: (n, D) its embeddings of them. tables: the class tables of the results.
    """
    first, data = training_variants(spec)[0], unseen.data
    width = int(stored.shape[1])
    shapes = MadeRows((len(stored), width), lambda rows: stored.read(rows.start, rows.stop))
    training, packed = open_embeddings(data.url, "train"), PackedShards(objects.join(spec.root, PACK))
    queries = _queries(packed, unseen, shapes)
    neighbours = _neighbours(spec, training)
    examples = _examples(spec, training)
    marked = sorted(shown.drawn(data.keys, data.categories, _MOST_MARKS))
    seen = {q.key for q in queries} | {h.key for q in queries for h in q.hits}
    small = {k: thumbnail(v, k) for k, v in _pictures(spec, packed, data, data.keys.some(marked)).items()}
    of_training = {e.key for e in examples} | {n.key for n in neighbours}
    of_training |= {o.key for n in neighbours for o in (*n.nearest, *n.farthest)}
    return render_report(
        found,
        shown.ReportContext(
            title=f"captionless: {spec.name}",
            summary=_summary(spec, len(training), len(data)),
            chosen=(str(first.mode), first.seed),
            thumbnails=small | _pictures(spec, packed, data, seen) | _pictures(spec, packed, training, of_training),
            categories=_called(unseen, data, seen) | _called(unseen, training, of_training),
            histories=[_curve(spec, r) for r in training_variants(spec)],
            queries=queries,
            neighbours=neighbours,
            examples=examples,
            embedding_map=shown.EmbeddingMap(shapes, data.keys, _renamed(unseen, data.categories), marked),
            tables=tables,
        ),
    )


def _queries(packed: PackedShards, unseen: Unseen, shapes: MadeRows) -> list[shown.RetrievalQuery]:
    """Rankings of a few unseen objects, each with the view that is its query."""
    data, asked = unseen.data, unseen.test.choices[0]
    chosen = shown.drawn(data.keys, data.categories, _QUERIES)
    images = np.stack([data.views([i])[0, asked[i]] for i in chosen])
    found = shown.retrieval_queries(chosen, images, shapes, data.keys, data.categories)
    return [replace(q, picture=_view(packed, data, i, int(asked[i]))) for q, i in zip(found, chosen, strict=True)]


def _renamed(unseen: Unseen, categories: Named) -> Named:
    """A column of categories by what the page calls them."""
    called = dict(zip(unseen.classes, unseen.called, strict=True))
    return Named([called[name] for name in categories.names], categories.codes)


def _called(unseen: Unseen, data: Embeddings, keys: Collection[str]) -> dict[str, str]:
    """What the page calls the categories of some objects."""
    column = _renamed(unseen, data.categories)
    return {key: column[data.keys.index(key)] for key in sorted(keys)}


def _summary(spec: AlignmentSpec, training: int, unseen: int) -> str:
    clip = spec.clip.model + demo.remark(spec.clip.model)
    return (
        f"{spec.train.encoder.name} of width {spec.train.encoder.width}, trained for {spec.train.steps} steps of "
        f"{spec.train.batch_size} clouds of {spec.train.points} points on {training} objects, against "
        f"{clip}; evaluated on {unseen} unseen objects."
    )


def _curve(spec: AlignmentSpec, run: TrainingVariant) -> shown.History:
    history = train.history(spec, run)
    return shown.History(str(run.mode), run.seed, history["step"], history["loss"], history["scale"])


def _neighbours(spec: AlignmentSpec, training: Embeddings) -> list[shown.NeighbourLists]:
    """Of a few training objects, by every metric; weights are those in a batch of all training objects."""
    sharpen, count = spec.train.sharpen, len(training)
    stores = [open_similarity(objects.join(spec.root, SIMILARITY, metric)) for metric in spec.metrics]
    means = [store.category_mean() if sharpen != 1 else {} for store in stores]
    found = []
    for index in shown.drawn(training.keys, training.categories, 3):
        key = training.keys[index]
        for store, mean in zip(stores, means, strict=True):
            row, mates = measure.row_of(store, key, training.categories[index], mean)
            if mates:
                weights = measure.negatives(row.sharpened(sharpen), count - row.objects, store.cross_category_sim)
                others = float(weights[measure.OTHER][0]) if weights[measure.OTHER].size else None
                found.append(
                    shown.neighbours_of(
                        key, row.similarity[0], mates, store.metric, weights=weights[measure.MIXED][0], others=others
                    )
                )
    return found


def _examples(spec: AlignmentSpec, training: Embeddings) -> list[shown.Example]:
    landmarks = open_landmarks(objects.join(spec.root, LANDMARKS)) if "i2l" in spec.metrics else {}
    found = []
    for index in shown.drawn(training.keys, training.categories, 8):
        item = training.objects[index]
        about = json.loads(ShardReader(objects.join(training.url, item.shard)).read(item.key, "json"))
        texts = [about["text"]] if about.get("text") else []
        marks = landmarks[item.category].texts()[:3] if item.category in landmarks else []
        found.append(shown.Example(item.key, texts, marks))
    return found


def _pictures(spec: AlignmentSpec, packed: PackedShards, data: Embeddings, keys: Collection[str]) -> dict[str, bytes]:
    """The stored view that stands for each object."""
    pose = shown_view(spec.data.views)
    return {key: _view(packed, data, data.keys.index(key), pose) for key in sorted(keys)}


def _view(packed: PackedShards, data: Embeddings, index: int, pose: int) -> bytes:
    """The picture of an object from a pose, as it is stored."""
    item = data.objects[index]
    return packed.beside(item.shard).read(item.key, view_name(pose))
