"""What the bookkeeping of every stage takes, step by step, each in a process of its own:

python -m benchmarks.scale.steps 876000 10000000
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.measure import resident, table
from benchmarks.scale.listing import write_manifest
from benchmarks.scale.made_up import compute_neighbours, in_place_of_the_work, spec_of
from captionless.spec.alignment import AlignmentSpec
from captionless.stages import embed, listing, pack
from captionless.stages.work_items import Outcome, Shard
from captionless.store import objects
from captionless.store.embeddings import open_embeddings

WORKERS = 100

Step = Callable[[AlignmentSpec], object]

_OPENING = "opening the embeddings"

STEPS: dict[str, Step] = {
    "list": listing.run,
    "list, nothing new": listing.run,
    "pack: all shards, records, manifest": pack.run,
    f"pack, nothing new: one worker of {WORKERS}": lambda spec: pack.run(spec, Shard(0, WORKERS)),
    "embed: all shards, records, manifest": embed.run,
    f"embed, nothing new: one worker of {WORKERS}": lambda spec: embed.run(spec, Shard(0, WORKERS)),
    _OPENING: lambda spec: open_embeddings(objects.join(spec.root, "embed"), "all"),
    "neighbours: all blocks, records, manifest": lambda spec: compute_neighbours(spec, Shard()),
    f"neighbours, nothing new: one worker of {WORKERS}": lambda spec: compute_neighbours(spec, Shard(0, WORKERS)),
}


def main() -> None:
    if sys.argv[1] == "--one":
        print(json.dumps(one(Path(sys.argv[2]), sys.argv[3])))
    else:
        print(steps_table([int(argument) for argument in sys.argv[1:]]))


def steps_table(counts: Sequence[int]) -> str:
    """Seconds and memory of every step, at each number of objects."""
    rows = [[name] for name in STEPS]
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            write_manifest(Path(folder), count)
            for row in rows:
                command = [sys.executable, "-m", "benchmarks.scale.steps", "--one", folder, row[0]]
                found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
                row += [found["seconds"], found["beside"], found["peak"]]
                print(row[0], found, file=sys.stderr, flush=True)
    headings = [f"{count:,}: {what}" for count in counts for what in ("core seconds", "MB beside", "MB in all")]
    return table(["", *headings], rows)


def one(folder: Path, name: str) -> dict[str, str]:
    """Does a step of the run in a folder, in this process."""
    spec = spec_of(f"{folder}/list.jsonl", f"{folder}/out")
    if name == _OPENING:  # libraries' own memory is not that of the objects, of which none is in this split
        open_embeddings(objects.join(spec.root, "embed"), "none")
    with in_place_of_the_work():
        Path("/proc/self/clear_refs").write_text("5")  # what was used at most is counted anew
        before, began = resident("VmRSS"), time.process_time()
        done = STEPS[name](spec)
        seconds, peak = time.process_time() - began, resident("VmHWM")
    if isinstance(done, Outcome):
        assert done.finished
        assert not done.made or "nothing new" not in name
    return {
        "seconds": f"{seconds:.1f}" if seconds < 100 else f"{seconds:.0f}",
        "beside": f"{(peak - before) / 1e6:,.0f}",
        "peak": f"{peak / 1e6:,.0f}",
    }


if __name__ == "__main__":
    os.environ.setdefault("CAPTIONLESS_QUIET", "1")
    main()
