"""Everything about reading training data in one run: `python -m benchmarks.reader`, about ten minutes on two cores.

Writes the tables of `benchmarks/reader/README.md`; `--only` prints single sections and writes nothing.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.measure import Section, options, write_page
from benchmarks.reader import loops, samples, steps, views


def main() -> None:
    parser = options("benchmarks.reader", __doc__, rounds=7)
    parser.add_argument("--objects", type=int, default=1024, help="objects of the data set (default: 1024)")
    parser.add_argument("--folder", type=Path, help="where data sets are made, and kept (default: gone afterwards)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        n, rounds = arguments.objects, arguments.rounds
        sections: dict[str, Section] = {
            "local": ("Whole samples, local", lambda: samples.local_table(folder / "samples", n, rounds)),
            "views": ("One view of 30", lambda: views.views_table(folder / "views", rounds)),
            "s3": ("Over S3", lambda: samples.s3_table(folder / "remote", n // 4, rounds)),
            "step": ("A training step on a CPU", lambda: steps.steps_table(folder / "steps")),
            "loop": ("The loop beside its steps alone", lambda: loops.loops_table(folder / "loop", rounds)),
        }
        page = Path(__file__).with_name("README.md")
        write_page(page, "python -m benchmarks.reader", sections, arguments.only or [])


if __name__ == "__main__":
    main()
