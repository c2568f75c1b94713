"""An object that is taken down is gone from a whole run: figures, outcomes, report, models' records and logs."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from captionless.stages import migration
from captionless.store.embeddings import open_embeddings
from tests.earlier_run import spec_of, unpack
from tests.flow.conftest import call

pytestmark = pytest.mark.flow


def _text(path: Path) -> bytes:
    """A file's content, decoded where its format compresses."""
    data = path.read_bytes()
    if path.suffix == ".parquet":
        return str(pq.read_table(io.BytesIO(data)).to_pydict()).encode()
    if path.suffix in (".npz", ".pt"):
        with zipfile.ZipFile(path) as archive:
            return b"".join(_plain(archive.read(name)) for name in archive.namelist())
    return _plain(data)


def _plain(data: bytes) -> bytes:
    """Also of arrays of text, which numpy stores as UTF-32."""
    return data + data.replace(b"\0\0\0", b"")


def test_nothing_of_a_denied_test_object_is_left_in_a_whole_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(unpack(tmp_path))
    run = tmp_path / "finished"
    migration.migrate(spec_of(tmp_path), False, lambda line: None)
    before = call("run", "spec.yaml", cwd=tmp_path)
    assert before.returncode == 0, before.stderr
    key = str(open_embeddings(str(run / "embed"), "test").keys[0])
    assert any(key.encode() in _text(p) for p in (run / "eval").rglob("*") if p.is_file())
    (tmp_path / "denied.txt").write_text(f"{key}\n")
    denied = ["spec.yaml", "--set", "data.deny=denied.txt"]
    early = call("prune", *denied, cwd=tmp_path)
    assert early.returncode == 65
    assert "rerun" in early.stderr
    whole = call("run", *denied, cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    assert (run / "eval" / "report.html").exists()
    pruned = call("prune", *denied, "--json", cwd=tmp_path)
    assert pruned.returncode == 0, pruned.stderr
    report = json.loads(pruned.stdout)
    assert (report["found"], report["keys"]) == ([], 1)
    left = [p for p in sorted(run.rglob("*")) if p.is_file() and key.encode() in _text(p)]
    assert [p.parent.name for p in left] == ["list"]
