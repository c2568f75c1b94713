"""Describes one training run: everything a rank needs, as one JSON document."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from captionless.runtime.redaction import public
from captionless.spec.train import TrainSpec
from captionless.spec.weights import Weights
from captionless.store import objects, tiles
from captionless.trainer.run_folder import model_digest

FORMAT = 5
"""Version of the training's arithmetic and of its files; a checkpoint of another version is not resumed."""

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
    device: Literal["auto", "cpu", "cuda"] = "auto"
    provenance: dict[str, Any] = {}
    """Copied into the model file."""

    @property
    def title(self) -> str:
        return f"train {self.weights.value} seed {self.seed}"

    def fingerprint(self, data_digest: str) -> str:
        """Digest of what determines the result: not the numbers of ranks and threads, which change only last bits, nor
        what signs URLs."""
        stores = {
            m: objects.read_json(objects.join(url, tiles.FORMAT.manifest))["digest"]
            for m, url in self.similarity.items()
        }
        spec = self.train.model_dump(mode="json", exclude={"weights", "seeds", *TrainSpec.OPERATIONAL})
        start = model_digest(self.train.init) if self.train.init else ""
        known = public([spec, self.weights.value, self.seed, self.clip])
        return objects.digest(FORMAT, *known, data_digest, stores, start)
