"""A tiny source of meshes and the spec of its run, both of which change.

The source is a folder of OBJ files of a few kinds, which share a material library. An object's shape and colour follow
from its key and its variant, so that a change of the variant is another mesh under the same name.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

CATEGORIES = ("box", "cone", "ring")
NUMBERS = 8
"""Objects that a category may have; number 3 and 5 of most are of the test split (`data.split: hash`)."""

SPEC: dict[str, Any] = {
    "name": "chaos",
    "output": "out",
    "data": {
        "source": {"kind": "folder", "url": "source"},
        "testFraction": 0.3,
        "views": 3,
        "imageSize": 32,
        "elevation": 20,
        "points": 64,
        "shardObjects": 3,
        "maxSkipped": 1,
    },
    "clip": {"model": "captionless-demo", "batchSize": 32},
    "landmarks": {"origin": "file", "file": "landmarks.jsonl", "count": 4},
    "similarity": {"crossCategorySim": 0.25},
    "train": {
        "weights": ["avg"],
        "seeds": [0],
        "steps": 2,
        "batchSize": 4,
        "points": 32,
        "encoder": {"width": 4, "nsample": 4},
        "checkpointEvery": 1,
    },
    "eval": {"prompt": "paper", "views": "one", "seed": 0},
    "resources": {"workers": 2},
}

FIELDS: Mapping[str, tuple[Any, ...]] = {
    "data.elevation": (20, 40),
    "data.views": (3, 4),
    "data.imageSize": (32, 48),
    "data.points": (64, 96),
    "data.testFraction": (0.3, 0.5),
    "data.shardObjects": (3, 5),
    "clip.precision": ("fp32", "bf16"),
    "landmarks.count": (4, 6),
    "similarity.crossCategorySim": (0.25, 0.5),
    "train.weights": (["avg"], ["uniform", "i2i"], ["category"]),
    "train.seeds": ([0], [0, 1]),
    "train.steps": (2, 3),
    "train.points": (32, 48),
    "train.augment.dropout": (0.875, 0.5),
    "train.optim.lr": (1e-3, 1e-2),
    "eval.prompt": ("paper", "ensemble"),
    "eval.views": ("one", "all"),
    "eval.seed": (0, 1),
    "resources.workers": (2, 1),
}
"""What a sequence changes, and to what; few values of each, so that sequences come back to a value they left."""


@dataclass
class World:
    """A folder with `source/`, `landmarks.jsonl`, `spec.yaml` and the run's `out/`."""

    folder: Path
    variants: dict[str, int | None] = field(default_factory=dict)
    """Of every object that exists, by key; None: its file is broken."""
    paint: int = 0
    """The variant of the material library that all meshes name."""
    spec: dict[str, Any] = field(default_factory=lambda: copy.deepcopy(SPEC))

    @classmethod
    def begin(cls, folder: Path) -> World:
        """Two categories of four objects each, one of them a test object."""
        world = cls(folder)
        texts = [{"category": c, "text": f"a {how} {c}"} for c in CATEGORIES for how in _HOW]
        (folder / "source").mkdir(parents=True)
        (folder / "landmarks.jsonl").write_text("".join(json.dumps(t) + "\n" for t in texts))
        world.repaint(0)
        for category in CATEGORIES[:2]:
            for number in range(4):
                world.put(f"{category}/{number:02d}", 0)
        world.save()
        return world

    def copy(self, folder: Path) -> World:
        """The same source and spec in another folder, without outputs and histories."""
        shutil.copytree(
            self.folder, folder, ignore=shutil.ignore_patterns("out", "logs", "late-*", "listed-*", "again-*")
        )
        other = World(folder, dict(self.variants), self.paint, copy.deepcopy(self.spec))
        other.save()
        return other

    def put(self, key: str, variant: int | None) -> None:
        """Writes an object's mesh: a new one, another one, or a broken one."""
        path = self.folder / "source" / f"{key}.obj"
        path.parent.mkdir(exist_ok=True)
        path.write_text("v 0 0 0\n" if variant is None else mesh(key, variant))
        self.variants[key] = variant

    def touch(self, key: str) -> None:
        """Another time of the same bytes."""
        (self.folder / "source" / f"{key}.obj").touch()

    def remove(self, key: str) -> None:
        """Deletes an object's mesh."""
        (self.folder / "source" / f"{key}.obj").unlink()
        del self.variants[key]

    def repaint(self, variant: int) -> None:
        """Writes the material library, to which every mesh refers."""
        red = 0.2 + 0.3 * variant
        (self.folder / "source" / "paint.mtl").write_text(f"newmtl paint\nKd {red:.1f} 0.6 0.4\n")
        self.paint = variant

    def set(self, name: str, value: Any) -> None:
        """Changes a field of the spec."""
        *sections, last = name.split(".")
        node = self.spec
        for section in sections:
            node = node.setdefault(section, {})
        node[last] = value
        self.save()

    def get(self, name: str) -> Any:
        """A field of the spec; None where it is not set."""
        node: Any = self.spec
        for part in name.split("."):
            node = node.get(part) if isinstance(node, dict) else None
        return node

    def save(self) -> None:
        (self.folder / "spec.yaml").write_text(yaml.safe_dump(self.spec, sort_keys=True))

    @property
    def digest(self) -> str:
        """Of what the figures are made from: the spec and the source."""
        text = json.dumps([self.spec, self.paint, self.variants], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:20]


_HOW = ("flat", "tall", "thin", "wide", "small", "large")


def mesh(key: str, variant: int) -> str:
    """The OBJ text of an object: a prism, a cone or a funnel of its own size."""
    draw = hashlib.sha256(f"{key} {variant}".encode()).digest()
    width, height = 0.5 + draw[0] / 256, 0.5 + draw[1] / 256
    category = key.partition("/")[0]
    sides = 4 if category == "box" else 6
    lower = [(width * math.cos(a), 0.0, width * math.sin(a)) for a in (2 * math.pi * i / sides for i in range(sides))]
    scale = {"box": 1.0, "cone": 0.1, "ring": 1.5}[category]
    points = [*lower, *((x * scale, height, z * scale) for x, _, z in lower)]
    faces = [(i, (i + 1) % sides, sides + (i + 1) % sides, sides + i) for i in range(sides)]
    text = ["mtllib ../paint.mtl", "usemtl paint"]
    text += ["v {:.4f} {:.4f} {:.4f}".format(*p) for p in points]
    text += ["f " + " ".join(str(i + 1) for i in face) for face in faces]
    return "\n".join(text) + "\n"
