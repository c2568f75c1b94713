"""Metrics of likeness against structure that is known: ranked pairs and triplets of the demo world.

Objects are drawn from attribute combinations that the demo CLIP model was never trained on; they come in siblings,
which differ in one attribute. Two questions:

- Ranking: over all pairs of a category, Spearman's rank correlation of a metric with the number of attributes in
  which the pair differs, signed so that 1 is right.
- Triplets (Figure 3 of arXiv 2406.02202 as a number): is an anchor more like itself in other colours and textures
  than like another structure in its own? `world.build` draws proportions from an object's key, finishes from its key
  and `appearance`. So the positive is the anchor's key and structure in another appearance; the negative is the
  anchor's key and appearance with the structure of its sibling (near) or of the next sibling pair's first (far).

All metrics go by "greater is more alike": distances count with a minus.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import spearmanr

from benchmarks.similarity.distances import chamfer, earth_movers
from captionless import demo_world
from captionless.clip import demo, openclip
from captionless.demo_world import WorldObject
from captionless.precompute.landmark_texts import from_grammar
from captionless.precompute.pair_similarity import i2i, i2l
from captionless.precompute.pointcloud import cloud
from captionless.precompute.render import Renderer
from captionless.store.views import on_white

METRICS = ("I2I", "(I2L)²", "mean of both", "Chamfer", "EMD")
OBJECTS = 20
"""A category's ranked objects: as many as surely come in siblings, see `world.draw`."""
VIEWS, LANDMARKS = 30, 128
CHAMFER_POINTS, EMD_POINTS = 2048, 256
"""Of a cloud: all, and its farthest point sample of the size that an assignment can afford."""


def rank_correlation(distances: ArrayLike, likeness: ArrayLike) -> float:
    """Spearman's rank correlation of (n,) true distances and (n,) values of likeness.

    1 where the farther are always the less alike, -1 where they are always the more alike.
    """
    return float(spearmanr(distances, -np.asarray(likeness)).statistic)


def triplet_accuracy(positive: NDArray[np.float64], negative: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of (..., n) triplets whose anchor is more like the positive than like the negative; ties count half."""
    return np.asarray(((positive > negative) + 0.5 * (positive == negative)).mean(-1))


@dataclass(frozen=True)
class Cast:
    """Objects of one category.

    items: first the `ranked` ones, then what their triplets need.
    triplets: (n, 4) indices into items: an anchor, which is ranked, its positive, its near and its far negative.
    """

    items: tuple[WorldObject, ...]
    ranked: int
    triplets: NDArray[np.int64]


def cast(category: str, seed: int, count: int) -> Cast:
    """`count` objects, an even number, and triplets of every second of them, one of each pair of siblings."""
    structures = [demo_world.draw(category, i, seed, held_out=True) for i in range(count)]
    items = [demo_world.build(f"{category}-{i}", category, s, seed) for i, s in enumerate(structures)]
    triplets = []
    for i in range(0, count, 2):
        triplets.append((i, len(items), len(items) + 1, len(items) + 2))
        key, near, far = items[i].key, structures[i + 1], structures[(i + 2) % count]
        items.append(demo_world.build(key, category, structures[i], seed, appearance=1))
        items += [demo_world.build(key, category, structure, seed) for structure in (near, far)]
    return Cast(tuple(items), count, np.array(triplets))


def clouds(actors: Cast, seed: int) -> NDArray[np.float16]:
    """(items, CHAMFER_POINTS, 3) in FPS order, each sampled anew: an anchor and its positive are one surface, but
    share no point."""
    named = ((f"{item.category}-{seed}-{number}", item.mesh) for number, item in enumerate(actors.items))
    return np.stack([cloud(mesh, CHAMFER_POINTS, name)[:, :3] for name, mesh in named])


def scores(
    views: NDArray[np.float32],
    landmarks: NDArray[np.float32],
    points: NDArray[np.floating],
    pairs: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Likeness of `pairs` (p, 2) of a category's n objects by each metric, (metrics, p).

    views (n, R, F) and landmarks (L, F): unit rows. points: (n, P, 3) in FPS order.
    """
    by_image, by_text = (sim[tuple(pairs.T)].astype(np.float64) for sim in (i2i(views), i2l(views, landmarks)))
    by_chamfer = [-chamfer(points[i], points[j]) for i, j in pairs]
    by_moving = [-earth_movers(points[i, :EMD_POINTS], points[j, :EMD_POINTS]) for i, j in pairs]
    return np.array([by_image, by_text, (by_image + by_text) / 2, by_chamfer, by_moving])


def answers(category: str, seed: int) -> NDArray[np.float64]:
    """(3, metrics): rank correlation, accuracy on near and on far triplets, of one category and seed."""
    model, renderer = _eye()
    actors = cast(category, seed, OBJECTS)
    views = np.stack([model.images(on_white(renderer.render(item.mesh))) for item in actors.items])
    landmarks = model.texts(from_grammar(category, LANDMARKS).texts)
    every = np.array(list(itertools.combinations(range(actors.ranked), 2)))
    apart = [demo_world.attribute_distance(actors.items[i].attributes, actors.items[j].attributes) for i, j in every]
    compared = [every, *(actors.triplets[:, [0, other]] for other in (1, 2, 3))]
    found = scores(views, landmarks, clouds(actors, seed), np.concatenate(compared))
    ranked, positive, near, far = np.split(found, np.cumsum([len(pairs) for pairs in compared])[:-1], axis=1)
    ranking = np.array([rank_correlation(apart, likeness) for likeness in ranked])
    return np.stack([ranking, triplet_accuracy(positive, near), triplet_accuracy(positive, far)])


@cache
def _eye() -> tuple[openclip.Clip, Renderer]:
    """This process's model and renderer, whose pictures have the model's size."""
    model = openclip.load(demo.NAME, device="cpu")
    return model, Renderer(views=VIEWS, size=model.image_size)
