"""Records of parts: whole, missing, damaged, changed; a manifest only over whole parts."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from captionless.errors import DataError
from captionless.store import objects
from captionless.store.ledger import Ledger


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    ledger = Ledger(str(tmp_path / "stage"))
    objects.write_bytes(objects.join(ledger.url, "a.bin"), b"1234")
    ledger.commit("a", "print", {"a.bin": ""}, {"n": 1})
    return ledger


def test_a_part_is_whole_until_its_fingerprint_or_files_change(ledger: Ledger) -> None:
    record = ledger.whole("a", "print")
    assert record is not None
    assert record.facts == {"n": 1}
    assert ledger.whole("a", "other") is None
    assert ledger.whole("b", "print") is None
    objects.remove(objects.join(ledger.url, "a.bin"))
    assert ledger.whole("a", "print") is None


def test_a_damaged_file_is_an_error_and_not_recreated(ledger: Ledger) -> None:
    objects.write_bytes(objects.join(ledger.url, "a.bin"), b"12")
    with pytest.raises(DataError, match=r"a\.bin: .*2 bytes.* 4"):
        ledger.whole("a", "print")


def test_a_changed_file_of_the_same_size_is_an_error(ledger: Ledger) -> None:
    url = objects.join(ledger.url, "a.bin")
    objects.write_bytes(url, b"1234")  # newer than the record, and the same
    assert ledger.whole("a", "print") is not None
    objects.write_bytes(url, b"12x4")
    with pytest.raises(DataError, match=r"a\.bin: .*sha256"):
        ledger.whole("a", "print")


def test_the_manifest_stands_for_all_parts(ledger: Ledger) -> None:
    with pytest.raises(DataError, match=r"manifest\.json"):
        ledger.manifest()
    assert not ledger.finished({"a": "print", "b": "print"})
    finished = ledger.finished({"a": "print"})
    assert finished is not None
    assert finished["a"].facts["n"] == 1
    assert ledger.finished({"a": "other"}) is None
    ledger.publish({"a": "print"}, {"note": 1})
    manifest = ledger.manifest()
    assert [f["n"] for f in manifest.facts()] == [1]
    assert manifest.own == {"note": 1}
    before = manifest.digest
    ledger.publish({"a": "print"}, {"note": 1})
    assert ledger.manifest().digest == before


def test_a_published_stage_has_nothing_of_killed_workers(ledger: Ledger) -> None:
    worker = subprocess.Popen(["true"])
    worker.wait()
    left = Path(ledger.url) / "deep" / f".a.bin.{socket.gethostname()}.{worker.pid}.tmp"
    left.parent.mkdir()
    left.write_bytes(b"half")
    ledger.publish({"a": "print"})
    assert not left.exists()
    assert ledger.whole("a", "print") is not None


def test_a_part_whose_file_is_missing_is_not_recorded(ledger: Ledger) -> None:
    with pytest.raises(DataError, match=r"b\.bin"):
        ledger.commit("b", "print", {"b.bin": ""}, {})
    assert ledger.record("b") is None
