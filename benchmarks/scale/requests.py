"""Requests that a run's storage gets, counted by the storage: when all is made, and when a hundred workers find nothing
to do.

    python -m benchmarks.scale.requests 876000

The storage is an S3 server (moto) on the wire. Where only reruns are counted the run is made in a local folder first,
which is then copied to the server.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.measure import table
from benchmarks.scale.listing import BUCKET, write_manifest
from benchmarks.scale.made_up import compute_neighbours, in_place_of_the_work, spec_of
from captionless.spec.alignment import AlignmentSpec
from captionless.stages import embed, listing, pack
from captionless.stages.work_items import Outcome, Shard
from tests.store.faulty_s3 import FaultyS3, reached_by_environment

WORKERS = 100
_OUT = f"s3://{BUCKET}/run"
_OWN = (".tar", ".index", ".npy")

Worker = Callable[[AlignmentSpec, Shard], Outcome]
STAGES: dict[str, Worker] = {
    "list": lambda spec, shard: listing.run(spec),
    "pack": pack.run,
    "embed": embed.run,
    "neighbours": compute_neighbours,
}


def main() -> None:
    print(rerun_table([int(argument) for argument in sys.argv[1:]]))


def made_table(counts: Sequence[int]) -> str:
    """Requests of one worker that makes each stage, at every number of objects, in 55 categories."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    found: dict[str, list[Any]] = {name: [name] for name in STAGES}
    for count in counts:
        with (
            tempfile.TemporaryDirectory() as folder,
            in_place_of_the_work(),
            mock.patch("benchmarks.scale.listing.CATEGORIES", 55),
            reached_by_environment(BUCKET) as server,
        ):
            write_manifest(Path(folder), count)
            spec = spec_of(f"{folder}/list.jsonl", _OUT)
            for name, run in STAGES.items():
                server.requests.clear()
                assert run(spec, Shard()).finished
                found[name] += [f"{len(server.requests):,}", _by_method(server)]
    headings = [heading for count in counts for heading in (f"{count:,} objects", "of which")]
    return table(["", *headings], list(found.values()))


def rerun_table(counts: Sequence[int]) -> str:
    """Requests of each of a hundred workers who find everything made: the most of any worker's."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    rows = [
        (f"{count:,}", name, *(f"{n:,}" for n in found))
        for count in counts
        for name, found in reruns(count, WORKERS).items()
    ]
    return table(("objects", "", "for the files of its own parts", "others"), rows)


def reruns(count: int, workers: int) -> dict[str, tuple[int, int]]:
    """By stage, the most requests of any of so many workers who find everything made: those for the files of its own
    parts, and all others."""
    found: dict[str, tuple[int, int]] = {}
    with tempfile.TemporaryDirectory() as folder, in_place_of_the_work():
        write_manifest(Path(folder), count)
        for run in STAGES.values():
            run(spec_of(f"{folder}/list.jsonl", f"{folder}/run"), Shard())
        with reached_by_environment(BUCKET) as server:
            _copy(Path(folder), "run")
            for name, run in STAGES.items():
                shares = [Shard()] if name == "list" else [Shard(i, workers) for i in range(workers)]
                counted = [_rerun(server, run, spec_of(f"{folder}/list.jsonl", _OUT), shard) for shard in shares]
                found[name] = max(own for own, _ in counted), max(others for _, others in counted)
    return found


def _rerun(server: FaultyS3, run: Worker, spec: AlignmentSpec, shard: Shard) -> tuple[int, int]:
    server.requests.clear()
    done = run(spec, shard)
    assert done.finished
    assert not done.made
    own = sum(path.partition("?")[0].endswith(_OWN) for _, path in server.requests)
    return own, len(server.requests) - own


def _by_method(server: FaultyS3) -> str:
    counts = Counter("list" if method == "GET" and "list-type" in path else method for method, path in server.requests)
    return ", ".join(f"{count:,} {method}" for method, count in sorted(counts.items()))


def _copy(folder: Path, name: str) -> None:
    """Copies a run's files to the server's memory, oldest first: the manifests' files are newer than what they name."""
    import moto.s3.models

    bucket = moto.s3.models.s3_backends["123456789012"]["aws"]
    files = [path for path in (folder / name).rglob("*") if path.is_file()]
    for path in sorted(files, key=lambda each: each.stat().st_mtime_ns):
        bucket.put_object(BUCKET, str(path.relative_to(folder)), path.read_bytes())


if __name__ == "__main__":
    os.environ.setdefault("CAPTIONLESS_QUIET", "1")
    main()
