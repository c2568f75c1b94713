"""Zero-shot classification of any source's objects by a checkpoint: no views, no run, clouds and class names.

This is how a trained encoder is measured on `points` sources (ModelNet40, ScanObjectNN):
the cloud is normalised and put in farthest-point order as packed ones are, the classes
are embedded by the CLIP model that the checkpoint was trained against.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from captionless import clip, specfile
from captionless.errors import DataError
from captionless.eval import prompts, results, zero_shot
from captionless.precompute.sources import open_source
from captionless.progress import Progress
from captionless.spec import DataSpec
from captionless.store import objects

_AT_ONCE = 256


def evaluate(checkpoint: str, data: DataSpec, prompt: str, split: Literal["test", "train", "all"]) -> dict[str, Any]:
    """`figures` (see eval.zero_shot) and `provenance` of a checkpoint on a source's split.

    SpecError for what cannot work, DataError for a broken checkpoint or, beyond `maxSkipped`, broken objects.
    """
    from captionless.precompute.pointcloud import cloud, ordered
    from captionless.trainer.checkpoint import load_model
    from captionless.trainer.infer import encode_points

    model, meta = load_model(checkpoint)
    source = open_source(data)
    refs = [r for r in source.refs() if split in ("all", r.split)]
    if not refs:
        raise DataError(f"data.source: no objects in its {split} split; try --split all")
    classes = sorted({r.category for r in refs})
    count = int(meta["points"])
    rows, labels, skipped = [], [], []
    waiting: list[NDArray[np.float16]] = []

    def encode() -> None:
        rows.append(encode_points(model, np.stack([w[:count] for w in waiting]), count))
        waiting.clear()

    with Progress("clouds", len(refs)) as progress:
        for ref in refs:
            try:
                loaded = source.load(ref)
                if loaded.points is None:
                    assert loaded.mesh is not None
                    waiting.append(cloud(loaded.mesh, max(count, data.points), ref.key))
                else:
                    if len(loaded.points) < count:
                        raise DataError(f"has {len(loaded.points)} points, the checkpoint wants {count}")
                    xyz = loaded.points[:, :3]
                    waiting.append(ordered(xyz, np.zeros((len(xyz), 3), np.uint8)))
                labels.append(classes.index(ref.category))
            except DataError as error:
                skipped.append({"key": ref.key, "reason": str(error)})
            if len(waiting) == _AT_ONCE:
                encode()
            progress.advance()
    if len(skipped) > data.max_skipped:
        raise DataError(
            f"{len(skipped)} broken objects (data.maxSkipped allows {data.max_skipped}): "
            f"{skipped[0]['key']}: {skipped[0]['reason']}"
        )
    if waiting:
        encode()
    about = meta["clip"]
    texts = prompts.class_texts(prompt, classes)
    embedded = clip.load(about["model"], about["pretrained"] or None).texts([t for of in texts for t in of])
    shapes = embedded.reshape(len(classes), len(texts[0]), -1)
    found = zero_shot.evaluate(np.concatenate(rows), shapes, np.array(labels))
    return {
        "schema": results.SCHEMA,
        "figures": {
            "objects": len(labels),
            "classes": classes,
            "chance": zero_shot.chance(len(classes), (1, 5)),
            "zero_shot": {
                **{k: float(found[k]) for k in ("top1", "top5", "class_mean")},
                "per_class": dict(zip(classes, found["per_class"].tolist(), strict=True)),
            },
        },
        "provenance": {
            "checkpoint": {"url": checkpoint, "sha256": hashlib.sha256(objects.read_bytes(checkpoint)).hexdigest()},
            "dataset": data.source.model_dump(mode="json", include={"kind", "url", "test_url", "up"}),
            "split": split,
            "skipped": skipped,
            "prompt": {"name": prompt, "templates": list(prompts.templates(prompt))},
            "clip": about,
            "points": count,
            "seed": meta["seed"],
        },
    }


def load_data(where: str) -> DataSpec:
    """The `data:` section of a YAML file, or a file that is that section itself."""
    document = specfile.document(where)
    section = document.get("data", document)
    try:
        return DataSpec.model_validate(section)
    except ValidationError as error:
        raise specfile.told(error, where, DataSpec) from None
