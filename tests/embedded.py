"""Embedded data sets of made-up view embeddings, in the real store: what the embed stage leaves."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from captionless.store import objects, writers
from captionless.store.file_names import file_stem
from captionless.store.landmark_store import write_landmarks
from captionless.store.ledger import Ledger
from captionless.store.manifest import MadeFrom
from captionless.store.packed import embedded_rows
from captionless.store.shards import ShardReader, encode_array, index_url, write_shard
from captionless.store.work_records import PARTS

VIEWS, FEATURES, LANDMARKS = 3, 24, 6


def unit(x: np.ndarray) -> np.ndarray:
    return np.asarray(x / np.linalg.norm(x, axis=-1, keepdims=True))


def record_embedded(url: str, split: str, number: int, samples: Sequence[tuple[str, str, Mapping[str, bytes]]]) -> None:
    """A shard of (key, category, members), and its record as the embed stage leaves it."""
    tar = f"{split}/{number:05d}.tar"
    info = write_shard(objects.join(url, tar), [(key, members) for key, _, members in samples])
    rows: dict[str, list[Any]] = {
        "key": [key for key, _, _ in samples],
        "category": [category for _, category, _ in samples],
        "split": [split] * len(samples),
        "shard": [tar] * len(samples),
    }
    for name in ("views", "points"):
        held = [members.get(f"{name}.npy", b"") for _, _, members in samples]
        rows[name] = [hashlib.sha256(data).hexdigest() for data in held]
        spans = [info.index[key].get(f"{name}.npy", (0, 0)) for key in rows["key"]]
        rows[f"{name}_offset"], rows[f"{name}_size"] = [s[0] for s in spans], [s[1] for s in spans]
    facts = {"split": split, "shard": tar, "objects": len(samples)}
    Ledger(url).commit(f"{split}-{number:05d}", info.sha256, {tar: info.sha256, index_url(tar): ""}, facts, rows)


def publish(
    url: str,
    schema: Callable[[], pa.Schema] | None = None,
    earlier: bool = False,
    made_from: MadeFrom = MadeFrom(),
) -> None:
    """Publishes what was recorded under `url` since the last time, as a stage's last worker does, and nothing else, or
    with `earlier` the other parts as well."""
    ledger = Ledger(url, schema=schema)
    names = [name.rpartition("-")[0] for name in objects.list_names(objects.join(url, PARTS))]
    records = ledger.finished({r.part: r.fingerprint for r in ledger.everything() if earlier or r.part in names})
    assert records is not None
    ledger.publish(records, made_from=made_from)


def write_embedded(
    url: str,
    sizes: Mapping[str, int],
    shards: int = 3,
    seed: int = 0,
    views: int = VIEWS,
    features: int = FEATURES,
    points: int = 0,
) -> dict[str, np.ndarray]:
    """A training split of `sizes` objects by category, spread over shards; returns every object's views by key.

    points: of each object, random ones; 0: the same four zeros for all.
    """
    rng = np.random.default_rng(seed)
    found: dict[str, np.ndarray] = {}
    category_of = {}
    for category, n in sizes.items():
        centre = rng.standard_normal((views, features))
        for i in range(n):
            key = f"{category}-{i:05d}"
            category_of[key] = category
            found[key] = unit(centre + 0.6 * rng.standard_normal((views, features))).astype(np.float16)
    clouds, zeros = np.random.default_rng([seed, 1]), np.zeros((4, 6), np.float16)
    order = rng.permutation(sorted(found))
    for number in range(shards):
        samples = []
        for key in sorted(order[number::shards]):
            data = encode_array(found[key])
            cloud = encode_array(clouds.uniform(-1, 1, (points, 6)).astype(np.float16) if points else zeros)
            samples.append((key, category_of[key], {"views.npy": data, "points.npy": cloud}))
        record_embedded(url, "train", number, samples)
    publish(url, embedded_rows)
    return found


def write_objects(url: str, views: Mapping[tuple[str, str], np.ndarray]) -> None:
    """A training split of these views by (category, key), in one shard, instead of what there was."""
    cloud = encode_array(np.zeros((4, 6), np.float16))
    samples = [
        (key, category, {"views.npy": encode_array(array), "points.npy": cloud})
        for (category, key), array in sorted(views.items(), key=lambda item: item[0][1])
    ]
    record_embedded(url, "train", 0, samples)
    publish(url, embedded_rows)


def damage_views(tar: Path, category: str) -> str:
    """Flip a bit in the stored views of an object of `category`, which stay unit vectors; returns the object's key."""
    shard = ShardReader(str(tar))
    key = next(k for k in shard.keys if k.startswith(category))
    offset, size = shard.index[key]["views.npy"]
    raw = bytearray(tar.read_bytes())
    raw[offset + size - 1] ^= 1
    tar.write_bytes(bytes(raw))
    return key


def write_texts(
    url: str, categories: Mapping[str, int], seed: int = 1, features: int = FEATURES, landmarks: int = LANDMARKS
) -> dict[str, np.ndarray]:
    """Landmarks of every category; returns their embeddings."""
    rng = np.random.default_rng(seed)
    found = {}
    for category in categories:
        found[category] = unit(rng.standard_normal((landmarks, features))).astype(np.float32)
        texts = [f"{category} {i}" for i in range(landmarks)]
        files, digest = write_landmarks(url, category, texts, found[category])
        Ledger(url).commit(
            file_stem(category), digest, dict.fromkeys(files, ""), {"category": category, "digest": digest}
        )
    publish(url)
    return found


def everything(folder: Path) -> dict[str, bytes]:
    """Every file below a folder by its relative path, but for the leases of killed writers."""
    files = (p for p in sorted(folder.rglob("*")) if p.is_file() and p.parent.name != writers.FOLDER)
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


def members(split: Path) -> dict[str, np.ndarray]:
    """Every member of a split's shards by its name, as tarfile and numpy read it."""
    found = {}
    for path in split.glob("*.tar"):
        with tarfile.open(path) as tar:
            for member in tar:
                file = tar.extractfile(member)
                assert file is not None
                found[member.name] = np.load(io.BytesIO(file.read()))
    return found
