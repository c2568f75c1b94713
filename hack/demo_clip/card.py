"""Evaluates the demo CLIP model on objects that it has not seen, and writes the figures into its model card.

    python hack/demo_clip/card.py [--furniture MANIFEST] [--write]

It uses objects of the parametric world whose attribute combinations training never shows, and the
test half of a furniture manifest, from fixed cameras, and loads the model with `captionless.clip.openclip`
as users do. Prints Markdown; --write replaces the text between the figure marks of
src/clip/demo/README.md.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from batches import article
from numpy.typing import NDArray

from captionless import demo_world
from captionless.clip import openclip
from captionless.clip.demo import NAME as DEMO
from captionless.mesh import Mesh
from captionless.precompute.meshfile import load_mesh
from captionless.precompute.render import Renderer
from captionless.store.views import on_white

CARD = Path(__file__).parents[2] / "src" / "clip" / "demo" / "README.md"
PROMPT = "a point cloud of {}"
SEED = 90001  # of no object that training draws
_MARKS = ("<!-- figures: hack/demo_clip/card.py -->", "<!-- end of figures -->")


class Camera:
    """Meshes to view embeddings: equally spaced views as `captionless pack` renders them."""

    def __init__(self, model: openclip.Clip, views: int) -> None:
        self._model = model
        self._renderer = Renderer(views=views, size=model.image_size)

    def __call__(self, mesh: Mesh) -> NDArray[np.float32]:
        """(views, F) float32."""
        return self._model.images(on_white(self._renderer.render(mesh)))


def pooled(views: NDArray[np.float32]) -> NDArray[np.float32]:
    """An object's embedding: the normalised mean of its views', (F,)."""
    mean = views.mean(0)
    return np.asarray(mean / np.linalg.norm(mean), np.float32)


class Zeroshot:
    """Counts how often views and objects are nearest to their class's prompt."""

    def __init__(self, model: openclip.Clip, classes: Iterable[str]) -> None:
        self.classes = list(classes)
        self._texts = model.texts([PROMPT.format(article(c)) for c in self.classes])
        self.hits: dict[str, list[tuple[float, bool]]] = defaultdict(list)

    def add(self, category: str, views: NDArray[np.float32]) -> None:
        label = self.classes.index(category)
        by_view = float(np.mean((views @ self._texts.T).argmax(1) == label))
        self.hits[category].append((by_view, bool((self._texts @ pooled(views)).argmax() == label)))

    def accuracy(self, category: str | None = None) -> tuple[float, float]:
        """Of single views and of objects, for one class or all objects."""
        rows = self.hits[category] if category else [row for rows in self.hits.values() for row in rows]
        return float(np.mean([v for v, _ in rows])), float(np.mean([o for _, o in rows]))


def attribute_questions(category: str, attributes: dict[str, str]) -> Iterable[tuple[str, list[str], int]]:
    """For each attribute that could be otherwise: its name, the texts of the choices, and which is right.

    The choices are the object's full description with that attribute's values in turn, so
    that they differ in one attribute (and, by the grammar's varied wording, in some words).
    """
    valid = demo_world.combinations(category)
    for name, values in demo_world.attributes(category).items():
        choices = [v for v in values if {**attributes, name: v} in valid]
        if len(choices) > 1:
            texts = [demo_world.describe(category, {**attributes, name: v}, 2) for v in choices]
            yield name, texts, choices.index(attributes[name])


def of_world(model: openclip.Clip, camera: Camera, per_class: int) -> list[str]:
    """Held-out combinations: zero-shot, attributes in words, and what appearance does."""
    zeroshot = Zeroshot(model, demo_world.CLASSES)
    lines = ["| class | views | objects | attributes | chance |", "|---|---|---|---|---|"]
    all_right: list[float] = []
    all_chance: list[float] = []
    repainted, sibling = [], []
    for category in demo_world.CLASSES:
        right: list[float] = []
        chance: list[float] = []
        previous: NDArray[np.float32] | None = None
        for n in range(per_class):
            attributes = demo_world.draw(category, n, SEED, held_out=True)
            key = f"{category}-card-{n}"
            views = camera(demo_world.build(key, category, attributes, SEED).mesh)
            zeroshot.add(category, views)
            for _, texts, answer in attribute_questions(category, attributes):
                right.append(float((model.texts(texts) @ pooled(views)).argmax() == answer))
                chance.append(1 / len(texts))
            if n % 2 and previous is not None:
                other = camera(demo_world.build(key, category, attributes, SEED, appearance=1).mesh)
                repainted.append(float((views * other).sum(1).mean()))
                sibling.append(float((views * previous).sum(1).mean()))
            previous = views
        by_view, by_object = zeroshot.accuracy(category)
        lines.append(f"| {category} | {by_view:.3f} | {by_object:.3f} | {np.mean(right):.3f} | {np.mean(chance):.3f} |")
        all_right += right
        all_chance += chance
    by_view, by_object = zeroshot.accuracy()
    right, chance = all_right, all_chance
    lines.append(f"| **all** | {by_view:.3f} | {by_object:.3f} | {np.mean(right):.3f} | {np.mean(chance):.3f} |")
    return [
        f"Parametric objects, {per_class} of each class, attribute combinations that training never shows. "
        f'Views and objects: zero-shot top-1 among {len(demo_world.CLASSES)} classes by "{PROMPT.format("a ...")}", of '
        "single views and of the mean over an object's views. Attributes: how often, among the full descriptions that "
        "differ in one attribute, the right one is nearest to the object.",
        "",
        *lines,
        "",
        "Mean cosine between corresponding views of an object and of the same geometry in other colours and textures: "
        f"{np.mean(repainted):.3f}; of an object and its sibling, which differs in one attribute, in proportions and "
        f"in appearance: {np.mean(sibling):.3f}.",
    ]


def of_furniture(model: openclip.Clip, camera: Camera, manifest: Path) -> list[str]:
    """Zero-shot classification of the furniture, by the half it belongs to."""
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    classes = sorted({row["category"] for row in rows})
    results = {split: Zeroshot(model, classes) for split in ("test", "train")}
    for row in rows:
        results[row["split"]].add(row["category"], camera(load_mesh(str(manifest.parent / row["mesh"]))))
    lines = ["| class | unseen: number | views | objects | seen: objects |", "|---|---|---|---|---|"]
    for category in [*classes, None]:
        test, train = (results[s].accuracy(category) for s in ("test", "train"))
        number = len(results["test"].hits[category]) if category else sum(map(len, results["test"].hits.values()))
        name = category or "**all**"
        lines.append(f"| {name} | {number} | {test[0]:.3f} | {test[1]:.3f} | {train[1]:.3f} |")
    return [
        f"Sweet Home 3D's furniture, zero-shot top-1 among its {len(classes)} classes (chance {1 / len(classes):.3f}), "
        "for the half that training never saw and, for comparison, the half that it saw.",
        "",
        *lines,
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the demo CLIP model.")
    parser.add_argument("--model", default=DEMO)
    parser.add_argument("--per-class", type=int, default=24)
    parser.add_argument("--views", type=int, default=10)
    parser.add_argument("--furniture", type=Path, help="manifest written by examples/furniture/make_manifest.py")
    parser.add_argument("--write", action="store_true", help="write the figures into the model card")
    arguments = parser.parse_args()
    model = openclip.load(arguments.model)
    camera = Camera(model, arguments.views)
    report = of_world(model, camera, arguments.per_class)
    if arguments.furniture:
        report += ["", *of_furniture(model, camera, arguments.furniture)]
    print("\n".join(report))
    if arguments.write:
        head, _, rest = CARD.read_text().partition(_MARKS[0])
        tail = rest.partition(_MARKS[1])[2]
        CARD.write_text("\n".join([head + _MARKS[0], *report, _MARKS[1] + tail]))


if __name__ == "__main__":
    main()
