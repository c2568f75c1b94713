"""What a run no longer describes is deleted everywhere below its folder, and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from captionless.errors import DataError, Retryable
from captionless.spec.alignment import AlignmentSpec
from captionless.stages import embed, landmarks, listing, migration, pack, pruning, similarity
from captionless.store import objects
from captionless.store.listing import open_listing
from captionless.store.writers import writer
from tests.earlier_run import spec_of, unpack

GONE = "box/01"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run up to similarity, with a gallery, neighbours and leftovers of all kinds, and a key that is to be denied."""
    monkeypatch.chdir(unpack(tmp_path))
    migration.migrate(spec_of(tmp_path), False, lambda line: None)
    run = tmp_path / "finished"
    shutil.rmtree(run / "eval")
    shutil.move(run / "train" / "avg-seed0", run / "train" / "avg-seed7")
    shutil.rmtree(run / "train" / "uniform-seed0")
    (tmp_path / "denied.txt").write_text(f"{GONE}\n")
    return tmp_path


def _spec(folder: Path) -> AlignmentSpec:
    return spec_of(folder, f"data.deny={folder}/denied.txt")


def _rerun(spec: AlignmentSpec) -> None:
    listing.run(spec)
    pack.run(spec)
    embed.run(spec)
    landmarks.run(spec)
    for metric in ("i2i", "i2l"):
        similarity.run(spec, metric)  # type: ignore[arg-type]


def _left_over(run: Path) -> list[Path]:
    """Files as killed workers, earlier specs and language models leave them."""
    paths = [
        run / "pack" / "train" / "00007-12345678.tar",
        run / "embed" / "train" / "00007-12345678.index",
        run / "similarity" / "i2i" / "cone.0-0-1234abcd.sim",
        run / "landmarks" / "drafts" / "vase-0123456789abcdef.json",
        run / "logs" / "pack.0.log",
    ]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"skipped {GONE}: no faces\n")
    return paths


def _naming(run: Path) -> list[str]:
    """The files that have the key in them, read by other means."""
    found = []
    for path in sorted(p for p in run.rglob("*") if p.is_file()):
        text = str(pq.read_table(path).to_pydict()).encode() if path.suffix == ".parquet" else path.read_bytes()
        if GONE.encode() in text:
            found.append(str(path.relative_to(run)))
    return found


def test_nothing_of_a_denied_object_is_left(folder: Path) -> None:
    run, spec = folder / "finished", _spec(folder)
    with pytest.raises(DataError, match="rerun"):
        pruning.prune(spec)
    _rerun(spec)
    leftovers = _left_over(run)
    kept_draft = run / "landmarks" / "drafts" / "box-0123456789abcdef.json"
    kept_draft.write_text("{}")
    table = Path(open_listing(str(run / "list")).table_url).relative_to(run)
    before = sorted(p for p in run.rglob("*") if p.is_file())
    dry = pruning.prune(spec, dry_run=True)
    assert sorted(p for p in run.rglob("*") if p.is_file()) == before
    report = pruning.prune(spec)
    assert report.deleted == dry.deleted
    assert {d.where for d in report.deleted} >= {"gallery", "neighbours", "landmarks", "pack", "embed", "logs"}
    assert _naming(run) == [str(table)]
    row = next(r for r in pq.read_table(run / table).to_pylist() if r["key"] == GONE)
    assert (row["verdict"], row["text"], row["url"], row["attributes"]) == ("denied", None, None, None)
    assert not any(path.exists() for path in leftovers)
    assert not (run / "gallery" / "gallery.json").exists()
    assert kept_draft.exists()
    assert report.found == []
    assert report.keys == 1
    assert report.searched[0] > 20
    report.check()
    assert (run / "train" / "avg-seed7" / "model.pt").exists()
    assert any("avg-seed7" in line for line in report.left)
    assert {d.where for d in pruning.prune(spec, trainings=True).deleted} == {"train/avg-seed7"}
    for stage in (listing.run, pack.run, embed.run):
        assert stage(spec).made == 0


def test_what_is_listed_stays(folder: Path) -> None:
    spec, run = spec_of(folder), folder / "finished"
    _rerun(spec)
    before = sorted(p for p in run.rglob("*") if p.is_file())
    report = pruning.prune(spec)
    assert report.deleted == []
    assert report.keys == 0
    assert sorted(p for p in run.rglob("*") if p.is_file()) == before


def test_a_key_that_is_still_somewhere_is_reported(folder: Path) -> None:
    spec, run = _spec(folder), folder / "finished"
    _rerun(spec)
    (run / "notes.txt").write_text(f"{GONE} looks odd")
    report = pruning.prune(spec)
    assert report.found == [(objects.join(str(run), "notes.txt"), GONE)]
    with pytest.raises(DataError, match=r"notes\.txt"):
        report.check()


def test_a_live_writer_is_not_disturbed(folder: Path) -> None:
    spec, run = _spec(folder), folder / "finished"
    _rerun(spec)
    (leftover, *_) = _left_over(run)
    with writer(str(run / "embed"), settings="someone"), pytest.raises(Retryable, match="embed"):
        pruning.prune(spec)
    assert leftover.exists()
