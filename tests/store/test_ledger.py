"""Records of parts: whole, missing, damaged, changed; manifests only over whole parts, replaced by successors only."""

from __future__ import annotations

import socket
import subprocess
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pyarrow as pa
import pytest

from captionless.errors import DataError, Retryable
from captionless.store import ledger as ledger_module
from captionless.store import objects, removal
from captionless.store.ledger import Ledger
from captionless.store.manifest import FOLDER, InputRecord, MadeFrom, read_header
from captionless.store.work_records import PARTS


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    ledger = Ledger(str(tmp_path / "stage"))
    objects.write_bytes(objects.join(ledger.url, "a.bin"), b"1234")
    ledger.commit("a", "print", {"a.bin": ""}, {"n": 1})
    return ledger


def _publish(ledger: Ledger, fingerprints: Mapping[str, str], **more: object) -> str:
    records = ledger.finished(fingerprints)
    assert records is not None
    return ledger.publish(records, **more).digest  # type: ignore[arg-type]


def test_a_part_is_whole_until_its_fingerprint_or_files_change(ledger: Ledger) -> None:
    record = ledger.whole("a", "print")
    assert record is not None
    assert record.facts == {"n": 1}
    assert ledger.whole("a", "other") is None
    assert ledger.whole("b", "print") is None
    objects.remove(objects.join(ledger.url, "a.bin"))
    assert ledger.whole("a", "print") is None


@pytest.mark.parametrize("published", [False, True], ids=["recorded", "published"])
def test_a_damaged_file_is_an_error_and_not_recreated(ledger: Ledger, published: bool) -> None:
    if published:
        _publish(ledger, {"a": "print"})
    objects.write_bytes(objects.join(ledger.url, "a.bin"), b"12")
    with pytest.raises(DataError, match=r"a\.bin: .*2 bytes.* 4"):
        Ledger(ledger.url).whole("a", "print")


@pytest.mark.parametrize("published", [False, True], ids=["recorded", "published"])
def test_a_changed_file_of_the_same_size_is_an_error(ledger: Ledger, published: bool) -> None:
    if published:
        _publish(ledger, {"a": "print"})
    url = objects.join(ledger.url, "a.bin")
    objects.write_bytes(url, b"1234")  # newer than the record, and the same
    assert Ledger(ledger.url).whole("a", "print") is not None
    objects.write_bytes(url, b"12x4")
    with pytest.raises(DataError, match=r"a\.bin: .*sha256"):
        Ledger(ledger.url).whole("a", "print")


def test_the_manifest_stands_for_all_parts(ledger: Ledger) -> None:
    with pytest.raises(DataError, match=r"manifest\.json"):
        ledger.manifest()
    assert not ledger.finished({"a": "print", "b": "print"})
    assert ledger.finished({"a": "other"}) is None
    made_from = MadeFrom({"data.views": 3}, {"list": InputRecord({"data.seed": 1}, "d")})
    before = _publish(ledger, {"a": "print"}, facts={"note": 1}, made_from=made_from)
    manifest = Ledger(ledger.url).manifest()
    assert [f["n"] for f in manifest.facts()] == [1]
    assert manifest.own == {"note": 1}
    assert manifest.header.made_from == made_from
    assert _publish(Ledger(ledger.url), {"a": "print"}, facts={"note": 1}, made_from=made_from) == before
    assert objects.list_names(objects.join(ledger.url, PARTS)) == []


def test_the_digest_changes_with_a_files_bytes_under_the_same_fingerprint(ledger: Ledger) -> None:
    before = _publish(ledger, {"a": "print"})
    objects.remove(objects.join(ledger.url, "a.bin"))
    again = Ledger(ledger.url)
    assert again.whole("a", "print") is None
    objects.write_bytes(objects.join(ledger.url, "a.bin"), b"5678")
    again.commit("a", "print", {"a.bin": ""}, {"n": 1})
    assert _publish(again, {"a": "print"}) != before


def test_a_published_stage_has_nothing_of_killed_workers_or_earlier_settings(tmp_path: Path) -> None:
    url = str(tmp_path / "stage")

    def made(part: str, fingerprint: str) -> Ledger:
        ledger, file = Ledger(url, (".bin",)), f"deep/{part}-{fingerprint}.bin"
        objects.write_bytes(objects.join(url, file), part.encode())
        ledger.commit(part, fingerprint, {file: ""}, {})
        return ledger

    made("a", "1")
    _publish(made("b", "1"), {"a": "1", "b": "1"})
    made("b", "2")  # of a run that was given up
    objects.write_bytes(objects.join(url, "deep", "c-3.bin"), b"killed before it was recorded")
    worker = subprocess.Popen(["true"])
    worker.wait()
    left = Path(url) / "deep" / f".a.bin.{socket.gethostname()}.{worker.pid}.tmp"
    left.write_bytes(b"half")
    _publish(made("a", "2"), {"a": "2"})
    assert [p for p in objects.walk(url) if not p.startswith("_manifest")] == ["deep/a-2.bin", "manifest.json"]
    assert len(objects.list_names(objects.join(url, "_manifest"))) == 1
    assert not left.exists()


def test_a_late_publisher_cannot_replace_a_newer_runs_manifest() -> None:
    url = f"memory://{uuid.uuid4()}"
    late, new = Ledger(url), Ledger(url)
    assert late.published is None
    assert new.published is None
    late.commit("a", "old", {}, {})
    new.commit("a", "new", {}, {})
    records = late.finished({"a": "old"})
    assert records is not None
    _publish(new, {"a": "new"})
    with pytest.raises(Retryable):
        late.publish(records)
    assert Ledger(url).manifest().records["a"].fingerprint == "new"
    assert objects.list_names(objects.join(url, PARTS)) == []


def test_a_manifest_that_comes_back_is_not_the_one_before() -> None:
    url = f"memory://{uuid.uuid4()}"

    def run(fingerprint: str) -> Ledger:
        ledger = Ledger(url, schema=_schema)
        ledger.commit("a", fingerprint, {}, {}, {"key": ["k"], "sha": [None]})
        _publish(ledger, {"a": fingerprint})
        return ledger

    def tables() -> set[str]:
        return set(objects.list_names(objects.join(url, FOLDER)))

    run("1")
    late, first, its_tables = Ledger(url, schema=_schema), Ledger(url).header(), tables()
    assert late.published is not None
    late.commit("a", "0", {}, {}, {"key": ["k"], "sha": [None]})
    records = late.finished({"a": "0"})
    assert records is not None
    run("2")
    run("1")
    assert Ledger(url).header().digest == first.digest
    assert not tables() & its_tables  # which a late request may remove
    with pytest.raises(Retryable, match="another run"):
        late.publish(records)
    assert Ledger(url).manifest().records["a"].fingerprint == "1"
    assert len(Ledger(url).manifest().rows()) == 1


def test_a_frozen_publisher_removes_nothing_of_a_newer_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = str(tmp_path / "stage")

    def run(fingerprint: str) -> None:
        ledger = Ledger(url, [".bin"])
        name = f"a-{fingerprint}.bin"
        objects.write_bytes(objects.join(url, name), b"x")
        ledger.commit("a", fingerprint, {name: ""}, {})
        _publish(ledger, {"a": fingerprint})

    run("1")
    removing = removal.remove_while

    def frozen(folder: str, names: Iterable[str], goes_on: Callable[[], bool]) -> None:
        monkeypatch.setattr(ledger_module, "remove_while", removing)
        run("1")
        removing(folder, names, goes_on)

    monkeypatch.setattr(ledger_module, "remove_while", frozen)
    run("2")
    record = Ledger(url).whole("a", "1")
    assert record is not None
    assert list(record.files) == ["a-1.bin"]


def test_of_workers_that_find_all_complete_at_once_each_sees_it_published() -> None:
    url = f"memory://{uuid.uuid4()}"
    one, other, third = Ledger(url), Ledger(url), Ledger(url)
    for ledger in (one, other, third):
        assert ledger.published is None
    one.commit("a", "1", {}, {})
    records = other.finished({"a": "1"})
    assert records is not None
    digest = _publish(one, {"a": "1"})
    assert other.publish(records).digest == digest
    assert third.finished({"a": "1"}) is not None  # its record is gone, and it knows why
    assert _publish(third, {"a": "1"}) == digest


def _schema() -> pa.Schema:
    return pa.schema({"key": pa.string(), "part": pa.dictionary(pa.int32(), pa.string()), "sha": pa.binary(32)})


def test_rows_become_a_table_that_a_changed_part_changes_only_its_own_of() -> None:
    url = f"memory://{uuid.uuid4()}"

    def run(fingerprints: Mapping[str, str]) -> list[list[str]]:
        ledger = Ledger(url, schema=_schema)
        for part, fingerprint in fingerprints.items():
            if ledger.whole(part, fingerprint) is None:
                keys = [f"{part}{n}-{fingerprint}" for n in range(3)]
                ledger.commit(part, fingerprint, {}, {}, {"key": keys, "sha": ["ab" * 32, None, "cd" * 32]})
        _publish(ledger, fingerprints)
        return [[row["key"], row["part"]] for row in Ledger(url).manifest().rows().to_pylist()]

    first = run({"b": "1", "a": "1"})
    assert first == [[f"{part}{n}-1", part] for part in "ab" for n in range(3)]
    assert run({"a": "1", "b": "2", "c": "1"})[:3] == first[:3]
    assert run({"b": "2"}) == [[f"b{n}-2", "b"] for n in range(3)]
    table = Ledger(url).manifest().rows(["sha"])
    assert table["sha"].to_pylist() == [bytes.fromhex("ab" * 32), None, bytes.fromhex("cd" * 32)]


def test_what_another_worker_publishes_between_confirming_and_publishing_is_taken_over() -> None:
    url = f"memory://{uuid.uuid4()}"
    one, other = Ledger(url, schema=_schema), Ledger(url, schema=_schema)
    one.commit("a", "1", {}, {}, {"key": ["k"], "sha": [None]})
    records = one.finished({"a": "1"})
    assert records is not None
    one.confirm({"a": "1"})
    digest = _publish(other, {"a": "1"})  # and removes the record
    assert one.publish(records).digest == digest


def test_a_part_whose_file_is_missing_is_not_recorded(ledger: Ledger) -> None:
    with pytest.raises(DataError, match=r"b\.bin"):
        ledger.commit("b", "print", {"b.bin": ""}, {})
    assert ledger.record("b", "print") is None


def test_a_manifest_of_an_earlier_release_is_refused_with_the_way_out(tmp_path: Path) -> None:
    objects.write_json(str(tmp_path / "manifest.json"), {"version": 1, "digest": "", "parts": {}})
    with pytest.raises(DataError, match=r"captionless migrate"):
        read_header(str(tmp_path))
