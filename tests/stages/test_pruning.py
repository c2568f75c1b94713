"""What a run no longer describes is deleted everywhere below its folder, and nothing else."""

from __future__ import annotations

import gzip
import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from captionless.errors import DataError, Retryable
from captionless.spec.alignment import AlignmentSpec
from captionless.stages import embed, landmarks, listing, migration, pack, pruning, similarity
from captionless.stages.listing import card
from captionless.store import objects
from captionless.store.atomic_writes import open_write
from captionless.store.ledger import Ledger
from captionless.store.listing import open_listing
from captionless.store.writers import writer
from tests.earlier_run import spec_of, unpack
from tests.store.faulty_s3 import FaultyS3, reached_by_environment

GONE = "box/01"
BUCKET = "captionless-pruning"


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
        if _names(path.name, path.read_bytes()):
            found.append(str(path.relative_to(run)))
    return found


def _names(name: str, data: bytes) -> bool:
    if name.endswith(".parquet"):
        data = str(pq.read_table(io.BytesIO(data)).to_pydict()).encode()
    return GONE.encode() in data


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
    assert report.lines()[-1].endswith("for 1 removed key: found in none")
    assert (run / "train" / "avg-seed7" / "model.pt").exists()
    assert any("avg-seed7" in line for line in report.left)
    assert {d.where for d in pruning.prune(spec, trainings=True).deleted} == {"train/avg-seed7"}
    for stage in (listing.run, pack.run, embed.run):
        assert stage(spec).made == 0


def test_the_data_card_names_no_denied_object(folder: Path) -> None:
    run, spec = folder / "finished", _spec(folder)
    _rerun(spec)
    card.describe(spec)
    pruning.prune(spec).check()
    assert (run / "list" / card.FILE).exists()
    (run / "list" / card.FILE).write_text(f"{GONE}: of another licence")  # as it was before the object was denied
    report = pruning.prune(spec)
    report.check()
    assert [deleted.where for deleted in report.deleted] == ["list"]
    assert not (run / "list" / card.FILE).exists()


def test_what_is_listed_stays(folder: Path) -> None:
    spec, run = spec_of(folder), folder / "finished"
    _rerun(spec)
    before = sorted(p for p in run.rglob("*") if p.is_file())
    report = pruning.prune(spec)
    assert report.deleted == []
    assert report.keys == 0
    assert report.lines()[-1].startswith("searched for no key: none is in data.deny")
    assert sorted(p for p in run.rglob("*") if p.is_file()) == before


def test_a_key_that_is_still_somewhere_is_reported(folder: Path) -> None:
    spec, run = _spec(folder), folder / "finished"
    _rerun(spec)
    (run / "notes.txt").write_text(f"{GONE} looks odd")
    report = pruning.prune(spec)
    assert report.found == [(objects.join(str(run), "notes.txt"), GONE)]
    with pytest.raises(DataError, match=r"notes\.txt"):
        report.check()


def test_a_path_or_url_that_ends_in_the_key_names_it(folder: Path) -> None:
    spec, run = _spec(folder), folder / "finished"
    _rerun(spec)
    texts = {
        "plain.log": f"read /m/{GONE}.obj",
        "percent.log": "GET /m/box%2F01.obj",
        "json.log": r'{"mesh": "box\/01.obj"}',
        "packed.log.gz": f"read /m/{GONE}.obj",
        "kept.log": "read /m/box/02.obj",
    }
    (run / "logs").mkdir(exist_ok=True)
    for name, text in texts.items():
        data = text.encode()
        (run / "logs" / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    pruning.prune(spec).check()
    assert [path.name for path in (run / "logs").iterdir()] == ["kept.log"]
    (run / "notes.txt").write_text(f"s3://meshes/{GONE}.obj looks odd")
    assert pruning.prune(spec).found == [(objects.join(str(run), "notes.txt"), GONE)]


@pytest.mark.parametrize("where", ["", "embed", "search/new", "train/avg-seed9"])
def test_a_live_writer_is_not_disturbed(folder: Path, where: str) -> None:
    """Whether it has published something or not: neither its finished nor its unfinished files are touched."""
    spec, run = _spec(folder), folder / "finished"
    _rerun(spec)
    (leftover, *_) = _left_over(run)
    (run / where).mkdir(parents=True, exist_ok=True)
    with writer(str(run / where), settings="someone"), open_write(str(run / where / "rows.npy")) as file:
        file.write(b"half")
        with pytest.raises(Retryable, match=where or "finished"):
            pruning.prune(spec)
    assert leftover.exists()
    assert (run / where / "rows.npy").read_bytes() == b"half"
    assert list(run.rglob("_writers")) == []


def test_nobody_may_begin_meanwhile(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, run = _spec(folder), folder / "finished"
    _rerun(spec)
    refused = []

    def swept(url: str, older: float) -> int:
        for where in ("", "embed", "gallery"):
            with pytest.raises(Retryable, match="is writing there"), writer(str(run / where), settings="someone"):
                pass
            refused.append(where)
        return 0

    monkeypatch.setattr(pruning, "sweep", swept)
    pruning.prune(spec)
    assert refused == ["", "embed", "gallery"]


def test_what_is_finished_while_pruning_waits_is_not_superseded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, run = _spec(folder), folder / "finished"
    _rerun(spec)
    new = run / "search" / "new" / "rows.npy"
    real = pruning.contents

    def contents(url: str) -> pruning.Contents:
        found = real(url)
        if not new.exists():  # after it has looked for the first time
            new.parent.mkdir(parents=True)
            new.write_bytes(b"rows")
            ledger = Ledger(str(new.parent))
            ledger.publish({"a": ledger.commit("a", "1" * 64, {"rows.npy": ""}, {})})
        return found

    monkeypatch.setattr(pruning, "contents", contents)
    pruning.prune(spec)
    assert Ledger(str(new.parent)).manifest().records["a"].files.keys() == {"rows.npy"}
    assert new.exists()


@pytest.fixture
def s3(folder: Path) -> Iterator[tuple[FaultyS3, AlignmentSpec]]:
    """The run in a bucket."""
    with reached_by_environment(BUCKET) as server:
        for path in sorted(p for p in (folder / "finished").rglob("*") if p.is_file()):
            key = path.relative_to(folder).as_posix()
            server.client.put_object(Bucket=BUCKET, Key=key, Body=path.read_bytes())
        yield server, spec_of(folder, f"data.deny={folder}/denied.txt", f"output=s3://{BUCKET}/finished")


def test_in_a_bucket(s3: tuple[FaultyS3, AlignmentSpec]) -> None:
    server, spec = s3
    _rerun(spec)
    url = f"s3://{BUCKET}/finished"
    objects.write_bytes(f"{url}/embed/train/00007-12345678.index", b"{}")
    for key in ("finished/search/new/rows.npy", "elsewhere/rows.npy"):
        server.client.create_multipart_upload(Bucket=BUCKET, Key=key)
    with writer(f"{url}/search/new", settings="someone"), pytest.raises(Retryable, match="search/new"):
        pruning.prune(spec)
    assert len(server.client.list_multipart_uploads(Bucket=BUCKET)["Uploads"]) == 2
    report = pruning.prune(spec)
    assert report.swept == 1
    assert [u["Key"] for u in server.client.list_multipart_uploads(Bucket=BUCKET)["Uploads"]] == ["elsewhere/rows.npy"]
    assert {d.where for d in report.deleted} >= {"gallery", "neighbours", "embed"}
    assert (report.found, report.keys) == ([], 1)
    names = objects.walk(url)
    assert not any(name.startswith(("gallery/", "neighbours/")) or "_writers" in name for name in names)
    assert {name for name in names if _names(name, objects.read_bytes(f"{url}/{name}"))} == {
        name for name in names if name.startswith("list/") and name.endswith(".parquet")
    }


def test_a_pruning_that_is_killed_is_made_good_by_the_next(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, spec, whole = folder / "finished", _spec(folder), folder / "whole"
    _rerun(spec)
    shutil.copytree(run, whole)
    remove, finished, survives = objects.remove, False, 0

    def removing(url: str) -> None:
        nonlocal survives
        if "_writers" not in url:
            if survives == 0:
                raise KeyboardInterrupt
            survives -= 1
        remove(url)

    for number in range(1, 30, 4):
        shutil.rmtree(run)
        shutil.copytree(whole, run)
        with monkeypatch.context() as killed:
            killed.setattr(objects, "remove", removing)
            killed.setattr(pruning, "_REQUESTS", 1)
            survives = number
            try:
                pruning.prune(spec)
                finished = True
            except KeyboardInterrupt:
                pass
        pruning.prune(spec).check()
        assert [name for name in _naming(run) if not name.startswith("list/")] == []
        assert not [*run.glob("gallery/*.faiss"), *run.glob("neighbours/*.npy"), *run.glob("neighbours/*.parquet")]
    assert finished
