"""`captionless look SPEC --augmented N` on a finished run: the training's own samples, or one line."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from captionless.errors import DataError, SpecError
from captionless.spec.alignment import AlignmentSpec
from captionless.spec.load import load_spec
from captionless.spec.plan import EMBED
from captionless.stages.look import picture, samples
from captionless.store import objects
from captionless.trainer.data.training_data import TrainingData
from tests.flow.conftest import Finished, call
from tests.pages import assert_readable, assert_self_contained

pytestmark = pytest.mark.flow


def test_clouds_of_a_step_are_those_that_the_training_gets(finished: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = load_spec(str(finished.spec))
    assert isinstance(spec, AlignmentSpec)
    drawn = []
    monkeypatch.setattr(samples, "cloud_tile", lambda cloud, reach: drawn.append(cloud) or Image.new("RGB", (9, 9)))
    sheet = samples.of_training(str(finished.spec), (), 3, 2)
    trained = TrainingData(objects.join(spec.root, EMBED), spec.train, spec.train.seeds[0]).batch(2)
    for number, (key, _) in enumerate(sheet.pictures[::2]):
        np.testing.assert_array_equal(drawn[2 * number + 1], trained.points[trained.keys.index(key), :, :3])
        assert len(drawn[2 * number]) == spec.train.points
    assert len(sheet.pictures) == len(drawn) == 6
    assert dict(sheet.facts)["train.augment.dropout"] == str(spec.train.augment.dropout)
    hard = samples.of_training(str(finished.spec), ("train.batches.kind=neighbours",), 64, 2)
    assert dict(hard.facts)["objects"].startswith(f"{len(hard.pictures) // 2} of the ")


def test_they_are_a_page_or_a_picture(finished: Finished, tmp_path: Path) -> None:
    page, image = tmp_path / "a.html", tmp_path / "a.png"
    done = call("look", str(finished.spec), "--augmented", "2", "--step", "1", "--out", str(page), cwd=finished.folder)
    assert (done.returncode, done.stdout) == (0, f"wrote {page}\n"), done.stderr
    html = page.read_text()
    assert_self_contained(html)
    assert_readable(html)
    assert html.count('<img src="data:image/webp') == 4
    assert "Warnings" not in html
    image.write_bytes(picture.png(samples.of_training(str(finished.spec), (), 2, 0)))
    assert Image.open(io.BytesIO(image.read_bytes())).width > 900


def test_what_is_not_as_the_spec_says_is_refused(finished: Finished) -> None:
    spec = str(finished.spec)
    with pytest.raises(DataError, match=r"data\.elevation is .* there and 60.0 in the spec; rerun pack"):
        samples.of_training(spec, ("data.elevation=60",), 2, 0)
    with pytest.raises(DataError, match=r"embed/manifest\.json: not found: run embed first"):
        samples.of_training(spec, (f"output={finished.folder / 'nowhere'}",), 2, 0)
    with pytest.raises(SpecError, match="--step 10000: the training has"):
        samples.of_training(spec, (), 2, 10_000)
    for options in (["box/one", "--augmented", "2"], ["--step", "2"]):
        done = call("look", spec, *options, cwd=finished.folder)
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr
