"""Cross-modal retrieval: which gallery items a query finds, and at which rank.

Two protocols (docs/method.md):

`gallery` ranks a gallery of unique items for each query, exactly and in bounded memory
(see `ranking`).

`in_batch` is the protocol of the released Pix3D code: shuffled batches of pairs, where
only a query's own partner counts.

Ties are resolved against the method: of equal scores the relevant item ranks last.
`recall@k` is the share of queries with at least one relevant item in the first k (the
usual meaning in cross-modal retrieval), `map` the mean over queries of the mean, over
a query's relevant items, of the precision at their ranks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from captionless.errors import DataError
from captionless.eval import ranking
from captionless.eval.cosine import TIE, MadeRows, positive_ks, row_lengths, rows_of, same_width

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BATCH = 128
"""Pairs in a batch of the in-batch protocol, as in the released code."""


def gallery(
    queries: ArrayLike, gallery: ArrayLike, relevant: ArrayLike, ks: tuple[int, ...] = (1, 5, 10)
) -> dict[str, float]:
    """Retrieval figures of `queries` (q, D) against `gallery` (g, D).

    `relevant` is (q,) integers, each query's one relevant gallery row, or (q, g) boolean.
    Returns `recall@{k}` for each of `ks`, `map`, `median_rank` (of the first relevant item,
    from 1 up), `queries` (how many were counted) and `gallery` (its size). Queries without
    a relevant item are left out of all means; that all are is refused.
    """
    ks = positive_ks(ks)
    ranks = gallery_ranks(queries, gallery, relevant)
    return gallery_figures(ranks, ks) | {"queries": len(ranks), "gallery": len(np.asarray(gallery))}


def gallery_ranks(queries: ArrayLike | MadeRows, gallery: ArrayLike | MadeRows, relevant: ArrayLike) -> Ints:
    """Ranks from 1 up of the relevant items, best first, of the queries that have one: (q, m), padded with 0."""
    asked, items = rows_of(queries, "queries"), rows_of(gallery, "gallery")
    same_width(asked, items, "queries and gallery")
    ranks = ranking.ranks(asked, items, _relevant_columns(relevant, len(asked), len(items)), "queries", "gallery")
    return ranks[ranks[:, 0] > 0]


def gallery_figures(ranks: Ints, ks: tuple[int, ...] = (1, 5, 10)) -> dict[str, float]:
    """`recall@{k}` for each of `ks`, `map` and `median_rank` of ranks (q, m), see `gallery_ranks`."""
    first = ranks[:, 0]
    figures = {f"recall@{k}": float(np.mean(first <= k)) for k in ks}
    figures["map"] = float(np.mean(_average_precision(ranks)))
    return figures | {"median_rank": float(np.median(first))}


def chance(relevant: ArrayLike, gallery: int, ks: tuple[int, ...] = (1, 5, 10)) -> dict[str, float]:
    """Exact expectation of `recall@{k}` and `map` when each query's ranking is random.

    `relevant` as in `gallery` (of index arrays only the length matters); `gallery` is the
    size of the gallery. With m relevant items among n: recall@k = 1 - C(n-m, k) / C(n, k)
    and E[AP] = (H_n + (n - H_n)(m - 1)/(n - 1)) / n, H_n being the n-th harmonic number.
    """
    ks = positive_ks(ks)
    columns = _relevant_columns(relevant, len(np.asarray(relevant)), gallery)
    sizes, times = np.unique(np.count_nonzero(columns >= 0, axis=1), return_counts=True)
    sizes, times = sizes[sizes > 0], times[sizes > 0]
    share = times / times.sum()
    figures = {f"recall@{k}": float(share @ [1 - _all_miss(gallery, int(m), k) for m in sizes]) for k in ks}
    harmonic = float(np.sum(1 / np.arange(1, gallery + 1)))
    extra = (sizes - 1) / max(gallery - 1, 1)
    figures["map"] = float(share @ ((harmonic + (gallery - harmonic) * extra) / gallery))
    return figures


def in_batch(
    queries: ArrayLike, keys: ArrayLike, batch: int = BATCH, seed: int = 0, ks: tuple[int, ...] = (1, 5)
) -> dict[str, float]:
    """The released Pix3D protocol over pairs `queries[i]`, `keys[i]`, both (n, D).

    The pairs are shuffled by `seed` and cut into batches of `batch`, the short last one
    kept; within a batch a query's own partner is the only hit; hits are pooled over all
    queries. Returns `top{k}` for each of `ks`, and `pairs`.
    """
    ks = positive_ks(ks)
    rank = in_batch_ranks(queries, keys, batch, seed)
    return in_batch_figures(rank, ks) | {"pairs": len(rank)}


def in_batch_ranks(
    queries: ArrayLike | MadeRows, keys: ArrayLike | MadeRows, batch: int = BATCH, seed: int = 0
) -> Ints:
    """Rank from 1 up, (n,), of each query's own partner among the keys of its batch; in the order of the pairs."""
    asked, answers = rows_of(queries, "queries"), rows_of(keys, "keys")
    same_width(asked, answers, "queries and keys")
    if len(asked) != len(answers):
        raise DataError(f"queries and keys: expected pairs, found {len(asked)} and {len(answers)} rows")
    _positive_batch(batch)
    of_asked, of_answers = row_lengths(asked, "queries"), row_lengths(answers, "keys")
    ranks = np.empty(len(asked), dtype=np.int64)
    for chosen in _batches(len(asked), batch, seed):
        scores = (asked[chosen] / of_asked[chosen, None]) @ (answers[chosen] / of_answers[chosen, None]).T
        own = np.diagonal(scores)[:, None]
        ranks[chosen] = np.count_nonzero(scores >= own - TIE, axis=1)  # counts the partner itself
    return ranks


def in_batch_figures(rank: Ints, ks: tuple[int, ...] = (1, 5)) -> dict[str, float]:
    """`top{k}` for each of `ks` of ranks (n,), see `in_batch_ranks`."""
    return {f"top{k}": float(np.mean(rank <= k)) for k in ks}


def in_batch_best(
    shown: ArrayLike, batch: int = BATCH, seed: int = 0, ks: tuple[int, ...] = (1, 5)
) -> tuple[dict[str, float], dict[str, float]]:
    """The maximum that any encoder can reach under `in_batch` if several queries share a key; `shown` (n,): whose key.

    First for the queries: all pairs of a batch with the same key have the same answer, so each of m ties with the
    others and ranks m-th. Then in the other direction: of the m queries of a key, one is ranked first, and k are among
    the first k.
    """
    ks = positive_ks(ks)
    keys = np.asarray(shown)
    _positive_batch(batch)
    same = np.concatenate(
        [np.unique(keys[chosen], return_counts=True)[1] for chosen in _batches(len(keys), batch, seed)]
    )
    there = {f"top{k}": float(same[same <= k].sum() / len(keys)) for k in ks}
    back = {f"top{k}": float(np.minimum(same, k).sum() / len(keys)) for k in ks}
    return there, back


def in_batch_chance(pairs: int, batch: int = BATCH, ks: tuple[int, ...] = (1, 5)) -> dict[str, float]:
    """Expectation of random rankings under `in_batch` (the short last batch is easier)."""
    _positive_batch(batch)
    sizes = [min(batch, pairs - start) for start in range(0, pairs, batch)]
    if not sizes:
        raise DataError(f"pairs: expected at least 1, found {pairs}")
    return {f"top{k}": sum(min(k, size) for size in sizes) / pairs for k in positive_ks(ks)}


def _average_precision(ranks: Ints) -> Floats:
    position = np.arange(1, ranks.shape[1] + 1)
    precision = np.divide(position, ranks, out=np.zeros(ranks.shape), where=ranks > 0)
    result: Floats = precision.sum(axis=1) / np.count_nonzero(ranks, axis=1)
    return result


def _relevant_columns(relevant: ArrayLike, queries: int, items: int) -> Ints:
    """(q, m) gallery rows of each query's relevant items, padded with -1 on the right."""
    given = np.asarray(relevant)
    if given.dtype.kind == "b" and given.shape == (queries, items):
        query, item = np.nonzero(given)
        if not len(query):
            raise DataError("relevant: no query has a relevant gallery item")
        depth = np.bincount(query, minlength=queries)
        columns = np.full((queries, depth.max()), -1, dtype=np.int64)
        columns[np.arange(columns.shape[1]) < depth[:, None]] = item  # both by query and then by item
        return columns
    if given.dtype.kind in "iu" and given.shape == (queries,) and queries:
        outside = (given < 0) | (given >= items)
        if outside.any():
            row = int(np.argmax(outside))
            raise DataError(
                f"relevant: query {row} names gallery row {given[row]}, but there are rows 0 to {items - 1}"
            )
        return given.astype(np.int64)[:, None]
    raise DataError(
        f"relevant: expected ({queries},) row numbers or a ({queries}, {items}) boolean matrix, "
        f"found shape {given.shape} of {given.dtype}"
    )


def _all_miss(n: int, m: int, k: int) -> float:
    """Probability that the first k of n items in random order hold none of m: C(n-m, k) / C(n, k)."""
    if k > n - m:
        return 0.0
    return float(np.prod(1 - m / (n - np.arange(k))))


def _batches(pairs: int, batch: int, seed: int) -> list[Ints]:
    """The pairs of each batch, the short last one included."""
    order = np.random.default_rng(seed).permutation(pairs)
    return [order[start : start + batch] for start in range(0, pairs, batch)]


def _positive_batch(batch: int) -> None:
    if batch < 1:
        raise DataError(f"batch: expected at least 1, found {batch}")
