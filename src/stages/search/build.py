"""Builds a gallery from an embed stage's objects: their stored clouds, encoded, in a faiss index.

    <out>/<row>.faiss, objects-<sha256>.json, gallery.json    see store.gallery

A work item is a few thousand objects. The gallery's `about` holds what a search needs to know:

    dataset, split, pack    the embed stage's folder, which of its objects, and the folder of their pictures
    model                   URL, sha256, points a cloud, weights and seed of the model file
    clip                    model, pretrained and identity of the CLIP model that it was trained against
    sampled                 points of a stored cloud: a mesh used as a query is sampled with as many
    versions                of the packages that made it
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError
from captionless.runtime.redaction import public
from captionless.spec.plan import PACK
from captionless.spec.variant import mode_of
from captionless.stages.provenance import versions
from captionless.stages.vectors import EncodedClouds
from captionless.stages.work_items import Outcome, WorkItem, WorkOutput, work
from captionless.store import float16, gallery, objects
from captionless.store.embeddings import Embeddings, open_embeddings
from captionless.store.ledger import Ledger
from captionless.store.manifest import WorkRecord
from captionless.trainer.run_folder import model_digest, model_url

VERSION = 1
Split = Literal["all", "train", "test"]

_ROWS = 4096  # of width 512: 8 MiB
_AT_ONCE = 64  # objects read and embedded at a time
_PACKAGES = ("faiss-cpu", "numpy", "torch")


def build(checkpoint: str, dataset: str, out: str, split: Split = "all", pack: str | None = None) -> Outcome:
    """Makes what is missing of the gallery `out` of a data set's objects, and publishes it.

    checkpoint: the URL of a model.pt or of its run's folder. dataset: an embed stage's folder. pack: the folder with
    the objects' pictures; None for `pack` next to the data set. SpecError if faiss is not installed; DataError for an
    empty data set, or a model trained on labels.
    """
    gallery.faiss()
    data = open_embeddings(dataset, split)
    if not len(data):
        raise DataError(f"{dataset}: no objects ({split}); expected at least one")
    objects.check(out)
    beside = objects.join(dataset.rstrip("/").rpartition("/")[0] or ".", PACK)
    return _Build(data, checkpoint, out, pack or beside).work()


class _Build:
    def __init__(self, data: Embeddings, checkpoint: str, out: str, pack: str) -> None:
        self.data, self.checkpoint, self.out, self.pack = data, model_url(checkpoint), out, pack
        self.encoded = EncodedClouds(data, self.checkpoint, model_digest(self.checkpoint))
        self.before = gallery.FORMAT.manifest_bytes(out)

    def work(self) -> Outcome:
        items = [
            self._work_item(start, min(start + _ROWS, len(self.data))) for start in range(0, len(self.data), _ROWS)
        ]

        def check(records: Mapping[str, WorkRecord]) -> None:
            self._publish([records[item.name] for item in items])

        return work("search: embed", "object", Ledger(self.out), items, check=check)

    def _work_item(self, start: int, stop: int) -> WorkItem:
        made_from = zip(self.data.keys[start:stop], self.encoded.sources(range(start, stop)), strict=True)
        fingerprint = objects.digest(VERSION, [list(each) for each in made_from])

        def make(advance: Callable[[int], None]) -> WorkOutput:
            about = self._about()
            rows = []
            for at in range(start, stop, _AT_ONCE):
                indices = range(at, min(at + _AT_ONCE, stop))
                rows.append(self._embed(indices))
                advance(len(indices))
            file, sha256 = gallery.write_rows(self.out, start, np.concatenate(rows))
            return WorkOutput({file: sha256}, {"rows": [start, stop], **about})

        return WorkItem(f"{start:09d}", fingerprint, stop - start, make)

    def _embed(self, indices: range) -> NDArray[np.float32]:
        rows = self.encoded.embed(indices)
        wrong = np.flatnonzero(~(np.abs(np.linalg.norm(rows, axis=1) - 1) <= float16.NORM_TOLERANCE))
        if len(wrong):
            key = self.data.keys[indices[wrong[0]]]
            raise DataError(
                f'{self.checkpoint}: its embedding of object "{key}" is not finite, or zero; retrain the model'
            )
        return rows

    def _about(self) -> dict[str, Any]:
        """The model's facts for a work item's record, so that a finished gallery is published without loading it."""
        about = self.encoded.about
        if "clip" not in about:
            raise DataError(f"{self.checkpoint}: a classifier trained on labels, without a CLIP model; expected the "
                            "model.pt of a train stage")  # fmt: skip
        known = {name: about[name] for name in ("points", "weights", "seed")} | {"mode": mode_of(about)}
        return {
            "dim": int(about["clip"]["embed_dim"]),
            "model": known,
            "clip": {name: about["clip"][name] for name in ("model", "pretrained", "identity")},
            "sampled": int(self.data.points_layout.shape[0]),
            "versions": versions(_PACKAGES),
        }

    def _publish(self, records: list[WorkRecord]) -> None:
        last = records[-1].facts
        about = {
            "dataset": _place(self.data.url),
            "split": self.data.split,
            "pack": _place(self.pack),
            "model": {"url": _place(self.checkpoint), "sha256": self.encoded.model_digest, **last["model"]},
            **{name: last[name] for name in ("clip", "sampled", "versions")},
        }
        digest = objects.digest(VERSION, [record.fingerprint for record in records])
        parts = []
        for record in records:
            ((file, stored),) = record.files.items()
            start, stop = record.facts["rows"]
            parts.append(gallery.GalleryPart((start, stop), file, stored["size"], stored["sha256"]))
        gallery.publish(self.out, digest, int(last["dim"]), about, self.data.objects, parts, self.before)


def _place(url: str) -> str:
    """A URL as it is stored: it does not depend on the working directory, and has no password."""
    return objects.local_path(url) if objects.is_local(url) else str(public(url))
