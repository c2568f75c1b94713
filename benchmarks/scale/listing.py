"""The listing at any size: what it takes the first time and when nothing has changed, and the requests for it on S3.

    python -m benchmarks.scale.listing 876000 10000000

The manifest names files that do not exist; their versions are made up where the storage would be asked for them. All
else is the stage as it is. Each measurement is a process of its own. Requests are counted by S3's server (moto), for a
folder of as many meshes.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.measure import resident, table
from captionless.spec import load
from captionless.spec.alignment import AlignmentSpec
from captionless.stages import listing
from captionless.store import file_index, scan
from captionless.store.scan import Found

CATEGORIES = 1156
LICENCES = ("by", "by-sa", "cc0")
BUCKET = "captionless-scale"


def main() -> None:
    if sys.argv[1] == "--one":
        print(json.dumps(_one(Path(sys.argv[2]))))
        return
    counts = [int(argument) for argument in sys.argv[1:]]
    rows = []
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            write_manifest(Path(folder), count)
            for what in ("first", "unchanged"):
                command = [sys.executable, "-m", "benchmarks.scale.listing", "--one", folder]
                found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
                rows.append((f"{count:,}", what, *found.values()))
    print(table(("objects", "listing", "core seconds", "peak MB", "table MB", "shards MB", "made"), rows))
    print(requests_table((10_000, 100_000)))


def requests_table(counts: Sequence[int]) -> str:
    """Requests for listing so many meshes on S3."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    return table(("meshes on S3", "requests, first", "unchanged", "one more"), [_requests(n) for n in counts])


def write_manifest(folder: Path, count: int) -> None:
    """A manifest of `count` objects, as Objaverse's might be."""
    with open(folder / "list.jsonl", "w") as file:
        for number in range(count):
            name = f"{number:08x}"
            line = {
                "key": f"{number % 997:03d}/{name}", "category": f"class {number * 7919 % CATEGORIES:04d}",
                "mesh": f"glbs/{number % 997:03d}/{name}.glb", "source": f"https://example.org/models/{name}",
                "licence": LICENCES[number % len(LICENCES)], "attributes": {"name": f"object {number}"},
            }  # fmt: skip
            file.write(json.dumps(line) + "\n")


def spec_of(kind: str, url: str, output: str) -> AlignmentSpec:
    return load.build_spec(
        {"output": output, "data": {"source": {"kind": kind, "url": url}}, "train": {"weights": ["uniform"]}}
    )


def made_up(urls: Sequence[str], guard: Any = None) -> Iterator[list[Found]]:
    """Versions of files that do not exist, as S3 would list them: different content, sizes that some have in common."""
    for start in range(0, len(urls), 1000):
        digests = [(url, hashlib.md5(url.encode()).hexdigest()) for url in urls[start : start + 1000]]
        yield [Found(url, f"etag:{digest}-{(size := 1 + int(digest[:5], 16))}", size) for url, digest in digests]


def _one(folder: Path) -> dict[str, str]:
    """Lists the manifest in a folder; in this process."""
    spec = spec_of("manifest", f"{folder}/list.jsonl", f"{folder}/out")
    began = time.process_time()
    with (
        mock.patch.object(scan, "look_up", made_up),
        mock.patch.object(file_index, "_is_of_content", return_value=True),
    ):
        outcome = listing.run(spec)
    return {
        "seconds": f"{time.process_time() - began:.0f}",
        "peak": f"{resident('VmHWM') / 1e6:.0f}",
        "table": f"{_size(folder / 'out' / 'list', '*.parquet'):.0f}",
        "shards": f"{_size(folder / 'out' / 'list', '_manifest/*.json'):.1f}",
        "made": f"{outcome.made:,}",
    }


def _size(folder: Path, pattern: str) -> float:
    return sum(path.stat().st_size for path in folder.glob(pattern)) / 1e6


def _requests(count: int) -> tuple[str, ...]:
    """Requests that the source gets for a listing."""
    import moto.s3.models

    from tests.store.faulty_s3 import reached_by_environment

    with (
        reached_by_environment(BUCKET) as server,
        mock.patch.object(scan, "_REQUESTS", 2),  # moto goes through all keys for each
        tempfile.TemporaryDirectory() as out,
    ):
        bucket = moto.s3.models.s3_backends["123456789012"]["aws"]

        def put(number: int) -> None:
            bucket.put_object(BUCKET, f"shapes/c{number % 55:02d}/{number:07d}/model.obj", f"v {number}".encode())

        for number in range(count):
            put(number)
        spec, found = spec_of("folder", f"s3://{BUCKET}/shapes", out), []
        for added in (0, 0, 1):
            for number in range(count, count + added):
                put(number)
            server.requests.clear()
            listing.run(spec)
            found.append(f"{len(server.requests):,}")
    return f"{count:,}", *found


if __name__ == "__main__":
    os.environ.setdefault("CAPTIONLESS_QUIET", "1")
    main()
