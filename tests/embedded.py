"""Embedded data sets of made-up view embeddings, in the real store: what the embed stage leaves."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from captionless.store import objects
from captionless.store.landmark_store import write_landmarks
from captionless.store.ledger import Ledger
from captionless.store.shards import ShardReader, encode_array, index_url, write_shard

VIEWS, FEATURES, LANDMARKS = 3, 24, 6


def unit(x: np.ndarray) -> np.ndarray:
    return np.asarray(x / np.linalg.norm(x, axis=-1, keepdims=True))


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
    parts = {}
    order = rng.permutation(sorted(found))
    for number in range(shards):
        tar, listed, samples = f"train/{number:05d}.tar", [], []
        for key in sorted(order[number::shards]):
            data = encode_array(found[key])
            cloud = encode_array(clouds.uniform(-1, 1, (points, 6)).astype(np.float16) if points else zeros)
            samples.append((key, {"views.npy": data, "points.npy": cloud}))
            digests = {"views": hashlib.sha256(data).hexdigest(), "points": hashlib.sha256(cloud).hexdigest()}
            listed.append({"key": key, "category": category_of[key], **digests})
        info = write_shard(objects.join(url, tar), samples)
        facts: dict[str, Any] = {"split": "train", "shard": tar, "objects": listed}
        name = f"train-{number:05d}"
        Ledger(url).commit(name, info.sha256, {tar: info.sha256, index_url(tar): ""}, facts)
        parts[name] = info.sha256
    Ledger(url).publish(parts)
    return found


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
    found, parts = {}, {}
    for category in categories:
        found[category] = unit(rng.standard_normal((landmarks, features))).astype(np.float32)
        texts = [f"{category} {i}" for i in range(landmarks)]
        files, digest = write_landmarks(url, category, texts, found[category])
        Ledger(url).commit(category, digest, dict.fromkeys(files, ""), {"category": category, "digest": digest})
        parts[category] = digest
    Ledger(url).publish(parts)
    return found


def everything(folder: Path) -> dict[str, bytes]:
    """Every file below a folder by its relative path."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


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
