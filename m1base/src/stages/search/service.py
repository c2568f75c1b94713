"""Queries against one gallery, which is opened once and answers any number of them.

search = Search("runs/demo/search/avg-seed0")
for hit in search("a chair with arms", k=5).hits:
    print(hit.rank, hit.key, hit.category, hit.cosine)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from captionless.clip import demo
from captionless.errors import DataError
from captionless.eval.gallery_search import GallerySearch
from captionless.mesh import Up
from captionless.stages.search.query import AS_IT_IS, EmbeddedQuery, Embedder, Query, parse
from captionless.store.gallery import open_gallery
from captionless.store.packed import PackedShards
from captionless.store.views import shown_view


@dataclass(frozen=True)
class Hit:
    """An object found. cosine: between its embedding and the query's, float64."""

    rank: int
    key: str
    category: str
    cosine: float


@dataclass(frozen=True)
class Answer:
    """A query, its nearest objects (nearest first, ties by key), and the category searched, None for all."""

    asked: EmbeddedQuery
    hits: Sequence[Hit]
    within: str | None = None

    @property
    def query(self) -> Query:
        return self.asked.query


@dataclass(frozen=True)
class Pictures:
    """Image files by object key; `missing` is the reason why there are none."""

    views: Mapping[str, bytes] = field(default_factory=dict)
    missing: str = ""


class Search:
    """Finds shapes in the gallery at the URL `index`. For the other arguments and errors see `query.Embedder`."""

    def __init__(self, index: str, checkpoint: str | None = None, up: Up | None = None, prompt: str = AS_IT_IS) -> None:
        self.gallery, self.prompt = open_gallery(index), prompt
        self._embedder = Embedder(self.gallery, checkpoint, up, prompt)

    def __call__(self, text: str, k: int = 10, within: str | None = None) -> Answer:
        """The k objects nearest to the query `text` (see `query`), among all or in one category."""
        return self.find(parse(text), k, within)

    def find(self, query: Query, k: int = 10, within: str | None = None) -> Answer:
        """The k objects nearest to a query, among all or in one category. A gallery object is not its own hit."""
        gallery = self.gallery
        allowed = None if within is None else gallery.within(within)
        if query.kind == "object":
            row = gallery.row(query.what)
            allowed = np.ones(len(gallery), np.bool_) if allowed is None else allowed
            allowed[row] = False
            asked = EmbeddedQuery(query, self._nearest.row(row))
        elif query.kind == "text":
            asked = EmbeddedQuery(query, self._embedder.text(query.what))
        else:
            embed = self._embedder.picture if query.kind == "picture" else self._embedder.shape
            asked = EmbeddedQuery(query, *embed(query.what))
        rows, cosines = self._nearest.search(asked.vector, k, allowed)
        found = enumerate(zip(rows.tolist(), cosines.tolist(), strict=True), start=1)
        hits = [Hit(rank, gallery.keys[row], gallery.category(row), cosine) for rank, (row, cosine) in found]
        return Answer(asked, hits, within)

    @cached_property
    def _nearest(self) -> GallerySearch:
        return GallerySearch(self.gallery.indices())

    def pictures(self, answers: Sequence[Answer], pack: str | None = None) -> Pictures:
        """The stored thumbnail view of each hit, and of the gallery objects used as queries.

        pack: the pack stage's folder; None for the one that the gallery names.

        DataError if `pack` is given and does not have them.
        """
        keys = [hit.key for answer in answers for hit in answer.hits]
        keys += [answer.query.what for answer in answers if answer.query.kind == "object"]
        try:
            return Pictures(self._views(pack or self.gallery.about["pack"], dict.fromkeys(keys)))
        except DataError as error:
            if pack is not None:
                raise
            return Pictures(missing=str(error))

    def _views(self, pack: str, keys: Mapping[str, None]) -> dict[str, bytes]:
        shard_of = {key: self.gallery.shard(self.gallery.row(key)) for key in keys}
        packed, found = PackedShards(pack), {}
        for key, embedded in shard_of.items():
            shard = packed.beside(embedded)
            poses = [member for member in shard.extensions(key) if member.startswith("view")]
            if poses:
                found[key] = shard.read(key, poses[shown_view(len(poses))])
        return found

    def described(self) -> str:
        """What was searched, and with which models, in words."""
        about = self.gallery.about
        model, clip = about["model"], about["clip"]
        which = "all its objects" if about["split"] == "all" else f"its {about['split']} objects"
        mode = model.get("mode", model["weights"])  # an index of an earlier release has the weights only
        known = " ".join(filter(None, (clip["model"], clip["pretrained"]))) + demo.remark(clip["model"])
        return (
            f"{len(self.gallery):,} shapes of {about['dataset']} ({which}); encoder {model['url']} "
            f"({mode}, seed {model['seed']}, {model['points']:,} points, sha256 {model['sha256'][:12]}), "
            f'trained against {known}; prompt "{self.prompt}". Cosines of words, pictures and shapes are on '
            "different scales: compare them within one list only."
        )

    def document(self, answers: Sequence[Answer]) -> dict[str, Any]:
        """The answers and what was searched, as plain JSON."""
        return {
            "schema": 1,
            "index": {"url": self.gallery.url, "objects": len(self.gallery), **self.gallery.about},
            "prompt": self.prompt,
            "answers": [
                {
                    "query": {"kind": answer.query.kind, "what": answer.query.what, "within": answer.within},
                    "hits": [
                        {"rank": hit.rank, "key": hit.key, "category": hit.category, "cosine": hit.cosine}
                        for hit in answer.hits
                    ],
                }
                for answer in answers
            ],
        }
