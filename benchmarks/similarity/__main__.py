"""Everything about similarity in one run: `python -m benchmarks.similarity`, about 20 minutes on two cores.

Writes the tables of `benchmarks/similarity/README.md`; `--only` prints single sections and writes nothing.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.measure import Section, options, write_page
from benchmarks.similarity import growth, kernels, memory, scale, storage, workers

PAGE = Path(__file__).with_name("README.md")


def main() -> None:
    parser = options("benchmarks.similarity", __doc__, rounds=7)
    parser.add_argument("--objects", type=int, default=4096, help="objects of the category (default: 4096)")
    parser.add_argument("--folder", type=Path, help="where data sets are made, and kept (default: gone afterwards)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        n, rounds = arguments.objects, arguments.rounds
        sections: dict[str, Section] = {
            "i2i": ("I2I", lambda: kernels.i2i_table(n, rounds)),
            "sizes": ("I2I by the number of objects", lambda: kernels.sizes_table(rounds)),
            "i2l": ("(I2L)²", lambda: kernels.i2l_table(n, rounds)),
            "workers": ("Workers", lambda: workers.speed_up(folder / "large", 20_000, 3)),
            "killed": ("A worker is killed", lambda: workers.killed(folder / "killed", 3000, 3)),
            "growth": ("When the data set changes", lambda: growth.growth_table(folder / "growth")),
            "function": ("Memory of the function", lambda: memory.memory_table((5_000, 20_000))),
            "memory": ("Memory of a worker", lambda: workers.memory(folder / "large", 20_000)),
            "storage": ("Storage and lookup", lambda: storage.lookup_table(folder / "storage", 51)),
            "scale": (
                "Scale",
                lambda: scale.scale_table(str(workers.dataset(folder / "large", 20_000) / "embed"), folder),
            ),
        }
        write_page(PAGE, "python -m benchmarks.similarity", sections, arguments.only or [])


if __name__ == "__main__":
    main()
