"""Landmarks at rest: per category its texts and their CLIP embeddings.

    <category>-<digest>.jsonl    one {"category", "text"} a line, L lines
    <category>-<digest>.npy      (L, F) float32, rows L2-normalised, in the order of the lines

File names begin with the category's stem (see `file_names`) and end with a digest of what the two files hold, so that
other landmarks are other files, and a worker that comes late cannot overwrite a newer one's. Which categories there
are, and which files are theirs, says the stage's manifest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError
from captionless.store import objects
from captionless.store.file_names import file_stem
from captionless.store.ledger import Ledger
from captionless.store.shards import decode_array, encode_array


@dataclass(frozen=True)
class LandmarkTexts:
    """A category's landmarks: where its texts and their embeddings are; `digest` changes with the latter's bytes."""

    category: str
    texts_url: str
    embeddings_url: str
    digest: str

    def texts(self) -> list[str]:
        """The L texts."""
        try:
            lines = objects.read_bytes(self.texts_url).decode().splitlines()
        except FileNotFoundError:
            raise DataError(f"{self.texts_url}: missing; rerun landmarks") from None
        return [json.loads(line)["text"] for line in lines]

    def embeddings(self) -> NDArray[np.float32]:
        """(L, F) float32."""
        try:
            return decode_array(objects.read_bytes(self.embeddings_url), self.embeddings_url)
        except FileNotFoundError:
            raise DataError(f"{self.embeddings_url}: missing; rerun landmarks") from None


def write_landmarks(
    url: str, category: str, texts: Sequence[str], embeddings: NDArray[np.float32]
) -> tuple[list[str], str]:
    """Stores a category's landmarks; returns the names below `url` of the texts' and the embeddings' file, and the
    latter's digest."""
    lines = "".join(json.dumps({"category": category, "text": t}, ensure_ascii=False) + "\n" for t in texts).encode()
    array = encode_array(embeddings.astype(np.float32))
    name = f"{file_stem(category)}-{hashlib.sha256(lines + array).hexdigest()[:8]}"
    files = {f"{name}.jsonl": lines, f"{name}.npy": array}
    for file, data in files.items():
        objects.write_bytes(objects.join(url, file), data)
    return list(files), hashlib.sha256(array).hexdigest()


def open_landmarks(url: str) -> dict[str, LandmarkTexts]:
    """The landmarks of a finished landmarks stage by category. DataError when a record names no such files."""
    found = {}
    for record in Ledger(url).manifest().records.values():
        files = {name.rpartition(".")[2]: objects.join(url, name) for name in record.files}
        if not files.keys() >= {"jsonl", "npy"}:
            raise DataError(f"{url}: the record of {record.part} names no landmarks; rerun landmarks")
        category = record.facts["category"]
        found[category] = LandmarkTexts(category, files["jsonl"], files["npy"], record.facts["digest"])
    return found
