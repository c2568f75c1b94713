"""Exact ranks in a large gallery, beside a matrix product of that size and faiss: `python -m benchmarks.retrieval`.

Writes the table of `benchmarks/retrieval/README.md`; `--only` prints it and writes nothing. A gallery of a million
takes 2 GB, the product's result 4 GB more.
"""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import Section, alternately, most_beside, options, table, write_page
from captionless.eval import ranking, retrieval

_WIDTH = 512
_CHECKED = 50  # queries whose ranks are held against float64


def main() -> None:
    parser = options("benchmarks.retrieval", __doc__, rounds=5)
    parser.add_argument("--gallery", type=int, default=1_000_000, help="items (default: 1,000,000)")
    parser.add_argument("--queries", type=int, default=1000, help="queries (default: 1,000)")
    arguments = parser.parse_args()
    sections: dict[str, Section] = {
        "gallery": (
            "A large gallery",
            lambda: gallery_table(arguments.gallery, arguments.queries, arguments.rounds),
        )
    }
    write_page(Path(__file__).with_name("README.md"), "python -m benchmarks.retrieval", sections, arguments.only or [])


def gallery_table(items: int, queries: int, rounds: int) -> str:
    """Time and memory of `retrieval.gallery`, of one matrix product, and of faiss' exact index for ten neighbours."""
    rng = np.random.default_rng(0)
    gallery = rng.standard_normal((items, _WIDTH), dtype=np.float32)
    gallery /= np.linalg.norm(gallery, axis=1, keepdims=True)
    relevant = rng.integers(0, items, queries)
    asked = gallery[relevant] + np.float32(0.15) * rng.standard_normal((queries, _WIDTH), dtype=np.float32)
    asked /= np.linalg.norm(asked, axis=1, keepdims=True)
    scores = np.empty((queries, items), np.float32)
    index = faiss.IndexFlatIP(_WIDTH)
    index.add(gallery)

    def ours() -> dict[str, float]:
        return retrieval.gallery(asked, gallery, relevant)

    candidates = {
        "**captionless**, all ranks, exact": ours,
        "numpy, the product alone": lambda: np.matmul(asked, gallery.T, out=scores),
        "faiss IndexFlatIP, ten neighbours": lambda: index.search(asked, 10),
    }
    times = alternately(candidates, rounds, f"{queries:,} queries in {items:,}")
    product = times["numpy, the product alone"].median
    rows = [[name, str(time), f"{time.median / product:.2f}"] for name, time in times.items()]
    wrong = _wrong(asked[:_CHECKED], gallery, relevant[:_CHECKED])
    figures = ours()
    mine, peer = (time.median for name, time in times.items() if not name.startswith("numpy"))
    return (
        f"{queries:,} queries, one relevant item each, in a gallery of {items:,} x {_WIDTH} float32; medians of "
        f"{rounds} alternating rounds; faiss' index is built beforehand.\n\n"
        + table(["", "time (range)", "time over the product's"], rows)
        + f"\nOurs takes {mine / product:.2f} times as long as the product and {mine / peer:.2f} times as long as "
        f"faiss, and {most_beside(ours) >> 20} MiB in addition to its inputs. Of {_CHECKED} queries, {wrong} have a "
        f"rank that differs from that in float64. R@1 {100 * figures['recall@1']:.1f} %, median rank "
        f"{figures['median_rank']:g}.\n"
    )


def _wrong(asked: NDArray[np.float32], gallery: NDArray[np.float32], relevant: NDArray[np.int64]) -> int:
    """How many ranks differ from those of products in float64, a block of the gallery at a time."""
    found = ranking.ranks(asked, gallery, relevant[:, None], "queries", "gallery")[:, 0]
    exact = np.zeros(len(asked), dtype=np.int64)
    unit = asked.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    own = np.einsum("qd,qd->q", unit, _units(gallery[relevant]))
    for start in range(0, len(gallery), 1 << 16):
        exact += np.count_nonzero(unit @ _units(gallery[start : start + (1 << 16)]).T >= own[:, None] - 1e-9, axis=1)
    return int(np.count_nonzero(found != exact))


def _units(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    exact = rows.astype(np.float64)
    unit: NDArray[np.float64] = exact / np.linalg.norm(exact, axis=1, keepdims=True)
    return unit


if __name__ == "__main__":
    main()
