"""What is stored is compared with what a spec describes: every stage's settings, and what each was made from."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest

from captionless.spec.alignment import AlignmentSpec
from captionless.spec.plan import plan
from captionless.stages import chain, outside_files
from captionless.store import objects
from captionless.store.ledger import Ledger
from captionless.store.manifest import WorkRecord
from tests.flow.conftest import TINY
from tests.store.web import serving


@pytest.fixture
def spec() -> AlignmentSpec:
    return _spec(f"memory://{uuid.uuid4()}")


def _spec(root: str, **sections: Mapping[str, Any]) -> AlignmentSpec:
    document = {**TINY, "output": root}
    for name, fields in sections.items():
        document[name] = {**document.get(name, {}), **fields}
    return AlignmentSpec.model_validate(document)


def _finish(spec: AlignmentSpec, stage: str, content: str = "") -> None:
    """Publishes a stage as if it had run on what is stored before it; `content`: of its files."""
    output = next(s.output for s in plan(spec) if s.name == stage)
    record = WorkRecord("part", content)
    Ledger(objects.join(spec.root, output)).publish({"part": record}, made_from=chain.made_from(spec, stage))


def _finish_all(spec: AlignmentSpec) -> None:
    for stage in plan(spec):
        _finish(spec, stage.name)


def test_what_a_spec_describes_is_ready_for_every_stage(spec: AlignmentSpec) -> None:
    _finish_all(spec)
    for stage in plan(spec):
        assert set(stage.after) <= set(chain.verify(spec, stage.name))


def test_every_field_that_a_stage_depends_on_is_in_its_settings_and_no_other(spec: AlignmentSpec) -> None:
    named = [name for stage in plan(spec) for name in chain.settings(spec, stage.name) if name != "version"]
    for name in ("data.elevation", "data.source.url", "clip.model", "landmarks.count", "train.steps", "eval.prompt"):
        assert name in named
    for name in ("data.maxSkipped", "clip.device", "landmarks.maxCost", "train.checkpointEvery", "eval.pushgateway"):
        assert name not in named


@pytest.mark.parametrize(
    ("section", "field", "value", "stage", "reader"),
    [
        ("data", "elevation", 60, "pack", "embed"),
        ("data", "elevation", 60, "pack", "similarity-i2i"),
        ("data", "elevation", 60, "pack", "train-avg-seed0"),
        ("data", "elevation", 60, "pack", "eval"),
        ("data", "testFraction", 0.4, "list", "eval"),
        ("clip", "precision", "bf16", "embed", "similarity-i2l"),
        ("landmarks", "count", 3, "landmarks", "similarity-i2l"),
        ("similarity", "crossCategorySim", 0.1, "similarity-i2i", "train-avg-seed0"),
        ("train", "steps", 9, "train-uniform-seed0", "eval"),
    ],
    ids=lambda value: str(value),
)
def test_an_input_of_other_settings_is_named_with_the_field_and_both_values(
    spec: AlignmentSpec, section: str, field: str, value: Any, stage: str, reader: str
) -> None:
    _finish_all(spec)
    changed = _spec(spec.root, **{section: {field: value}})
    with pytest.raises(chain.NotReady) as caught:
        chain.verify(changed, reader)
    output = next(s.output for s in plan(spec) if s.name == stage)
    for part in (f"/{output}/manifest.json", f"{section}.{field}", repr(value), f"rerun {stage}"):
        assert part in str(caught.value)


def test_an_input_made_from_what_is_no_longer_there_is_stale(spec: AlignmentSpec) -> None:
    _finish_all(spec)
    _finish(spec, "pack", "a mesh has changed")
    for reader in ("similarity-i2i", "train-avg-seed0", "eval"):
        with pytest.raises(chain.NotReady, match=r"rerun embed"):
            chain.verify(spec, reader)
    chain.verify(spec, "embed")
    _finish(spec, "embed")
    chain.verify(spec, "similarity-i2i")  # its digest is as before: what was made from it stays
    chain.verify(spec, "eval")


def test_what_was_deleted_is_compared_by_what_its_readers_recorded(spec: AlignmentSpec) -> None:
    _finish_all(spec)
    objects.remove(objects.join(spec.root, "pack"))
    chain.verify(spec, "train-avg-seed0")
    with pytest.raises(chain.NotReady, match=r"data\.views"):
        chain.verify(_spec(spec.root, data={"views": 7}), "train-avg-seed0")
    with pytest.raises(chain.NotReady, match=r"pack"):
        chain.verify(spec, "embed")


def test_a_secret_in_a_url_is_neither_recorded_nor_compared() -> None:
    root = f"memory://{uuid.uuid4()}"
    source = {"kind": "manifest", "url": "https://host/list.jsonl?X-Amz-Signature=first"}
    data = {"source": source, "views": 3, "points": 64}
    landmarks = {"origin": "file", "file": "l.jsonl"}
    spec = _spec(root, data=data, landmarks=landmarks)
    settings = chain.settings(spec, "list")
    assert "first" not in repr(settings)
    other = _spec(root, data={**data, "source": {**source, "url": source["url"].replace("first", "second")}},
                  landmarks=landmarks)  # fmt: skip
    assert chain.settings(other, "list") == settings


@pytest.mark.parametrize("where", ["memory", "local"])
@pytest.mark.parametrize(
    ("field", "stage", "reader"),
    [
        ("data.source.url", "list", "pack"),
        ("data.deny", "list", "eval"),
        ("landmarks.file", "landmarks", "train-avg-seed0"),
        ("train.init", "train", "eval"),
    ],
)
def test_a_file_that_the_spec_names_is_compared_by_what_is_in_it(
    tmp_path: Path, where: str, field: str, stage: str, reader: str
) -> None:
    root = f"memory://{uuid.uuid4()}"
    url = f"{root}/named.pt" if where == "memory" else str(tmp_path / "named.pt")
    sections: dict[str, Any] = {
        "data.source.url": {"data": {"source": {"kind": "manifest", "url": url}}, "train": {"weights": ["i2i"]}},
        "data.deny": {"data": {"deny": url}},
        "landmarks.file": {"landmarks": {"origin": "file", "file": url}},
        "train.init": {"train": {"init": url}},
    }
    spec = _spec(root, **sections[field])
    objects.write_bytes(url, b"first")
    _finish_all(spec)
    objects.write_bytes(url, b"first")
    chain.verify(spec, reader)  # written again, it is what it was
    objects.write_bytes(url, b"other")
    with pytest.raises(chain.NotReady, match=f"{field}: .* has changed since it was read; rerun {stage}"):
        chain.verify(spec, reader)
    _finish_all(spec)
    chain.verify(spec, reader)
    objects.remove(url)
    chain.verify(spec, reader)


def test_a_manifest_that_is_signed_anew_is_the_same(tmp_path: Path) -> None:
    def write(signature: str, mesh: str = "a.obj") -> None:
        (tmp_path / "list.jsonl").write_text(f'{{"mesh": "https://h.invalid/{mesh}?sig={signature}&id=1"}}\n')

    write("one")
    with serving(tmp_path) as url:
        recorded = outside_files.recorded(f"{url}/list.jsonl")
        assert recorded is not None
        write("three")
        assert not outside_files.has_changed(f"{url}/list.jsonl", recorded)
        write("three", "other.obj")
        assert outside_files.has_changed(f"{url}/list.jsonl", recorded)


def test_a_manifest_whose_server_is_silent_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def patient(*arguments: object) -> NoReturn:
        pytest.fail("it tries for minutes")

    (tmp_path / "list.jsonl").write_text("{}\n")
    with serving(tmp_path) as url:
        recorded = outside_files.recorded(f"{url}/list.jsonl")
        assert recorded is not None
    monkeypatch.setattr(outside_files, "look_up", patient)
    assert not outside_files.has_changed(f"{url}/list.jsonl", recorded)
