"""Describes one training run: everything a rank needs, as one JSON document."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from captionless.runtime.redaction import public
from captionless.spec.section import flat
from captionless.spec.train import TrainSpec
from captionless.spec.variant import Mode
from captionless.spec.weights import Weights
from captionless.store import objects, tiles
from captionless.trainer.run_folder import model_digest

FORMAT = 6
"""Version of the training's arithmetic and of its files; a checkpoint of another version is not resumed."""

EARLIER = 5
"""The version before, which drew other random numbers and else did the same: its models are as good, and its
checkpoints may be extended."""

_NOT_DETERMINING = {"weights", "seeds", *TrainSpec.OPERATIONAL}

MEMORY = 4 << 30
"""The default limit of what a rank caches of the training objects and of similarity, in bytes."""


class TrainingJob(BaseModel):
    """One run: a source of weights and a seed. URLs are as `captionless.store.objects` takes them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: str
    """The run's folder: checkpoints/, history.json, and model.pt, written last."""
    data: str
    """The embed stage's folder; its split "train" is read."""
    similarity: dict[str, str] = {}
    """A similarity store per metric that `weights` reads."""
    weights: Weights
    seed: int
    train: TrainSpec
    clip: dict[str, str]
    """The CLIP model's name, tag and identity; copied into the model file."""
    threads: int = 1
    memory: int = MEMORY
    """The limit of what a rank caches of the training objects and of similarity, in bytes."""
    disk: int = 0
    """The limit of the copies of stored data on a node's disk, in bytes."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    provenance: dict[str, Any] = {}
    """Copied into the model file."""
    extends: str = ""
    """The fingerprint of a run with other settings, from whose newest checkpoint to go on if this one has none."""
    profile: int = 0
    """Steps to trace, once; see `profiling`."""
    replaces: bool = False
    """Whether the model of a run with other settings is lost when this one's takes its place."""

    @property
    def title(self) -> str:
        return f"train {Mode(self.weights, self.train.loss, self.train.encoder.name)} seed {self.seed}"

    def fingerprint(self, data_digest: str, version: int = FORMAT) -> str:
        """Digest of what determines the result: not the numbers of ranks and threads, which change only last bits, nor
        what signs URLs."""
        spec = self.train.determining(_NOT_DETERMINING)
        known = public([spec, self.weights.value, self.seed, self.clip])
        mined = [self.mined] if self.mined else []
        return objects.digest(version, *known, data_digest, self._stores, self._start, *mined)

    def settings(self, data_digest: str) -> dict[str, Any]:
        """What `fingerprint` is the digest of, field by field: what a later call compares with its own."""
        found = {
            "format": FORMAT,
            **self.fields,
            "train.weights": self.weights.value,
            "train.seeds": self.seed,
            **dict(flat("clip", self.clip)),
            "data": data_digest,
            **dict(flat("similarity", self._stores)),
            "the model of train.init": self._start,
            **({"the neighbours of train.batches.from": self.mined} if self.mined else {}),
        }
        return dict(public(found))

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of the spec's section that determine the result, by their dotted names."""
        return dict(flat("train", self.train.determining(_NOT_DETERMINING, by_alias=True)))

    @property
    def _stores(self) -> dict[str, str]:
        """The digests of the similarity that is read, by metric."""
        return {
            m: objects.read_json(objects.join(url, tiles.FORMAT.manifest))["digest"]
            for m, url in self.similarity.items()
        }

    @property
    def _start(self) -> str:
        """The digest of the model to start from, if there is one."""
        return model_digest(self.train.init) if self.train.init else ""

    @property
    def mined(self) -> str:
        """The digest of the stored neighbours that batches are made of, if they are."""
        url = self.train.batches.from_
        if not url:
            return ""
        from captionless.store.neighbour_store import content_digest  # brings pyarrow, for which few jobs have a use

        return content_digest(url)
