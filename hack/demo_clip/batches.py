"""Batches for training the demo CLIP model: pictures, captions, and which captions are true of which pictures.

A caption names a category and states none, some or all of its attributes. It is true of
every object that has these, not only of the one it was made for. Of a piece of furniture
only the category is known, since its attributes are not recorded. So a batch contains a
truth table (caption, picture) of true, false and unknown.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from captionless import demo_world
from captionless.demo_world.airplane import AIRPLANE
from captionless.demo_world.door import DOOR
from captionless.demo_world.furniture import FURNITURE
from captionless.demo_world.grammar import Category
from captionless.demo_world.lamp import LAMP
from captionless.demo_world.seating import SEATING
from captionless.demo_world.vessels import VESSELS

PROMPTS = (
    "a point cloud of {}",
    "a point cloud model of {}",
    "a photo of {}",
    "a rendering of {}",
    "a 3d model of {}",
)
CATEGORIES: dict[str, Category] = {c.name: c for c in (*SEATING, *FURNITURE, LAMP, DOOR, *VESSELS, AIRPLANE)}
MAX_ATTRIBUTES = max(len(c.attributes) for c in CATEGORIES.values())
_UNKNOWN = -1
# Odds of telling no, some or all attributes.
_LEVELS_MIXED = (0.35, 0.30, 0.35)
_LEVELS_ONE_CLASS = (0.05, 0.40, 0.55)
_VARIANTS = 4
_FURNITURE_SHARE = 0.2


def article(noun: str) -> str:
    """The noun with "a" or "an" before it."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


@lru_cache(maxsize=1 << 20)
def _caption(
    category: str, attributes: tuple[tuple[str, str], ...], level: int, variant: int
) -> tuple[str, tuple[int, ...]]:
    """A text and what it tells: the index of each attribute's value, or -1 for one it leaves unsaid."""
    if level == 0:
        return article(category), (_UNKNOWN,) * MAX_ATTRIBUTES
    kind, values = CATEGORIES[category], dict(attributes)
    text = kind.describe(values, level, variant)
    told = [_UNKNOWN] * MAX_ATTRIBUTES
    rest = text
    # Longest phrases first: "square arms" must not be found as "arms".
    for n, a in sorted(enumerate(kind.attributes), key=lambda item: -len(item[1].phrases[values[item[1].name]])):
        phrase = a.phrases[values[a.name]]
        if phrase and phrase in rest:
            told[n] = a.values.index(values[a.name])
            rest = rest.replace(phrase, "\n", 1)
    return text, tuple(told)


@dataclass(frozen=True)
class Batch:
    """views: (B, 4, S, S) uint8 RGBA. texts: B captions. true, false: (B captions, B pictures) bool."""

    views: Tensor
    texts: list[str]
    true: Tensor
    false: Tensor


class Pictures:
    """The rendered chunks of a folder, in memory, with a label for each picture."""

    def __init__(self, folder: Path) -> None:
        self._chunks: list[NDArray[np.uint8]] = []
        where: list[tuple[int, int]] = []
        self._category: list[str] = []
        self._attributes: list[tuple[tuple[str, str], ...] | None] = []
        for path in sorted(folder.glob("*.npy")):
            rows = [json.loads(line) for line in path.with_suffix(".jsonl").read_text().splitlines()]
            position = 0
            for row in rows:
                attributes = tuple(row["attributes"].items()) if row["attributes"] else None
                for _ in range(row["views"]):
                    where.append((len(self._chunks), position))
                    self._category.append(row["category"])
                    self._attributes.append(attributes)
                    position += 1
            self._chunks.append(np.load(path))
        if not where:
            raise SystemExit(f"{folder} contains no pictures; run hack/demo_clip/dataset.py {folder} first")
        self._where = np.array(where)
        self.classes = sorted(set(self._category))
        labels = np.array([self.classes.index(c) for c in self._category])
        known = np.array([a is not None for a in self._attributes])
        self._labels = torch.from_numpy(labels)
        self._values = torch.full((len(labels), MAX_ATTRIBUTES), _UNKNOWN)
        for n, (category, attributes) in enumerate(zip(self._category, self._attributes, strict=True)):
            if attributes is not None:
                kind, values = CATEGORIES[category], dict(attributes)
                for k, a in enumerate(kind.attributes):
                    self._values[n, k] = a.values.index(values[a.name])
        self._world = np.flatnonzero(known)
        self._furniture = [np.flatnonzero(~known & (labels == k)) for k in range(len(self.classes))]
        self._furniture = [f for f in self._furniture if len(f)]
        self._by_class = [np.flatnonzero(labels == self.classes.index(c)) for c in demo_world.CLASSES]

    def __len__(self) -> int:
        return len(self._where)

    def texts(self) -> list[str]:
        """Every caption without a prompt that training may show, for collecting the vocabulary."""
        every = {article(c) for c in self.classes}
        for category, attributes in set(zip(self._category, self._attributes, strict=True)):
            if attributes is not None:
                every |= {_caption(category, attributes, level, v)[0] for level in (1, 2) for v in range(_VARIANTS)}
        return sorted(every)

    def batch(self, size: int, random: np.random.Generator, one_class: bool) -> Batch:
        """Pictures of one category of the world, or of all categories and the furniture, with a caption each."""
        if one_class:
            chosen = random.choice(self._by_class[random.integers(len(self._by_class))], size, replace=False)
        else:
            # Furniture is drawn by class, roots of their sizes as odds: otherwise three classes would fill its share.
            share = int(size * _FURNITURE_SHARE) if self._furniture else 0
            odds = np.sqrt([len(f) for f in self._furniture])
            kinds = random.choice(len(odds), share, p=odds / odds.sum()).tolist() if share else []
            pieces = [random.choice(self._furniture[k]) for k in kinds]
            chosen = np.concatenate([random.choice(self._world, size - share, replace=False), np.array(pieces, int)])
        levels = random.choice(3, size, p=_LEVELS_ONE_CLASS if one_class else _LEVELS_MIXED)
        texts, told = [], []
        for n, level in zip(chosen, levels, strict=True):
            attributes = self._attributes[n]
            text, values = _caption(
                self._category[n], attributes or (), int(level) if attributes else 0, int(random.integers(_VARIANTS))
            )
            prompt = PROMPTS[random.integers(len(PROMPTS))] if random.random() < 0.5 else "{}"
            texts.append(prompt.format(text))
            told.append(values)
        views = np.stack([self._chunks[c][p] for c, p in self._where[chosen]])
        index = torch.from_numpy(chosen)
        true, false = truth(torch.tensor(told), self._labels[index], self._values[index])
        return Batch(torch.from_numpy(views).permute(0, 3, 1, 2), texts, true, false)


def truth(told: Tensor, labels: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Which captions are true and which false of which pictures: two (B, B) bool tables, [caption, picture].

    told: (B, A) the value that a caption tells of each attribute, or -1; labels: (B,) the
    category of caption and picture; values: (B, A) the pictures' attributes, -1 where not
    known. What is in neither table cannot be known.
    """
    said = told[:, None, :] != _UNKNOWN
    known = values[None, :, :] != _UNKNOWN
    same_class = labels[:, None] == labels[None, :]
    contradicted = (said & known & (told[:, None, :] != values[None, :, :])).any(-1)
    undecided = (said & ~known).any(-1)
    false = ~same_class | contradicted
    return ~false & ~undecided, false


def augmented(views: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """(B, 4, S, S) uint8 RGBA -> (B, 3, size, size) float in 0..1 that differ in all but the shape.

    Mirrored, shifted, scaled and turned a little; colours mixed, greyed or inverted; put on
    white (half of them, as views are embedded later) or another background. All changes of
    colour are affine, so that each picture needs one 3 x 4 matrix and one pass.
    """
    count = len(views)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.empty(count, *shape).uniform_(low, high, generator=generator)

    def sometimes(odds: float, *shape: int) -> Tensor:
        return uniform(0, 1, *shape) < odds

    layers = views.float().div_(255)
    layers[:, :3] *= layers[:, 3:]
    angle, scale = uniform(-0.09, 0.09), 1 / uniform(0.82, 1.1)
    mirror = torch.where(sometimes(0.5), -1.0, 1.0)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    turn = torch.stack([torch.stack([cos * mirror, -sin], 1), torch.stack([sin * mirror, cos], 1)], 1)
    theta = torch.cat([turn, uniform(-0.12, 0.12, 2, 1)], 2)
    grid = functional.affine_grid(theta, [count, 4, size, size], align_corners=False)
    layers = functional.grid_sample(layers, grid, padding_mode="zeros", align_corners=False).flatten(2)

    identity, grey = torch.eye(3), torch.full((3, 3), 1 / 3)
    mix = identity + uniform(-0.4, 0.4, 3, 3)
    mix = torch.where(sometimes(0.7, 1, 1), mix / mix.sum(-1, keepdim=True).clamp_min(0.2), identity)
    mix = torch.where(sometimes(0.25, 1, 1), grey, mix)
    contrast = uniform(0.6, 1.3, 1, 1) * torch.where(sometimes(0.1, 1, 1), -1.0, 1.0)
    shift = 0.5 + uniform(-0.15, 0.15, 1, 1) - 0.5 * contrast
    plain = torch.where(sometimes(0.5, 1, 1), 1.0, uniform(0, 1, 3, 1))
    # On premultiplied colour p with coverage a, over ground g: M p + s a + g (1 - a).
    picture = torch.baddbmm(plain, torch.cat([mix * contrast, shift - plain], 2), layers)
    picture = picture.view(count, 3, size, size)
    rough = sometimes(0.2).nonzero().flatten()
    ground = functional.interpolate(uniform(-0.5, 0.5, 3, 5, 5)[rough], size=(size, size), mode="bilinear")
    picture[rough] += ground * (1 - layers[rough, 3:].view(-1, 1, size, size))
    return picture.clamp_(0, 1)
