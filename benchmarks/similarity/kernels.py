"""I2I and (I2L)^2 of one category, beside every other way to compute them: speed and error.

Error is against the formula in float64 on a sample of rows, exact duplicates and near-duplicates among them.
"""

from __future__ import annotations

from collections.abc import Callable

import faiss
import numpy as np
import scipy.spatial.distance
import sklearn.metrics.pairwise
import torch
from numpy.typing import NDArray

from benchmarks.measure import alternately, duration, table
from captionless.precompute.pair_similarity import i2i, i2l

VIEWS, WIDTH, LANDMARKS = 30, 512, 128
SIZES = (512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192)
_SLOW_ROWS = 64  # of the peers that would take minutes, the first rows; the table says what that makes for all


def category(n: int, seed: int = 0) -> NDArray[np.float32]:
    """(n, R, F): views about a common direction, as CLIP embeds a category; some objects nearly or exactly the same."""
    rng = np.random.default_rng(seed)
    views = rng.standard_normal((1, VIEWS, WIDTH), dtype=np.float32) + 0.6 * rng.standard_normal(
        (n, VIEWS, WIDTH), dtype=np.float32
    )
    views[1] = views[0]
    for k, size in ((3, 1e-7), (4, 1e-5), (5, 1e-3)):
        views[k] = views[2] + size * rng.standard_normal((VIEWS, WIDTH), dtype=np.float32)
    return np.asarray(views / np.linalg.norm(views, axis=-1, keepdims=True))


def landmarks(seed: int = 1) -> NDArray[np.float32]:
    """(L, F): texts about a common direction."""
    rng = np.random.default_rng(seed)
    texts = rng.standard_normal((1, WIDTH)) + 0.8 * rng.standard_normal((LANDMARKS, WIDTH))
    return np.asarray(texts / np.linalg.norm(texts, axis=-1, keepdims=True), dtype=np.float32)


def i2i_table(n: int, rounds: int) -> str:
    """Eq. 2 on n objects: ours, and every other way to the same matrix."""
    views = category(n)
    flat = views.reshape(n, -1)
    other = flat.copy()  # the same values elsewhere: numpy cannot see that the product is symmetric
    index = faiss.IndexFlatIP(flat.shape[1])
    index.add(flat)

    def per_view() -> NDArray[np.float32]:
        total = np.zeros((n, n), np.float32)
        for view in range(VIEWS):
            total += views[:, view] @ views[:, view].T
        return (total / VIEWS + 1) / 2

    def half(gram: NDArray[np.float32]) -> NDArray[np.float32]:
        return (gram / VIEWS + 1) / 2

    candidates: dict[str, Callable[[], object]] = {
        "captionless i2i": lambda: i2i(views),
        "numpy X @ X.T (syrk)": lambda: flat @ flat.T,
        "one GEMM, X @ Y.T": lambda: flat @ other.T,
        "a product per view, numpy": per_view,
        "torch X @ X.T": lambda: torch.from_numpy(flat) @ torch.from_numpy(flat).T,
        "scikit-learn cosine_similarity": lambda: sklearn.metrics.pairwise.cosine_similarity(flat),
        "faiss IndexFlatIP, all n": lambda: index.search(flat, n),
    }
    # faiss sorts every row; a few rounds of it would outlast all the others together
    slow = candidates.pop("faiss IndexFlatIP, all n")
    times = alternately(candidates, rounds, "I2I")
    times |= alternately({"faiss IndexFlatIP, all n": slow}, 1, "I2I by faiss")
    sample = slice(0, 64)
    true = np.einsum("irf,jrf->ij", views[sample].astype(np.float64), views.astype(np.float64), optimize=True)
    true = (true / VIEWS + 1) / 2
    error = {
        "captionless i2i": i2i(views)[sample] - true,
        "numpy X @ X.T (syrk)": half(flat[sample] @ flat.T) - true,
        "one GEMM, X @ Y.T": half(flat[sample] @ other.T) - true,
        "a product per view, numpy": per_view()[sample] - true,
    }
    rows = [
        [
            f"**{name}**" if name.startswith("captionless") else name,
            timing,
            f"{timing.median / times['captionless i2i'].median:.2f}",
            f"{np.abs(error[name]).max():.1e}" if name in error else "",
        ]
        for name, timing in times.items()
    ]
    syrk, gemm = (times[name].median / times["captionless i2i"].median for name in list(times)[1:3])
    return (
        f"I2I of {n:,} objects, {VIEWS} views, width {WIDTH}, float32; medians of {rounds} alternating rounds.\n\n"
        + table(["", "time (range)", "over ours", "largest error"], rows)
        + f"\nOurs runs at {syrk:.2f} times the speed of numpy's `X @ X.T` and {gemm:.2f} times that of one GEMM, "
        "including input checks, the float64 sums and the mapping to [0, 1].\n"
    )


def sizes_table(rounds: int) -> str:
    """Ours beside numpy's `X @ X.T` on categories of many sizes, in alternating rounds."""
    rows = [_size_row(n, max(rounds, 16384 // n)) for n in SIZES]
    head = ["objects", "captionless i2i (range)", "numpy X @ X.T (range)", "speed over numpy's, by rounds (range)"]
    return f"{VIEWS} views of width {WIDTH}, float32; alternating rounds.\n\n" + table(head, rows)


def _size_row(n: int, rounds: int) -> list[object]:
    views = category(n)
    flat = views.reshape(n, -1)
    times = alternately({"ours": lambda: i2i(views), "syrk": lambda: flat @ flat.T}, rounds, f"I2I of {n:,}")
    ratios = sorted(b / a for a, b in zip(times["ours"].seconds, times["syrk"].seconds, strict=True))
    middle, spread = ratios[len(ratios) // 2], f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
    return [f"{n:,}", times["ours"], times["syrk"], f"{middle:.2f} ({spread})"]


def i2l_table(n: int, rounds: int) -> str:
    """Eq. 3 and 4 on n objects from the same views and landmarks."""
    views, texts = category(n), landmarks()

    def described() -> NDArray[np.float32]:
        return np.ascontiguousarray((views @ texts.T).transpose(1, 0, 2))

    def by_torch(mode: str) -> NDArray[np.float32]:
        total = torch.zeros(n, n)
        for one in torch.from_numpy(described()):
            total += torch.cdist(one, one, compute_mode=mode)
        return (1 / (1 + total / VIEWS)).numpy()

    def by_sklearn() -> NDArray[np.float32]:
        total = np.zeros((n, n), np.float32)
        for one in described():
            total += sklearn.metrics.pairwise.euclidean_distances(one)
        return 1 / (1 + total / VIEWS)

    def by_scipy(rows: slice) -> NDArray[np.float64]:
        return sum(scipy.spatial.distance.cdist(one[rows], one) for one in described().astype(np.float64))

    strongest = "torch.cdist, products (use_mm_for_euclid_dist)"
    times = alternately(
        {
            "captionless i2l": lambda: i2l(views, texts),
            strongest: lambda: by_torch("use_mm_for_euclid_dist"),
            "scikit-learn euclidean_distances": by_sklearn,
        },
        rounds,
        "(I2L)²",
    )
    few = slice(0, _SLOW_ROWS)
    slow = alternately(
        {
            "torch.cdist, exact (donot_use_mm_for_euclid_dist)": lambda: [
                torch.cdist(one[few], one, compute_mode="donot_use_mm_for_euclid_dist")
                for one in torch.from_numpy(described())
            ],
            "scipy cdist, float64": lambda: by_scipy(few),
        },
        1,
        "(I2L)² by the exact peers",
    )
    ours = times["captionless i2l"].median
    sample = slice(0, 64)
    d = views.astype(np.float64) @ texts.T.astype(np.float64)
    true = 1 / (1 + np.stack([np.linalg.norm(d - one, axis=-1).mean(axis=1) for one in d[sample]]))
    error = {
        "captionless i2l": np.abs(i2l(views, texts)[sample] - true).max(),
        strongest: np.abs(by_torch("use_mm_for_euclid_dist")[sample] - true).max(),
        "scikit-learn euclidean_distances": np.abs(by_sklearn()[sample] - true).max(),
    }
    rows: list[list[object]] = [
        [
            f"**{name}**" if name.startswith("captionless") else name,
            timing,
            f"{timing.median / ours:.2f}",
            f"{error[name]:.1e}",
        ]
        for name, timing in times.items()
    ]
    rows += [
        [
            f"{name}, {_SLOW_ROWS} rows, for all",
            duration(t.median * n / _SLOW_ROWS),
            f"{t.median * n / _SLOW_ROWS / ours:.0f}",
            "",
        ]
        for name, t in slow.items()
    ]
    return (
        f"(I2L)² of {n:,} objects, {VIEWS} views, {LANDMARKS} landmarks, from views and landmarks to similarity; "
        f"medians of {rounds} alternating rounds.\n\n"
        + table(["", "time (range)", "over ours", "largest error"], rows)
        + f"\nOurs is {times[strongest].median / ours:.2f} times as fast as the fastest peer, including the "
        "exact recomputation of near pairs.\n"
    )
