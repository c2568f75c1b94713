"""Similarity stores as the release before tiles could grow wrote them (version 2): what this one still reads."""

from __future__ import annotations

import hashlib
import json
import urllib.parse
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from captionless.store import objects
from captionless.store.ledger import Ledger


def write_earlier(
    url: str,
    matrices: Mapping[str, tuple[Sequence[str], np.ndarray]],
    side: int,
    sources: Mapping[str, str],
    cross_category_sim: float = 0.25,
    is_migrated: bool = False,
) -> None:
    """Writes and publishes categories: their keys and their matrices, in blocks of `side` objects.

    sources: digest of what the similarity of each was made from. is_migrated: with the stage's records, as
    `captionless migrate` leaves them.
    """
    listed, ledger, fingerprints = {}, Ledger(url), {}
    for category, (keys, sim) in matrices.items():
        stem, n = urllib.parse.quote(category, safe=" "), len(keys)
        cuts = list(pairwise([*range(0, n, side), n]))
        tiles = [
            _write(url, stem, category, rows, columns, sim)
            for a, rows in enumerate(cuts)
            for columns in cuts[a:]
            if n > 1
        ]
        for tile in tiles if is_migrated else []:
            name = f"{stem}.{tile['rows'][0]}-{tile['columns'][0]}"
            fingerprints[name] = str(tile["source"])
            ledger.commit(name, fingerprints[name], {f"{name}.sim": tile["sha256"]}, {"category": category, **tile})
        index = {"version": 2, "metric": "i2i", "holds": "similarity", "category": category, "keys": list(keys)}
        index |= {"source": sources[category], "side": side, "tiles": tiles}
        data = json.dumps(index).encode()
        objects.write_bytes(objects.join(url, f"{stem}.index"), data)
        listed[category] = {
            "index": f"{stem}.index", "sha256": hashlib.sha256(data).hexdigest(), "source": sources[category],
            "objects": n, "side": side, "bytes": sum(tile["bytes"] for tile in tiles),
        }  # fmt: skip
    manifest = {"format": "captionless similarity", "version": 2, "metric": "i2i", "holds": "similarity"}
    manifest |= {"cross_category_sim": cross_category_sim, "categories": listed}
    manifest["digest"] = objects.digest(2, "i2i", cross_category_sim, dict(sources))
    objects.write_json(objects.join(url, "similarity.json"), manifest)
    if is_migrated:
        records = ledger.finished(fingerprints)
        assert records is not None
        ledger.publish(records)


def _write(
    url: str, stem: str, category: str, rows: tuple[int, int], columns: tuple[int, int], sim: np.ndarray
) -> dict[str, Any]:
    part = sim[slice(*rows), slice(*columns)].astype(np.float64)
    values = part[np.triu_indices(len(part), 1)] if rows == columns else part.ravel()
    low, high = (float(values.min()), float(values.max())) if len(values) else (1.0, 1.0)
    steps = np.rint((values - low) * (65535 / (high - low) if high > low else 0)).astype("<u2")
    described = {"rows": list(rows), "columns": list(columns), "min": low, "max": high, "source": f"source of {stem}"}
    header = json.dumps(
        {"version": 2, "metric": "i2i", "holds": "similarity", "category": category, **described}
    ).encode()
    header += b" " * (-(16 + len(header)) % 64)
    data = b"captsim2" + len(header).to_bytes(8, "little") + header + steps.tobytes()
    data += hashlib.sha256(data).digest()
    objects.write_bytes(objects.join(url, f"{stem}.{rows[0]}-{columns[0]}.sim"), data)
    return {**described, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
