"""Zero-shot classification of any source's objects by a checkpoint: no views, no run, clouds and class names.

This is how a trained encoder is measured on `points` sources (ModelNet40, ScanObjectNN):
the cloud is normalised and put in farthest-point order as packed ones are, the classes
are embedded by the CLIP model that the checkpoint was trained against.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from captionless import clip, specfile
from captionless.errors import DataError
from captionless.eval import classification, prompts, results, zero_shot
from captionless.precompute.sources import open_source
from captionless.spec import DataSpec
from captionless.stages.labelled import LabelledClouds, of_split
from captionless.trainer.modelfile import model_digest


def evaluate(checkpoint: str, data: DataSpec, prompt: str, split: Literal["test", "train", "all"]) -> dict[str, Any]:
    """`figures` (see eval.zero_shot) and `provenance` of a checkpoint on a source's split.

    SpecError for what cannot work, DataError for a broken checkpoint or, beyond `maxSkipped`, broken objects.
    """
    from captionless.trainer.checkpoint import load_model
    from captionless.trainer.infer import encode_points

    model, meta = load_model(checkpoint)
    if "clip" not in meta:
        raise DataError(f"{checkpoint}: trained on labels, it knows no texts; try `captionless classify evaluate`")
    source = open_source(data)
    refs = of_split(source.refs(), split)
    classes = sorted({r.category for r in refs})
    count = int(meta["points"])
    rows, labels = [], []
    clouds = LabelledClouds(data, source, refs, count, "the checkpoint")
    for some, points in clouds.blocks():
        rows.append(encode_points(model, points, count))
        labels += [classes.index(r.category) for r in some]
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
            "chance": classification.chance(len(classes), (1, 5)),
            "zero_shot": {
                **{k: float(found[k]) for k in ("top1", "top5", "class_mean")},
                "per_class": dict(zip(classes, found["per_class"].tolist(), strict=True)),
            },
        },
        "provenance": {
            "checkpoint": {"url": checkpoint, "sha256": model_digest(checkpoint)},
            "dataset": data.source.model_dump(mode="json", include={"kind", "url", "test_url", "up"}),
            "split": split,
            "skipped": clouds.skipped,
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
    return specfile.validated(DataSpec, section, where=where)
