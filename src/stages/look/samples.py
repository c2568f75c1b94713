"""Clouds as a training step gets them: sampled and augmented, each beside the one that is stored.

The samples are the training's own, by `TrainingData`: those of the first objects of a step's batch, of the first seed.
Batches of hard negatives are made of the same samples, which do not depend on the batch that they are in.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from captionless.errors import SpecError
from captionless.spec.alignment import AlignmentSpec
from captionless.spec.load import load_spec
from captionless.spec.plan import EMBED, TRAIN
from captionless.spec.section import flat
from captionless.spec.train import BatchesSpec
from captionless.stages import chain
from captionless.stages.look.picture import cloud_tile
from captionless.stages.look.sheet import Sheet
from captionless.store import objects
from captionless.trainer.data.training_data import TrainingData


def of_training(where: str, overrides: Sequence[str], count: int, step: int) -> Sheet:
    """The first `count` objects in a step's batch. SpecError for another kind of spec, or a step after the last;
    NotReady if what `embed` has stored is not what the spec describes; DataError for a damaged object."""
    spec = load_spec(where, overrides)
    if not isinstance(spec, AlignmentSpec):
        raise SpecError(f"{where}: --augmented draws the clouds of an Alignment's training")
    if step >= spec.train.steps:
        raise SpecError(f"--step {step}: the training has {spec.train.steps} steps, from 0")
    chain.verify(spec, TRAIN, (EMBED,))
    random = BatchesSpec(shuffle=spec.train.batches.shuffle, window=spec.train.batches.window)
    own = spec.train.model_copy(update={"batches": random, "accumulate": 1, "max_skipped": 0})
    seed = own.seeds[0]
    data = TrainingData(objects.join(spec.root, EMBED), own, seed)
    batch = data.batch(step, 0, max(1, data.batch_size // count))  # the part of one of so many ranks
    _, chosen = data.indices(step)
    by_key = dict(zip(data.keys.some(chosen), chosen, strict=True))
    count = min(count, len(batch.points))
    keys = batch.keys[:count]
    stored = data.clouds(np.array([by_key[key] for key in keys], dtype=np.int64))
    points = batch.points[:count, :, :3]
    data.close()
    reach = 1.05 * max(1.0, float(np.linalg.norm(points, axis=-1).max()))
    pictures = []
    for key, before, after in zip(keys, stored, points, strict=True):
        pictures.append((key, cloud_tile(before[: own.points], reach)))
        pictures.append((f"at step {step}", cloud_tile(after, reach)))
    facts = [
        ("objects", f"{count} of the {data.batch_size:,} of the batch"),
        ("train.points", f"{own.points:,} of {data.samples.stored_points:,} that are stored"),
        ("train.seeds", f"{seed}, the first"),
        *((name, str(value)) for name, value in flat("train.augment", own.augment.determining(by_alias=True))),
    ]
    return Sheet(
        f"{spec.name}: clouds of step {step}",
        "What the encoder is given of an object at a step of the training, beside its stored cloud.",
        pictures,
        facts,
        None,
        "All clouds are drawn from one side and at one scale.",
    )
