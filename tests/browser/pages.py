"""Every page that captionless makes, and how: a line here has it opened, measured and read in a browser."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from captionless.eval import measurement, report, results
from captionless.eval.protocol import TestSplit
from tests.browser.chromium import SCREENS, Screen
from tests.eval.evaluated import build
from tests.flow.conftest import Finished, call


def _report(run: Finished, out: Path) -> Path:
    """The report of the tiny run, as the run left it."""
    return run.folder / "out" / "eval" / "report.html"


def _inspect(run: Finished, out: Path) -> Path:
    """A chair's neighbours with pictures, as they are and sharpened."""
    store = str(run.folder / "out" / "similarity" / "i2i")
    done = call("similarity", "inspect", store, "chair-train-0000", "--sharpen", "5", "--out", str(out), cwd=run.folder)
    assert done.returncode == 0, done.stderr
    return out


def _search(run: Finished, out: Path) -> Path:
    """What a gallery of the tiny run has for words, and for one of its own shapes."""
    checkpoint, index = str(run.folder / "out" / "train" / "avg-seed0" / "model.pt"), str(out.with_suffix(".index"))
    dataset = str(run.folder / "out" / "embed")
    built = call("search", "build", "--checkpoint", checkpoint, "--dataset", dataset, "--out", index, cwd=run.folder)
    assert built.returncode == 0, built.stderr
    asked = ("a chair with arms", "key:lamp-test-0000")
    done = call("search", "--checkpoint", checkpoint, "--index", index, "--out", str(out), *asked, cwd=run.folder)
    assert done.returncode == 0, done.stderr
    return out


def _wide(run: Finished, out: Path) -> Path:
    """A report of many classes, long names, three seeds and no pictures: what is too wide shows here."""
    rng = np.random.default_rng(0)
    classes = [f"class number {i} of a taxonomy" for i in range(30)]
    labels = np.arange(60) % 30
    keys = [f"{i:032x}" for i in range(60)]
    texts = rng.normal(size=(30, 16))
    shapes = texts[labels] + rng.normal(size=(60, 16))
    test = TestSplit(keys, classes, labels, shapes[:, None] + rng.normal(size=(60, 4, 16)), texts)
    runs = [
        results.EvaluatedRun(mode, seed, *measurement.evaluate_run(shapes + rng.normal(size=(60, 16)), test))
        for mode in ("uniform", "category", "i2i", "i2l", "avg")
        for seed in range(3)
    ]
    categories = [classes[label] for label in labels]
    shown = report.ReportContext(
        title="captionless: a-run-with-a-name-longer-than-any-phone-is-wide-and-no-blank-to-break-it-at",
        categories=dict(zip(keys, categories, strict=True)),
        histories=[report.History(r.mode, r.seed, range(500), rng.uniform(1, 5, 500), [20.0] * 500) for r in runs],
        queries=report.retrieval_queries(range(8), shapes[:8], shapes, keys, categories),
        neighbours=[report.neighbours_of(keys[0], rng.uniform(size=60), keys, "i2l")],
        examples=[report.Example(keys[0], ["a shape that words describe"], ["another"])],
        embedding_map=report.EmbeddingMap(shapes, keys, categories, range(50)),
    )
    out.write_text(report.render_report(build(test, runs, {"digests": {"train": "f" * 64}}), shown))
    return out


def _look(run: Finished, out: Path) -> Path:
    """A textured box in a file with a long name."""
    name = "a-file-with-a-name-longer-than-any-phone-is-wide-and-no-blank-to-break-it-at"
    folder = Path(__file__).parent.parent / "data" / "field"
    shutil.copy(folder / "reference" / "00_ref_texture.glb", out.with_name(f"{name}.glb"))
    done = call("look", f"{name}.glb", "--out", str(out), cwd=out.parent)
    assert done.returncode == 0, done.stderr
    return out


PAGES: dict[str, Callable[[Finished, Path], Path]] = {
    "report": _report,
    "inspect": _inspect,
    "search": _search,
    "look": _look,
    "wide": _wide,
}

LARGE: dict[str, list[Screen]] = {"wide": [SCREENS["phone-light"], SCREENS["desktop-dark"]]}
"""Pages of so many cells that axe takes long, and the screens that they are opened on; all others are on every one."""
