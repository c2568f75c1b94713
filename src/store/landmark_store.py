"""Landmarks at rest: per category its texts and their CLIP embeddings.

    <category>.jsonl    one {"category", "text"} a line, L lines
    <category>.npy      (L, F) float32, rows L2-normalised, in the order of the lines

A category's name is percent-encoded in file names. Which categories there are says the
stage's manifest.
"""

from __future__ import annotations

import hashlib
import json
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError
from captionless.store import objects
from captionless.store.ledger import Ledger
from captionless.store.shards import decode_array, encode_array


@dataclass(frozen=True)
class LandmarkTexts:
    """A category's landmarks; `digest` changes with their embeddings' bytes."""

    category: str
    url: str
    digest: str

    def texts(self) -> list[str]:
        """The L texts."""
        lines = objects.read_bytes(f"{self.url}.jsonl").decode().splitlines()
        return [json.loads(line)["text"] for line in lines]

    def embeddings(self) -> NDArray[np.float32]:
        """(L, F) float32."""
        try:
            return decode_array(objects.read_bytes(f"{self.url}.npy"), f"{self.url}.npy")
        except FileNotFoundError:
            raise DataError(f"{self.url}.npy: missing; rerun landmarks") from None


def file_stem(category: str) -> str:
    """The file name of a category, without its suffix."""
    return urllib.parse.quote(category, safe=" ")


def write_landmarks(
    url: str, category: str, texts: Sequence[str], embeddings: NDArray[np.float32]
) -> tuple[list[str], str]:
    """Stores a category's landmarks; returns the file names below `url` and the digest."""
    stem = file_stem(category)
    lines = "".join(json.dumps({"category": category, "text": t}, ensure_ascii=False) + "\n" for t in texts)
    array = encode_array(embeddings.astype(np.float32))
    objects.write_bytes(objects.join(url, f"{stem}.jsonl"), lines.encode())
    objects.write_bytes(objects.join(url, f"{stem}.npy"), array)
    return [f"{stem}.jsonl", f"{stem}.npy"], hashlib.sha256(array).hexdigest()


def open_landmarks(url: str) -> dict[str, LandmarkTexts]:
    """The landmarks of a finished landmarks stage by category."""
    return {
        facts["category"]: LandmarkTexts(
            facts["category"], objects.join(url, file_stem(facts["category"])), facts["digest"]
        )
        for facts in Ledger(url).manifest().facts()
    }
