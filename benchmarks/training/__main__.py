"""Everything about training in one run: `python -m benchmarks.training`.

Writes the tables of `benchmarks/training/README.md`; `--only` prints single sections and writes nothing.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.measure import Section, options, write_page
from benchmarks.training import killed, loss, rank, search, step


def main() -> None:
    parser = options("benchmarks.training", __doc__, rounds=5)
    parser.add_argument("--objects", type=int, default=876_000, help="of the data set of `rank` (default: 876,000)")
    arguments = parser.parse_args()
    scratch = tempfile.TemporaryDirectory()
    sections: dict[str, Section] = {
        "step": ("Training step", lambda: step.step_table(arguments.rounds)),
        "encoders": ("Encoders", lambda: step.encoders_table(arguments.rounds)),
        "loss": ("Loss", lambda: loss.loss_table(arguments.rounds)),
        "search": ("Search for hard negatives", search.search_table),
        "rank": ("A rank of a large training", lambda: rank.rank_table(Path(scratch.name), arguments.objects)),
        "killed": ("Killed at a random moment", lambda: killed.killed_table(2 * arguments.rounds)),
    }
    with scratch:
        page = Path(__file__).with_name("README.md")
        write_page(page, "python -m benchmarks.training", sections, arguments.only or [])


if __name__ == "__main__":
    main()
