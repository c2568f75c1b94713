"""Does similarity rank structural likeness? Measured in the demo world, where structure is known.

    python -m benchmarks.similarity.structure [--workers 2]

Prints its tables and writes them to `structure.md` next to this file. `likeness` describes the measurements.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import textwrap
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.similarity.likeness import CHAMFER_POINTS, EMD_POINTS, LANDMARKS, METRICS, OBJECTS, VIEWS, answers
from captionless import demo_world
from captionless.clip import demo
from captionless.errors import CaptionlessError
from captionless.store import objects
from captionless.telemetry.progress import Progress

SEEDS = (0, 1, 2)
_TRIPLETS = OBJECTS // 2
_EACH = OBJECTS + 3 * _TRIPLETS
"""Objects of a category and seed."""
_TARGET = Path(__file__).with_suffix(".md")
_SETTING = (
    f"""Objects: the demo world (version {demo_world.VERSION}), its {len(demo_world.CLASSES)} categories,
    attribute combinations that are held out of training. Object seeds {", ".join(map(str, SEEDS))};
    {OBJECTS} objects per category and seed, in pairs of siblings, which differ in one attribute. All figures are mean ±
    standard deviation over the seeds.""",
    f"""CLIP: the embedded demo model, `{demo.NAME}`. Its figures cannot be compared with published ones.""",
    f"""I2I and (I2L)²: computed by the functions of the similarity stage from {VIEWS} views, rendered at the model's
    size, and {LANDMARKS} landmarks of the world's grammar. "Mean of both" averages the two similarities, whereas the
    loss's AVG averages weights.""",
    f"""Chamfer: mean squared distance to the nearest point, summed over both directions, with {CHAMFER_POINTS} points.
    EMD: mean distance under the best one-to-one assignment, exact, with the first {EMD_POINTS} points in farthest-point
    order. Clouds are xyz in the unit sphere, as the project samples them.""",
)
_QUESTIONS = (
    (
        "Ranking",
        f"""Spearman's rank correlation with the number of attributes in which two objects differ, over all
        {OBJECTS * (OBJECTS - 1) // 2} pairs of a category and seed. 1: the more attributes differ, the less similar; 0:
        chance.""",
    ),
    (
        "Triplets, near",
        f"""The share of triplets whose anchor is more similar to the positive than to the negative; ties count half;
        0.5: chance. Positive: the anchor's structure and proportions, other colours and textures. Negative: another
        structure with the anchor's colours, textures and random proportions; here it differs in one attribute.
        (Parts that exist only in the negative have their own colours.) For Chamfer and EMD only geometry matters: to
        them the positive is a new sample of the anchor's surface. {_TRIPLETS} triplets per category and seed,
        {_TRIPLETS * len(SEEDS)} per category, {_TRIPLETS * len(SEEDS) * len(demo_world.CLASSES)} in all.""",
    ),
    (
        "Triplets, far",
        "The same anchors and positives; the negative has the structure of an object from another pair of siblings.",
    ),
)
_LIMITS = """What these figures do not show. The number of differing attributes counts a seat as much as a knob and
ignores proportions, which differ from object to object and affect all metrics: no metric can be expected to reach 1,
and equal correlations do not mean that two metrics agree. Where pictures get a triplet wrong, colours and textures
changed the embedding more than structure did. Clouds have no colours, and these are complete, upright, equally oriented
and free of noise: ideal conditions for Chamfer and EMD, which scans do not offer. The CLIP model is small, but it was
trained on this same world, with other combinations and with captions that name its attributes. So these figures say
nothing about a large CLIP model on real objects, nor about training: the effect of the weights there is measured in
[results.md](../../docs/results.md)."""


def table(figures: NDArray[np.float64], categories: Sequence[str]) -> str:
    """(seeds, categories, metrics) figures in Markdown: a row a category, last the mean over categories."""

    def row(name: str, values: NDArray[np.float64]) -> str:
        cells = (f"{v.mean():.2f} ± {v.std(ddof=1):.2f}" for v in values.T)
        return f"| {name} | {' | '.join(cells)} |"

    return "\n".join(
        [
            f"| category | {' | '.join(METRICS)} |",
            f"| --- |{' ---: |' * len(METRICS)}",
            *(row(name, figures[:, n]) for n, name in enumerate(categories)),
            row("**mean**", figures.mean(axis=1)),
        ]
    )


def findings(figures: NDArray[np.float64]) -> str:
    """What (seeds, categories, 3, metrics) figures show, in words that are valid for any values."""
    by_category = figures.mean(axis=0)
    ranking, near, far = (
        ", ".join(f"{metric} {value:.2f}" for metric, value in zip(METRICS, values, strict=True))
        for values in by_category.mean(axis=0)
    )
    of_clip, of_clouds = np.split(by_category[:, 0], [METRICS.index("Chamfer")], axis=1)
    ahead = (of_clip > of_clouds.max(axis=1, keepdims=True)).sum(axis=0)
    ahead_of_both = ", ".join(f"{metric} in {count}" for metric, count in zip(METRICS, ahead, strict=False))
    return (
        f"What these figures show, as means over categories. Ranking: {ranking}. Better than both distances between "
        f"clouds, of {len(by_category)} categories: {ahead_of_both}. Near triplets: {near}. Far triplets: {far}."
    )


def report(figures: NDArray[np.float64]) -> str:
    """The Markdown of (seeds, categories, 3, metrics) figures."""
    blocks = ["# Does similarity rank structural likeness?", "    python -m benchmarks.similarity.structure"]
    blocks.append("\n".join(_wrapped(f"- {item}", "  ") for item in _SETTING))
    for question, (title, caption) in enumerate(_QUESTIONS):
        blocks += [f"## {title}", _wrapped(caption), table(figures[:, :, question], demo_world.CLASSES)]
    blocks += ["## Reading", _wrapped(findings(figures)), _wrapped(_LIMITS)]
    return "\n\n".join(blocks) + "\n"


def _wrapped(text: str, indent: str = "") -> str:
    words = " ".join(text.split())
    return textwrap.fill(words, 120, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def measure(workers: int) -> NDArray[np.float64]:
    """(seeds, categories, 3, metrics): `answers` of every seed and category, by as many processes."""
    seeds, categories = zip(*itertools.product(SEEDS, demo_world.CLASSES), strict=True)
    found = []
    with (
        # spawned, since torch survives no fork; one thread each
        ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), torch.set_num_threads, (1,)) as pool,
        Progress("structure", len(seeds) * _EACH) as progress,
    ):
        for figures in pool.map(answers, categories, seeds):
            found.append(figures)
            progress.advance(_EACH)
    return np.stack(found).reshape(len(SEEDS), len(demo_world.CLASSES), *found[0].shape)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how well similarity ranks structural likeness.")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    workers = parser.parse_args().workers
    if workers < 1:
        parser.error(f"argument --workers: expected at least 1, not {workers}")
    try:
        text = report(measure(workers))
        objects.write_bytes(str(_TARGET), text.encode())
    except CaptionlessError as error:
        parser.exit(error.exit_code, f"{error}\n")
    print(text, end="")


if __name__ == "__main__":
    main()
