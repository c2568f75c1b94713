"""What a large data set takes: `python -m benchmarks.scale`, hours at the sizes of the page.

Writes the tables of `benchmarks/scale/README.md`; `--only` prints single sections and writes nothing.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import Section, options, write_page
from benchmarks.scale import growth, listing, requests, steps

PAGE = Path(__file__).with_name("README.md")
_LINEAR = (10_000, 100_000)


def main() -> None:
    parser = options("benchmarks.scale", __doc__)
    parser.add_argument("--objects", type=int, nargs="+", default=[876_000, 10_000_000], help="of the stages' steps")
    parser.add_argument("--reruns", type=int, nargs="+", default=[876_000], help="objects of the workers' reruns")
    parser.add_argument("--growing", type=int, default=52_000, help="objects of the data set that changes")
    parser.add_argument("--rendered", type=int, default=5_200, help="and of the one whose objects are rendered")
    arguments = parser.parse_args()
    growing, rendered = arguments.growing, arguments.rendered
    sections: dict[str, Section] = {
        "steps": ("Every stage's bookkeeping", lambda: steps.steps_table(arguments.objects)),
        "source": ("Requests to the source", lambda: listing.requests_table(_LINEAR)),
        "requests": ("Requests to make it all", lambda: requests.made_table(_LINEAR)),
        "reruns": ("Requests when there is nothing to do", lambda: requests.rerun_table(arguments.reruns)),
        "growth": ("When the data set changes", lambda: _growth(growing, real=False)),
        "rendered": ("The same, rendered and embedded", lambda: _growth(rendered, real=True)),
        "evaluation": ("Evaluation", _evaluation),
    }
    write_page(PAGE, "python -m benchmarks.scale", sections, arguments.only or [])


def _growth(count: int, real: bool) -> str:
    with tempfile.TemporaryDirectory() as folder:
        return growth.growth_table(Path(folder), count, count // 52, real)


def _evaluation() -> str:
    """In a process of its own, whose peak of memory it tells."""
    command = [sys.executable, "-m", "benchmarks.scale.evaluation", "--encoded", "200", "--ranked", "3000"]
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return f"`{' '.join(['python', *command[1:]])}`:\n\n```\n{found}```\n"


if __name__ == "__main__":
    os.environ.setdefault("CAPTIONLESS_QUIET", "1")
    main()
