"""What killed writers leave is removed, and nothing of those that live."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from captionless.store import objects
from captionless.store.atomic_writes import open_write
from captionless.store.sweeping import DAY_SECONDS, sweep
from tests.store.faulty_s3 import Fault, FaultyS3, reached_by_environment

BUCKET = "captionless-sweeping"


@pytest.fixture(scope="module")
def s3() -> Iterator[FaultyS3]:
    with reached_by_environment(BUCKET) as server:
        yield server


@pytest.fixture(autouse=True)
def no_spooled_files(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of processes that other tests kill at the same time are not counted here."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("spooled")))


def _uploads(s3: FaultyS3) -> set[str]:
    return {upload["Key"] for upload in s3.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", ())}


def test_uploads_that_were_never_completed_are_aborted_below_the_folder_only(s3: FaultyS3) -> None:
    objects.write_bytes(f"s3://{BUCKET}/run/whole.bin", b"whole")
    for key in ("run/a.bin", "run/deep/b.bin", "run-2/c.bin"):
        upload = s3.client.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
        s3.client.upload_part(Bucket=BUCKET, Key=key, UploadId=upload, PartNumber=1, Body=b"half")
    assert sweep(f"s3://{BUCKET}/run", older=100 * 365 * DAY_SECONDS) == 0
    assert sweep(f"s3://{BUCKET}/run") == 2  # moto's uploads all began in 2010
    assert _uploads(s3) == {"run-2/c.bin"}
    assert objects.walk(f"s3://{BUCKET}/run") == ["whole.bin"]


@pytest.mark.parametrize(("status", "code"), [(403, "AccessDenied"), (501, "NotImplemented")])
def test_a_store_that_does_not_list_uploads_is_left_alone(s3: FaultyS3, status: int, code: str) -> None:
    s3.faults.append(Fault(status, code, times=1000, hits=lambda method, path: "uploads" in path))
    assert sweep(f"s3://{BUCKET}/run") == 0
    s3.faults.clear()


def test_files_of_writers_on_other_hosts_are_removed_when_they_are_old(tmp_path: Path) -> None:
    old, new, other = (tmp_path / f".{name}.tmp" for name in ("a.bin.a.host.12", "b.bin.a.host.12", "somebody's"))
    for file in (old, new, other):
        file.write_bytes(b"half")
        os.utime(file, (0, 0))
    os.utime(new)
    assert sweep(str(tmp_path)) == 1
    assert set(tmp_path.iterdir()) == {new, other}
    assert sweep(str(tmp_path), older=0.0) == 1
    assert set(tmp_path.iterdir()) == {other}


def test_files_of_writers_that_live_here_stay_however_little_is_waited(tmp_path: Path) -> None:
    with open_write(str(tmp_path / "x.bin")) as file:
        file.write(b"half")
        assert sweep(str(tmp_path), older=0.0) == 0
    assert objects.read_bytes(str(tmp_path / "x.bin")) == b"half"


def test_a_claim_that_nobody_completes_is_removed_after_a_day(tmp_path: Path) -> None:
    claim = tmp_path / f".manifest.json.{'0f' * 16}.next"
    claim.write_bytes(b"{}")
    assert sweep(str(tmp_path), older=0.0) == 0
    os.utime(claim, (0, 0))
    assert sweep(str(tmp_path)) == 1
    assert not claim.exists()


_UPLOAD = """
import sys
from captionless.runtime import temporary_files
from captionless.store.atomic_writes import open_write
import tempfile
with open_write(sys.argv[1]) as file, tempfile.TemporaryDirectory(prefix=temporary_files.prefix()):
    print("open", flush=True)
    sys.stdin.read()
"""


def test_spooled_files_of_killed_processes_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    processes = []
    for _ in range(2):
        command = [sys.executable, "-c", _UPLOAD, f"memory://{tmp_path.name}/x.bin"]
        environment = {**os.environ, "TMPDIR": str(tmp_path)}
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        processes.append(process)
    dead, alive = processes
    dead.send_signal(signal.SIGKILL)
    dead.wait()
    assert len(list(tmp_path.iterdir())) == 4
    assert sweep(f"memory://{tmp_path.name}") == 2
    assert {path.name.split("-")[2] for path in tmp_path.iterdir()} == {str(alive.pid)}
    alive.communicate()
    assert alive.returncode == 0
    assert list(tmp_path.iterdir()) == []
