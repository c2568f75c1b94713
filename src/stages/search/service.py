"""Queries against one gallery: opened once, answered as often as asked.

search = Search("runs/demo/search/avg-seed0", "runs/demo/train/avg-seed0/model.pt")
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
from captionless.store import objects
from captionless.store.gallery import open_gallery
from captionless.store.shards import Shard
from captionless.store.views import shown_view


@dataclass(frozen=True)
class Hit:
    """A found object. cosine: of its embedding and the query's, float64."""

    rank: int
    key: str
    category: str
    cosine: float


@dataclass(frozen=True)
class Answer:
    """What was asked, the nearest objects, nearest first, equal ones by key, and the category they were to be of."""

    asked: EmbeddedQuery
    hits: Sequence[Hit]
    within: str | None = None

    @property
    def query(self) -> Query:
        return self.asked.query


@dataclass(frozen=True)
class Pictures:
    """An image file of objects by key; `missing` says why there is none."""

    views: Mapping[str, bytes] = field(default_factory=dict)
    missing: str = ""


class Search:
    """Finds shapes in the gallery at the URL `index`. The other arguments and errors are `query.Embedder`'s."""

    def __init__(self, index: str, checkpoint: str | None = None, up: Up | None = None, prompt: str = AS_IT_IS) -> None:
        self.gallery, self.prompt = open_gallery(index), prompt
        self._embedder = Embedder(self.gallery, checkpoint, up, prompt)

    def __call__(self, text: str, k: int = 10, within: str | None = None) -> Answer:
        """The k objects nearest to what `text` looks for (see `query`), of all or of one category."""
        return self.find(parse(text), k, within)

    def find(self, query: Query, k: int = 10, within: str | None = None) -> Answer:
        """The k objects nearest to a query, of all or of one category. An object of the gallery is not its own hit."""
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
        """The stored view that stands for each hit, and for the objects that were looked for.

        pack: the folder that has them; None: the one that the gallery names.

        DataError when `pack` is named and does not have them.
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
        shards = {name: Shard(objects.join(pack, name)) for name in set(shard_of.values())}
        found = {}
        for key, name in shard_of.items():
            poses = [member for member in shards[name].extensions(key) if member.startswith("view")]
            if poses:
                found[key] = shards[name].read(key, poses[shown_view(len(poses))])
        return found

    def described(self) -> str:
        """What was searched and by what, in words: no figure without it."""
        about = self.gallery.about
        model, clip = about["model"], about["clip"]
        which = "all its objects" if about["split"] == "all" else f"its {about['split']} objects"
        known = " ".join(filter(None, (clip["model"], clip["pretrained"]))) + demo.remark(clip["model"])
        return (
            f"{len(self.gallery):,} shapes of {about['dataset']} ({which}); encoder {model['url']} "
            f"({model['weights']}, seed {model['seed']}, {model['points']:,} points, sha256 {model['sha256'][:12]}), "
            f'trained against {known}; words as "{self.prompt}". Cosines of words, pictures and shapes have '
            "scales of their own: compare them within one list."
        )

    def document(self, answers: Sequence[Answer]) -> dict[str, Any]:
        """Answers and what was searched as plain values."""
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
