"""The eval stage on a run of its own: what it may be taken for, whose figures these are, and what it says of URLs."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

from captionless.clip import openclip
from captionless.errors import DataError, Retryable
from captionless.eval import class_tables, results
from captionless.eval.outcomes import loads
from captionless.spec import load
from captionless.spec.alignment import AlignmentSpec
from captionless.stages import compare, embed, listing, pack, train
from captionless.stages import eval as evaluation
from captionless.stages.candidates import check, labels
from captionless.stages.chain import NotReady
from captionless.store import objects
from captionless.store.ledger import Ledger
from captionless.store.table import TableReader
from tests.stages.test_signed_urls import PAGES, SECRET, address

SIGNED = f"?X-Amz-Date=20260101&X-Amz-Signature={SECRET}&X-Amz-Expires=600"
TRAIN, TEST = {"box": 4, "rod": 4, "n02": 2}, {"box": 3, "rod": 2}
pytestmark = pytest.mark.flow


def write_source(address: str) -> str:
    """A manifest whose class "n02" has no test object, and a broken mesh; its signed URL, as all are."""
    rng, lines = np.random.default_rng(0), []
    shapes = {"box": (1, 1, 1), "rod": (1, 0.1, 0.1), "n02": (1, 1, 0.1)}
    for split, counts in (("train", TRAIN), ("test", TEST)):
        for category, count in counts.items():
            for number in range(count):
                key = f"{category}-{split}-{number}"
                mesh = trimesh.creation.box(np.array(shapes[category]) * rng.uniform(0.7, 1.3, 3))
                PAGES[f"{key}.obj"] = mesh.export(file_type="obj").encode()
                lines.append({"key": key, "category": category, "split": split})
    PAGES["broken.obj"] = b"v 0 0 0\n"
    lines.append({"key": "broken", "category": "rod", "split": "test"})
    for line in lines:
        line |= {"mesh": f"{address}/in/{line['key']}.obj{SIGNED}", "source": f"{address}{SIGNED}", "licence": "CC0"}
    PAGES["list.jsonl"] = "\n".join(map(json.dumps, lines)).encode()
    return f"{address}/list.jsonl{SIGNED}"


def spec_of(folder: Path, url: str, **changes: dict[str, Any]) -> AlignmentSpec:
    sections: dict[str, Any] = {
        "output": str(folder / "out"),
        "data": {
            "source": {"kind": "manifest", "url": url}, "split": "manifest", "views": 2, "imageSize": 32, "points": 64,
            "maxSkipped": 1, "classNames": ["n02=flat thing", "box=thing", "rod=long_thing"],
        },
        "clip": {"model": "captionless-demo"},
        "train": {
            "weights": ["uniform"], "seeds": [0, 1], "steps": 2, "batchSize": 4, "points": 64,
            "encoder": {"width": 4, "nsample": 4},
        },
    }  # fmt: skip
    for name, section in changes.items():
        sections[name] = sections.get(name, {}) | section
    return load.build_spec(sections)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """An evaluated run, and the URL of its source."""
    folder = tmp_path_factory.mktemp("evaluated")
    generator = address.__wrapped__()  # type: ignore[attr-defined]
    url = write_source(next(generator))
    spec = spec_of(folder, url)
    for stage in (listing, pack, embed, train, evaluation):
        stage.run(spec)
    yield folder, url
    next(generator, None)


@pytest.fixture
def run(evaluated: tuple[Path, str], tmp_path: Path) -> tuple[Path, AlignmentSpec]:
    """A copy of it that may be changed, and its spec."""
    folder, url = evaluated
    shutil.copytree(folder / "out", tmp_path / "out")
    return tmp_path / "out" / "eval", spec_of(tmp_path, url)


def everything(folder: Path) -> dict[str, bytes]:
    """Every file but leases."""
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file() and "_writers" not in p.parts}


def read(folder: Path) -> dict[str, Any]:
    return results.loads((folder / "results.json").read_bytes())


def test_a_class_without_test_object_is_a_candidate(
    run: tuple[Path, AlignmentSpec], capfd: pytest.CaptureFixture[str]
) -> None:
    folder, spec = run
    found, about = read(folder)["figures"], read(folder)["provenance"]
    assert found["classes"] == ["box", "n02", "rod"]
    assert found["names"] == ["thing", "flat thing", "long_thing"]
    assert found["without_objects"] == ["n02"]
    assert found["chance"]["zero_shot"]["top1"] == pytest.approx(1 / 3, abs=1e-6)
    tree = found["runs"]["uniform"]["0"]["zero_shot"]
    assert (tree["support"], tree["per_class"]["n02"]) == ([3, 0, 2], None)
    assert tree["class_mean"] == pytest.approx((tree["per_class"]["box"] + tree["per_class"]["rod"]) / 2, abs=1e-6)
    assert about["objects"] | {"skipped": None} == {"train": 10, "test": 5, "skipped": None, "skipped_count": 1}
    assert [one["key"] for one in about["objects"]["skipped"]] == ["broken"]
    assert evaluation.run(spec).made == 0
    assert "1 of 3" in (said := capfd.readouterr().err)
    assert "n02" in said
    assert "flat thing" in (folder / "report.html").read_text()


def test_ranks_are_those_of_the_texts_with_the_names(run: tuple[Path, AlignmentSpec]) -> None:
    folder, _ = run
    document = read(folder)
    beside = document["files"]["outcomes"]["uniform-seed1"]
    kept = loads((folder / beside["file"]).read_bytes(), "outcomes")
    shapes = np.load(next((folder / "runs").glob("uniform-seed1-*.npy"))).astype(np.float64)
    texts = openclip.load("captionless-demo").texts(
        [f"a point cloud of a {n}" for n in ("thing", "flat thing", "long thing")]
    )
    scores = shapes @ texts.astype(np.float64).T
    own = scores[np.arange(5), kept.labels]
    assert kept.ranks["zero_shot"][:, 0].tolist() == (scores >= own[:, None] - 1e-9).sum(axis=1).tolist()


def test_classes_of_one_prompt_are_refused_where_objects_are_of_one(run: tuple[Path, AlignmentSpec]) -> None:
    folder, spec = run
    before = everything(folder)

    def named(*names: str) -> AlignmentSpec:
        return spec.model_copy(update={"data": spec.data.model_copy(update={"class_names": names})})

    long = " ".join("very" for _ in range(80))  # more than the model reads
    for names in (("n02=Rod",), ("box=night_stand", "rod=Night Stand"), (f"box={long} one", f"rod={long} other")):
        with pytest.raises(DataError, match=r'"\w+" and "rod".*data\.classNames') as refused:
            evaluation.run(named(*names))
        assert "\n" not in str(refused.value)
    assert everything(folder) == before


def test_classes_of_one_prompt_without_object_are_told(capfd: pytest.CaptureFixture[str]) -> None:
    classes = ["Dining_table", "dining table", "lamp"]
    check("eval", classes, classes, ["lamp"])
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert '"Dining_table" and "dining table"' in line
    assert "data.classNames" in line
    check("eval", classes, ["a", "b", "c"], ["lamp"])
    assert not capfd.readouterr().err
    with pytest.raises(DataError, match='"Dining_table" and "dining table"'):
        check("eval", classes, classes, ["dining table"])


def test_what_signs_urls_stands_in_no_result(run: tuple[Path, AlignmentSpec]) -> None:
    folder, spec = run
    document = read(folder)
    url = spec.data.source.url.partition("?")[0]
    assert document["provenance"]["dataset"]["url"] == f"{url}?***"
    assert document["provenance"]["spec"]["data"]["source"]["url"] == f"{url}?***"
    for path in folder.rglob("*"):
        assert path.is_dir() or SECRET.encode() not in path.read_bytes(), path
    assert SECRET not in json.dumps(compare.run([str(folder)]))
    assert url in (folder / "report.html").read_text()


def test_a_source_that_is_signed_anew_is_the_same(run: tuple[Path, AlignmentSpec]) -> None:
    folder, spec = run
    before = (folder / "results.json").read_bytes()
    source = spec.data.source.model_copy(update={"url": f"{spec.data.source.url}&X-Amz-Once=2"})
    again = spec.model_copy(update={"data": spec.data.model_copy(update={"source": source})})
    assert evaluation.run(again).made == 0
    assert (folder / "results.json").read_bytes() == before


def test_a_replaced_model_has_figures_of_its_own(run: tuple[Path, AlignmentSpec]) -> None:
    """Once its training has published it: a file of which nothing is known is not what the spec describes."""
    folder, spec = run
    first, second = (folder.parent / "train" / f"uniform-seed{seed}" / "model.pt" for seed in (0, 1))
    assert len(set(read(folder)["provenance"]["checkpoints"].values())) == 2
    shutil.copy(second, first)
    with pytest.raises(NotReady, match=r"uniform-seed0/model\.pt: not the model .*rerun train"):
        evaluation.run(spec)
    training = Ledger(str(first.parent))
    before = training.manifest()
    record = before.records[train.PART]
    made = training.commit(
        train.PART, objects.digest("another"), {"model.pt": ""} | dict.fromkeys(record.files, ""), {}
    )
    training.publish({train.PART: made}, made_from=before.header.made_from)
    assert evaluation.run(spec).made == 1
    found = read(folder)
    assert found["figures"]["runs"]["uniform"]["0"] == found["figures"]["runs"]["uniform"]["1"]
    assert len(set(found["provenance"]["checkpoints"].values())) == 1
    stems = sorted(path.name for path in (folder / "runs").glob("*.npy"))
    assert len(stems) == 2, "what it replaces is removed"


def test_a_model_that_a_late_worker_has_put_in_place_is_made_again(run: tuple[Path, AlignmentSpec]) -> None:
    """It is as large as the one that it replaced, and was written before it: only its bytes tell."""
    folder, spec = run
    first, second = (folder.parent / "train" / f"uniform-seed{seed}" / "model.pt" for seed in (0, 1))
    own = objects.sha256(str(first))
    assert first.stat().st_size == second.stat().st_size
    shutil.copy(second, first)
    os.utime(first, (0, 0))
    assert train.run(spec).outcome.made == 1
    assert objects.sha256(str(first)) == own
    assert evaluation.run(spec).made == 0


def test_large_class_tables_are_beside_the_results(
    run: tuple[Path, AlignmentSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, spec = run
    inline = read(folder)
    monkeypatch.setattr(class_tables, "INLINE", 10)
    (folder / "results.json").unlink()
    evaluation.run(spec)
    found = read(folder)
    assert "confusion" not in found["figures"]["runs"]["uniform"]["0"]["zero_shot"]
    for name in class_tables.NAMES:
        beside = found["files"][name]
        assert len(TableReader(str(folder / beside["file"])).read()) == beside["rows"]
    rows = TableReader(str(folder / found["files"]["per_class"]["file"])).read().to_pylist()
    shares = {row["class"]: row["accuracy"] for row in rows if row["run"] == "uniform-seed1"}
    assert shares == pytest.approx(inline["figures"]["runs"]["uniform"]["1"]["zero_shot"]["per_class"], nan_ok=True)
    monkeypatch.undo()
    (folder / "results.json").unlink()
    evaluation.run(spec)
    assert read(folder)["figures"] == inline["figures"]
    assert list(folder.glob("*.parquet")) == []


def test_a_late_evaluation_replaces_nothing(run: tuple[Path, AlignmentSpec], evaluated: tuple[Path, str]) -> None:
    folder, spec = run
    late = evaluation._Evaluation(spec)
    newer = spec_of(folder.parent.parent, evaluated[1], eval={"seed": 1})
    evaluation.run(newer)
    before = everything(folder)
    with pytest.raises(Retryable):
        late.run()
    assert everything(folder) == before
    assert evaluation.run(newer).made == 0


def test_results_are_not_written_when_there_are_newer_ones(
    run: tuple[Path, AlignmentSpec], evaluated: tuple[Path, str]
) -> None:
    """The same for one that has made its report meanwhile."""
    folder, spec = run
    late = evaluation._Evaluation(spec)
    evaluation.run(spec_of(folder.parent.parent, evaluated[1], eval={"seed": 1}))
    before = (folder / results.RESULTS).read_bytes()
    with pytest.raises(Retryable):
        late._write("of what it was made from", {results.RESULTS: b"{}"})
    assert (folder / results.RESULTS).read_bytes() == before


def test_outcomes_that_were_replaced_are_refused(run: tuple[Path, AlignmentSpec]) -> None:
    folder, _ = run
    beside = read(folder)["files"]["outcomes"]
    assert compare.run([str(folder)])["tests"] == 0  # two seeds of one loss are one row
    shutil.copy(folder / beside["uniform-seed1"]["file"], folder / beside["uniform-seed0"]["file"])
    with pytest.raises(DataError, match="uniform-seed0"):
        compare.run([str(folder)])


def test_classes_of_one_name_are_told_apart_on_pages() -> None:
    assert labels(["a", "b", "c"], ["x", "y", "x"]) == ["x (a)", "y", "x (c)"]
