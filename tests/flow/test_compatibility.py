"""A run folder of an earlier release is read, migrated and resumed, or refused by name; nothing is made again unasked.

Stages are called in this process: where there is nothing to make, none of them needs one of its own.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from captionless.errors import DataError
from captionless.spec.alignment import AlignmentSpec
from captionless.stages import embed, landmarks, listing, migration, pack, similarity, train
from captionless.stages import eval as evaluation
from captionless.store.embeddings import open_embeddings
from captionless.store.gallery import open_gallery
from captionless.store.ledger import Ledger
from captionless.store.neighbour_store import open_neighbours
from captionless.store.shards import ShardReader
from captionless.store.similarity_store import open_similarity
from captionless.trainer.model_file import load_model
from captionless.trainer.torch_documents import decode
from captionless.trainer.training_job import EARLIER, FORMAT
from tests.earlier_run import CHECKPOINT_STEP, INTERRUPTED, contents, records, spec_of, unpack
from tests.flow.conftest import call

pytestmark = pytest.mark.flow

Stage = Callable[[AlignmentSpec], Any]
DATA: dict[str, tuple[Stage, int, int]] = {
    "list": (listing.run, 13, 0),
    "pack": (pack.run, 12, 1),
    "embed": (embed.run, 12, 0),
    "landmarks": (landmarks.run, 24, 0),
    "similarity-i2i": (lambda spec: similarity.run(spec, "i2i"), 9, 0),
    "similarity-i2l": (lambda spec: similarity.run(spec, "i2l"), 9, 0),
}
"""The stages before training: how each is called, and what it keeps and skips of what was stored."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The unpacked runs; the working directory, to which the spec's paths are relative."""
    monkeypatch.chdir(unpack(tmp_path))
    return tmp_path


def _migrated(spec: AlignmentSpec, dry_run: bool = False) -> list[str]:
    lines: list[str] = []
    migration.migrate(spec, dry_run, lines.append)
    return lines


def test_without_migration_every_stage_names_its_folder_and_the_command(folder: Path) -> None:
    spec = spec_of(folder)
    before = contents(folder) | records(folder)
    later: dict[str, Stage] = {"train": train.run, "eval": evaluation.run}
    for run in [*(stage for stage, *_ in DATA.values()), *later.values()]:
        with pytest.raises(DataError) as refused:
            run(spec)
        assert str(folder / "finished") in str(refused.value)
        assert "captionless migrate" in str(refused.value)
        assert "\n" not in str(refused.value)
    assert contents(folder) | records(folder) == before


def test_parts_of_an_unfinished_stage_are_not_made_again_unasked(folder: Path) -> None:
    spec = spec_of(folder)
    (folder / "finished" / "pack" / "manifest.json").unlink()
    shutil.rmtree(folder / "finished" / "embed")
    listing.run(spec)
    with pytest.raises(DataError, match="captionless migrate"):
        pack.run(spec)
    _migrated(spec)
    found = pack.run(spec)
    assert (found.made, found.kept, found.skipped) == (0, 12, 1)


def test_migrated_everything_is_kept(folder: Path) -> None:
    spec = spec_of(folder)
    data, said = contents(folder), records(folder)
    lines = _migrated(spec, dry_run=True)
    assert records(folder) == said
    assert _migrated(spec) == lines
    assert contents(folder) == data
    migrated = records(folder)
    _migrated(spec)
    assert records(folder) == migrated
    for name, (run, kept, skipped) in DATA.items():
        found = run(spec)
        assert (found.made, found.kept, found.skipped) == (0, kept, skipped), name
    train.run(spec)
    assert contents(folder) == data
    whole = call("run", "spec.yaml", cwd=folder)  # evaluates, and draws the report that the fixture leaves out
    assert whole.returncode == 0, whole.stderr
    kept_files = {name: state for name, state in data.items() if "/eval/" not in name}
    assert contents(folder).items() >= kept_files.items()
    assert (folder / "finished" / "eval" / "report.html").exists()


def test_migrated_views_are_said_to_be_of_the_earlier_renderer(folder: Path) -> None:
    spec, url = spec_of(folder), str(folder / "finished" / "pack")
    _migrated(spec)
    manifest = Ledger(url).manifest()
    assert manifest.own == {"renderers": ["OpenGL"]}
    (tar, *_) = (record.facts["shard"] for record in manifest.records.values())
    shard = ShardReader(f"{url}/{tar}")
    assert {shard.note(key, "renderer") for key in shard.keys} == {"OpenGL"}


def test_stores_are_read_as_they_are(folder: Path) -> None:
    spec, run = spec_of(folder), folder / "finished"
    _migrated(spec)
    data = open_embeddings(str(run / "embed"), "train")
    assert len(data) == 9
    assert data.views(range(9)).shape == (9, 4, 128)
    assert data.points(range(9)).shape == (9, 128, 6)
    assert open_similarity(str(run / "similarity" / "i2i")).matrix("box").shape == (3, 3)
    assert len(open_gallery(str(run / "gallery")).keys) == 12
    open_neighbours(str(run / "neighbours"))


def test_an_interrupted_training_is_refused_by_name_and_goes_on_where_it_was_if_asked_to(folder: Path) -> None:
    """Its masks were drawn otherwise: what follows is not what would have followed, and the model says so."""
    spec = spec_of(folder, *INTERRUPTED)
    run = folder / "interrupted" / "train" / "avg-seed0"
    (checkpoint,) = (run / "checkpoints").iterdir()
    assert f"step-{CHECKPOINT_STEP:08d}" in checkpoint.name
    before = decode(checkpoint.read_bytes())
    _migrated(spec)
    for stage, *_ in DATA.values():
        assert stage(spec).made == 0
    stored = contents(folder) | records(folder)
    with pytest.raises(DataError, match=r"avg-seed0: .*earlier release.*--extend.*--restart"):
        train.run(spec)
    assert contents(folder) | records(folder) == stored
    train.run(spec_of(folder, *INTERRUPTED, "train.onChange=extend"))
    history = json.loads((run / "history.json").read_text())
    assert history["step"] == list(range(40))
    assert history["loss"][:CHECKPOINT_STEP] == before["history"]["loss"]
    _, meta = load_model(str(run))
    segments = [(each["first"], each["settings"]["format"]) for each in meta["provenance"]["segments"]]
    assert segments == [(0, EARLIER), (CHECKPOINT_STEP, FORMAT)]


def test_a_spec_that_did_not_make_it_is_refused(folder: Path) -> None:
    said = records(folder)
    with pytest.raises(DataError, match=r"data\.elevation"):
        _migrated(spec_of(folder, "data.elevation=60"))
    assert records(folder) == said


def test_what_has_changed_since_is_named_and_nothing_else_made(folder: Path) -> None:
    spec, packed = spec_of(folder), folder / "finished" / "pack"
    mesh = folder / "meshes" / "box" / "00.obj"
    mesh.write_text(mesh.read_text() + "v 0 2 0\nf 1 2 9\n")
    shard = next(p for p in packed.rglob("*.index") if '"box/00"' in p.read_text())
    others = 12 - len(json.loads(shard.read_text())["samples"])
    lines = _migrated(spec)
    assert f"{shard.parent.name}-{shard.stem}" in lines[0]
    with pytest.raises(DataError, match="rerun pack"):
        embed.run(spec)
    listing.run(spec)
    again = call("pack", "spec.yaml", "--json", "-q", cwd=folder)
    found = json.loads(again.stdout)
    assert (found["made"], found["kept"]) == (12 - others, others)


DAMAGED = {
    "pack/train/00000.tar": {"pack": 5, "embed": 5, "similarity-i2i": 6, "similarity-i2l": 6},
    "pack/test/00000.index": {"pack": 3, "embed": 3},
    "embed/train/00001.tar": {"embed": 4, "similarity-i2i": 6, "similarity-i2l": 6},
    "landmarks/box.npy": {"landmarks": 8},
    "similarity/i2i/box.0-0.sim": {"similarity-i2i": 3},
    "gallery/0.faiss": {},
    "train/avg-seed0/model.pt": {},
}
"""Files of a run, and what the stages make again if one is not what it was."""


@pytest.mark.parametrize("how", ["truncated", "altered", "missing"])
@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_damaged_is_made_again_and_the_rest_migrated(folder: Path, name: str, how: str) -> None:
    spec, path = spec_of(folder), folder / "finished" / name
    data = path.read_bytes()
    half = len(data) // 2
    path.unlink()
    if how != "missing":
        path.write_bytes(data[:half] + (bytes([data[half] ^ 1]) + data[half + 1 :]) * (how == "altered"))
    if name.startswith("train") and how != "missing":
        with pytest.raises(DataError, match=r"model\.pt: truncated, or modified .* restore it, or delete it"):
            _migrated(spec)
        path.unlink()
    lines = _migrated(spec, dry_run=True)
    assert _migrated(spec) == lines
    line = next(line for line in lines if name.startswith(line.partition(":")[0]))
    assert f"damaged or missing{'' if name.startswith(('pack', 'embed')) else ', to be made again'}: " in line
    assert path.name in line
    for stage, (run, kept, skipped) in DATA.items():
        made = DAMAGED[name].get(stage, 0)
        found = run(spec)
        assert (found.made, found.kept, found.skipped) == (made, kept - made, skipped), stage
    if name.startswith("train"):
        train.run(spec)
        load_model(str(path.parent))


def test_a_run_of_which_no_shard_is_whole_is_made_again(folder: Path) -> None:
    spec = spec_of(folder)
    for path in (folder / "finished" / "pack").rglob("*.tar"):
        path.unlink()
    assert "to be made again: test-00000, train-00000, train-00001" in _migrated(spec)[0]
    for stage in ("list", "pack", "embed"):
        run, count, skipped = DATA[stage]
        found = run(spec)
        assert (found.made + found.kept, found.skipped) == (count, skipped), stage
    assert len(open_embeddings(str(folder / "finished" / "embed"), "train")) == 9


def test_a_gallery_is_migrated_by_its_folder(folder: Path) -> None:
    with pytest.raises(DataError, match="SPEC"):
        migration.migrate_folder(str(folder / "finished" / "pack"), False, print)
    migration.migrate_folder(str(folder / "finished" / "gallery"), False, print)
    assert json.loads((folder / "finished" / "gallery" / "manifest.json").read_text())["version"] == 2


def test_the_command_line(folder: Path) -> None:
    dry = call("migrate", "spec.yaml", "--dry-run", cwd=folder)
    assert dry.returncode == 0, dry.stderr
    assert dry.stdout.startswith("pack: 3 of 3 shards")
    refused = call("list", "spec.yaml", "-q", cwd=folder)
    assert refused.returncode == 65
    assert len(refused.stderr.strip().splitlines()) == 1
