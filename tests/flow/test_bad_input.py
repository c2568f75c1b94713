"""Invalid or damaged input: one line that names it, the exit code, no traceback, nothing lost."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import trimesh

from captionless.store.ledger import Ledger
from captionless.store.shards import ShardReader, decode_array, encode_array, write_shard
from tests.flow.conftest import TINY, Finished, call, command, comparable, environment, write_spec

pytestmark = pytest.mark.flow


def _error(done: subprocess.CompletedProcess[str], code: int, *parts: str) -> str:
    """The one line on stderr that begins with `captionless:`; the rest of stderr is the view's."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("captionless:")]
    assert len(lines) == 1, done.stderr
    for part in parts:
        assert part in lines[0]
    return lines[0]


def _outputs(folder: Path) -> dict[str, bytes]:
    files = (p for p in folder.rglob("*") if p.is_file() and p.name != ".lock" and "logs" not in p.parts)
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


def test_a_typo_in_the_spec(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, train={**TINY["train"], "stps": 5})
    _error(call("run", str(spec), cwd=tmp_path), 64, "train.stps", '"steps"')
    assert not (tmp_path / "out").exists()


def test_an_unknown_clip_model(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, clip={"model": "VitB-32"})
    _error(call("run", str(spec), cwd=tmp_path), 64, "clip.model", "VitB-32", '"ViT-B-32"')
    spec = write_spec(tmp_path, clip={"model": "ViT-B-32", "pretrained": "laion2b_s34b_b79"})
    _error(call("run", str(spec), cwd=tmp_path), 64, "laion2b_s34b_b79", '"laion2b_s34b_b79k"')
    assert not (tmp_path / "out" / "pack").exists()


def test_a_missing_mesh_and_an_empty_one(tmp_path: Path) -> None:
    names = []
    for number in range(6):
        names.append(f"box{number}.glb")
        trimesh.creation.box((1, 1 + number, 2)).export(tmp_path / names[-1])
    (tmp_path / "empty.obj").write_text("")
    lines = [f'{{"key": "{n[:-4]}", "category": "box", "mesh": "{n}", "source": "t", "licence": "CC0"}}' for n in names]
    lines.append('{"key": "ghost", "category": "box", "mesh": "ghost.glb", "source": "t", "licence": "CC0"}')
    lines.append('{"key": "hollow", "category": "box", "mesh": "empty.obj", "source": "t", "licence": "CC0"}')
    (tmp_path / "manifest.jsonl").write_text("\n".join(lines))
    source = {"kind": "manifest", "url": str(tmp_path / "manifest.jsonl")}
    data = {**TINY["data"], "source": source, "shardObjects": 64, "testFraction": 0.4}
    train = {**TINY["train"], "weights": ["uniform", "i2i"], "batchSize": 2}
    spec = write_spec(tmp_path, data=data, train=train)
    broken = call("run", str(spec), cwd=tmp_path)
    assert broken.returncode == 65, broken.stderr
    assert "Traceback" not in broken.stderr
    lines = [line for line in broken.stderr.splitlines() if line.startswith("captionless: pack:")]
    assert all("data.maxSkipped" in line for line in lines)
    assert "ghost" in "".join(lines)
    assert "hollow" in "".join(lines)
    allowed = call("run", str(spec), "--only", "pack", "--set", "data.maxSkipped=2", cwd=tmp_path)
    assert allowed.returncode == 0, allowed.stderr
    rows = Ledger(str(tmp_path / "out" / "pack")).manifest().rows(["key", "reason"]).to_pylist()
    assert sorted(row["key"] for row in rows if row["reason"]) == ["ghost", "hollow"]


def test_a_truncated_shard(finished: Finished, tmp_path: Path) -> None:
    spec = write_spec(tmp_path)
    for stage in ("list", "pack"):
        shutil.copytree(finished.folder / "out" / stage, tmp_path / "out" / stage)
    shard = next((tmp_path / "out" / "pack" / "train").glob("*.tar"))
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2])
    before = _outputs(tmp_path / "out")
    _error(call("run", str(spec), cwd=tmp_path), 65, str(shard.relative_to(tmp_path / "out")))
    assert before.items() <= _outputs(tmp_path / "out").items()
    _error(call("embed", str(spec), cwd=tmp_path), 65, str(shard.name))
    shard.unlink()
    assert call("run", str(spec), "--only", "pack", cwd=tmp_path).returncode == 0
    assert shard.read_bytes() == whole


def test_a_nan_embedding(finished: Finished, tmp_path: Path) -> None:
    spec = write_spec(tmp_path)
    for stage in ("list", "pack", "embed"):
        shutil.copytree(finished.folder / "out" / stage, tmp_path / "out" / stage)
    url = str(next((tmp_path / "out" / "embed" / "train").glob("*.tar")))
    samples = list(ShardReader(url).samples())
    key, members = samples[0]
    views = decode_array(members["views.npy"], key).copy()
    views[2, 5] = np.nan
    members["views.npy"] = encode_array(views)
    write_shard(url, samples)
    _error(call("run", str(spec), cwd=tmp_path), 65, url.removesuffix(".tar"))
    _error(call("similarity", str(spec), "--metric", "i2i", cwd=tmp_path), 65, key, "view 2", "NaN")


def test_a_full_disk_loses_nothing_and_the_run_resumes_when_there_is_room(finished: Finished, tmp_path: Path) -> None:
    """On a real, small file system of its own; the second call is in the same namespace, after making room."""
    out = tmp_path / "small"
    out.mkdir()
    spec = write_spec(tmp_path, output=str(out / "run"))
    run = " ".join(command("run", str(spec)))
    script = f"""
        mount -t tmpfs -o size=3m tmpfs {out} || exit 99
        head -c 2500000 /dev/zero > {out}/ballast
        {run} 2> {tmp_path}/first.err; echo $? > {tmp_path}/first.code
        find {out}/run -name '.*.tmp' > {tmp_path}/left
        rm {out}/ballast; mount -o remount,size=200m {out}
        {run} 2> {tmp_path}/second.err; echo $? > {tmp_path}/second.code
        cp {out}/run/eval/results.json {tmp_path}/
    """
    flags = ["-m"] if os.geteuid() == 0 else ["-rm"]
    done = subprocess.run(
        ["unshare", *flags, "sh", "-c", script], env=environment(), cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    first = (tmp_path / "first.err").read_text()
    code = int((tmp_path / "first.code").read_text())
    line = _error(subprocess.CompletedProcess([], code, "", first), 1)
    assert os.strerror(errno.ENOSPC).lower() in line.lower()
    assert (tmp_path / "left").read_text() == ""
    assert (tmp_path / "second.code").read_text().strip() == "0", (tmp_path / "second.err").read_text()
    assert comparable((tmp_path / "results.json").read_bytes()) == finished.results


def test_memory_output_and_unwritable_places(tmp_path: Path) -> None:
    spec = write_spec(tmp_path, output="memory://x")
    _error(call("run", str(spec), cwd=tmp_path), 64, "output", "memory://x")
    (tmp_path / "file").write_text("")
    spec = write_spec(tmp_path, output=str(tmp_path / "file" / "x"))
    _error(call("run", str(spec), cwd=tmp_path), 64, str(tmp_path / "file"))


def test_usage_errors_are_2(tmp_path: Path) -> None:
    assert call("run", cwd=tmp_path).returncode == 2
    assert call("similarity", "--metric", "i2x", "x.yaml", cwd=tmp_path).returncode == 2
    assert call("pack", "x.yaml", "--shard", "3/2", cwd=tmp_path).returncode in (2, 64)


def test_a_usage_error_repeats_no_signature(tmp_path: Path) -> None:
    wrong = call("data", "export", "x.yaml", "--out", "https://ann:pa55word@h/o?X-Amz-Signature=5ecre7", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "--out: https://***@h/o?X-Amz-Signature=***" in wrong.stderr
