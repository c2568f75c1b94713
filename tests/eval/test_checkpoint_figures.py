"""Figures of one checkpoint against plain loops, what is reachable in a batch, and the table of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from captionless.eval import checkpoint_figures
from captionless.eval.outcomes import answers

from . import reference


def pairs(shapes: int, images: int, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images (m, D), shapes (n, D), and whose image each is; the last shape has none."""
    rng = np.random.default_rng(seed)
    shape_rows = rng.standard_normal((shapes, 16)).astype(np.float32)
    shown = np.arange(images) % (shapes - 1)
    return (shape_rows[shown] + noise * rng.standard_normal((images, 16))).astype(np.float32), shape_rows, shown


def test_gallery_ranks_unique_shapes_and_all_pictures() -> None:
    images, shapes, shown = pairs(shapes=9, images=40, noise=1.2)
    found = checkpoint_figures.gallery_figures(images, shapes, shown)
    of_shape = [set(np.flatnonzero(shown == shape).tolist()) for shape in range(len(shapes))]
    for direction, queries, items, relevant in (
        ("image_to_shape", images, shapes, [{int(row)} for row in shown]),
        ("shape_to_image", shapes, images, of_shape),
    ):
        wanted = reference.gallery(queries, items, relevant, (1, 5, 10))
        for name, value in wanted.items():
            assert found["gallery"][direction][name] == pytest.approx(value, abs=1e-12), (direction, name)
        guess = found["chance"]["gallery"][direction]["recall@5"]
        asked = [wanted for wanted in relevant if wanted]
        plain = np.mean([reference.random_recall(len(items), len(wanted), 5) for wanted in asked])
        assert guess == pytest.approx(plain, abs=1e-12)
    assert found["gallery"]["shape_to_image"]["queries"] == 8  # the ninth has no picture
    assert (found["gallery"]["image_to_shape"]["gallery"], found["gallery"]["shape_to_image"]["gallery"]) == (9, 40)


def plain_in_batch(asked: np.ndarray, given: np.ndarray, seed: int, batch: int = 128) -> dict[str, float]:
    order = np.random.default_rng(seed).permutation(len(asked))
    ranks = []
    for start in range(0, len(order), batch):
        chosen = order[start : start + batch]
        for place, query in enumerate(chosen):
            scores = [float(reference.unit(asked[query]) @ reference.unit(given[other])) for other in chosen]
            ranks.append(sum(score >= scores[place] - 1e-9 for score in scores))
    return {f"top{k}": float(np.mean([rank <= k for rank in ranks])) for k in (1, 5)}


def test_in_batch_counts_the_pair_alone_and_says_what_is_reachable() -> None:
    images, shapes, shown = pairs(shapes=70, images=150, noise=0.7)
    found = checkpoint_figures.in_batch_figures(images, shapes, shown, seed=3)
    for direction, asked, given in (
        ("image_to_shape", images, shapes[shown]),
        ("shape_to_image", shapes[shown], images),
    ):
        wanted = plain_in_batch(asked, given, seed=3)
        for name, value in wanted.items():
            assert found["in_batch"][direction][name] == pytest.approx(value, abs=1e-12), (direction, name)
    # The best encoder's embeddings: shapes are axes, and its pictures lie by each, all at different angles.
    axes = np.eye(70)
    angles = np.linspace(0.2, 0.6, 150)[:, None]
    best = np.concatenate([axes[shown] * np.cos(angles), np.sin(angles)], axis=1)
    ideal = checkpoint_figures.in_batch_figures(best, np.concatenate([axes, np.zeros((70, 1))], axis=1), shown, seed=3)
    for direction in ("image_to_shape", "shape_to_image"):
        reachable = found["reachable"]["in_batch"][direction]
        for name in ("top1", "top5"):
            assert ideal["in_batch"][direction][name] == pytest.approx(reachable[name], abs=1e-12), (direction, name)
            assert found["in_batch"][direction][name] <= reachable[name]
        assert reachable["top1"] < reachable["top5"]
    assert found["chance"]["in_batch"]["image_to_shape"]["top1"] == pytest.approx(2 / 150)


def test_ranks_are_kept_shape_by_shape_and_make_the_figures() -> None:
    images, shapes, shown = pairs(shapes=9, images=43, noise=1.2)  # five or six pictures each; the ninth has none
    trees = [
        checkpoint_figures.gallery_figures(images, shapes, shown),
        checkpoint_figures.in_batch_figures(images, shapes, shown, 3),
    ]
    tree = checkpoint_figures.merged(trees)
    labels = np.arange(9) % 2
    kept = checkpoint_figures.outcomes(tree.pop("ranks"), labels, "digest")
    assert (kept.test, kept.lists) == ("digest", {"gallery/shape_to_image"})
    assert [len(set(row[row > 0])) > 0 for row in kept.ranks["gallery/image_to_shape"]] == [True] * 8 + [False]
    compared = 0
    for column in checkpoint_figures.COLUMNS:
        own, figure = answers(kept, column.path), column.value(tree)
        if own is not None:
            assert own.figure == pytest.approx(figure, abs=1e-6), column
            compared += 1
    assert compared == 10
    bounds = checkpoint_figures.intervals(kept)
    for direction in ("image_to_shape", "shape_to_image"):
        share, interval = tree["gallery"][direction]["map"], bounds["gallery"][direction]["map"]
        assert interval["low"] < share < interval["high"]
    found = document({**tree, "intervals": bounds})
    top1 = bounds["in_batch"]["image_to_shape"]["top1"]
    assert f" [{100 * top1['low']:.1f}, {100 * top1['high']:.1f}] |" in checkpoint_figures.markdown(found)


def document(figures: dict[str, Any]) -> dict[str, Any]:
    """Results with these figures."""
    return {
        "figures": {"objects": 9, "images": 40, "classes": ["a", "b"], **figures},
        "provenance": {
            "dataset": {
                "name": "pix3d", "official": 10069, "unit": "picture",
                "pictures": {"background": "kept", "crop": "none"},
            },
            "protocol": checkpoint_figures.described(("gallery", "in-batch"), 3),
            "prompt": {"name": "paper", "templates": ["a point cloud of a {}"]},
            "clip": {"model": "captionless-demo", "pretrained": "", "digest": "d"},
            "checkpoint": {"url": "model.pt", "sha256": "0123456789abcdef0"},
            "points": {"used": 64, "trained": 128},
            "seed": 7,
            "skipped": [{"key": "img/a.png", "reason": "no such file"}],
        },
    }  # fmt: skip


def test_the_table_has_every_figure_once_and_says_what_it_is_of() -> None:
    images, shapes, shown = pairs(shapes=9, images=40, noise=1.2)
    trees = [
        checkpoint_figures.gallery_figures(images, shapes, shown),
        checkpoint_figures.in_batch_figures(images, shapes, shown, 3),
    ]
    found = document(checkpoint_figures.merged(trees))
    text = checkpoint_figures.markdown(found)
    head, _, chance, own, best, _, *about = text.splitlines()
    assert head.count("|") == 1 + 1 + 6 + 4
    assert "zero-shot" not in head
    cells = [cell.strip() for cell in own.split("|")[2:-1]]
    figures = found["figures"]
    both = ("image_to_shape", "shape_to_image")
    shares = [figures["gallery"][d][k] for d in both for k in ("recall@1", "recall@5", "map")]
    shares += [figures["in_batch"][d][k] for d in both for k in ("top1", "top5")]
    assert cells == [f"{100 * share:.1f}" for share in shares]
    assert list(checkpoint_figures.percentages(found).values()) == [round(100 * share, 1) for share in shares]
    assert chance.startswith("| chance | ")
    assert best.startswith("| reachable | – ")
    caption = "\n".join(about)
    for fact in (
        "pix3d: 9 shapes of 2 classes, 40 pictures (10,069 pictures in the official set)", "all 9 unique shapes",
        "128 shuffled pairs, seed 3", "background kept, crop: none", "captionless-demo (the small embedded model",
        "sha256 0123456789abcdef, training seed 7, 64 points (trained with 128)", "1 skipped: img/a.png", "ties",
    ):  # fmt: skip
        assert fact in caption, fact
