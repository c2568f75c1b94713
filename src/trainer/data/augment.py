"""What a cloud goes through on its way into the encoder.

Training: a fresh random subset of the stored points, farthest point sampling on it, then ULIP's augmentation in its
order (point dropout, scale, shift, small rotation, rotation about the up axis), then the noise that the paper adds
without giving its size. Evaluation: the first points in stored order, which are a farthest point sample. The height
channel comes last, as it depends on the rest. Up is y.

Every draw comes from the sample's own generator, so a sample does not depend on its batch, rank or place in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from captionless.runtime.torch_threads import map_slices
from captionless.spec.train import AugmentSpec
from captionless.trainer.ops import point_sets

_SUBSET = 2  # random subset drawn before farthest point sampling, in multiples of the points asked for
_UP = 1


def training_clouds(
    stored: NDArray[Any], m: int, spec: AugmentSpec, generators: Sequence[np.random.Generator]
) -> NDArray[np.float32]:
    """Sampled and augmented clouds: (B, P, 3 or more) stored points, xyz first -> (B, m, 3) float32.

    `generators`: one per cloud, fresh. ValueError if P < m.
    """
    size = min(stored.shape[1], _SUBSET * m)
    found = np.empty((len(stored), m, 3), np.float32)

    def part(clouds: slice) -> None:
        own = generators[clouds]
        # Shuffled even when every point is taken: farthest point sampling starts at the first.
        subset = np.stack(
            [cloud[g.permutation(len(cloud))[:size], :3] for cloud, g in zip(stored[clouds], own, strict=True)]
        ).astype(np.float32)
        sample = point_sets.farthest_point_sample(torch.from_numpy(subset), m).numpy()
        for place, (cloud, chosen, g) in enumerate(zip(subset, sample, own, strict=True), clouds.start):
            found[place] = augment(cloud[chosen], spec, g)

    map_slices(part, len(stored), len(stored) * size * m)
    return found


def augment(cloud: NDArray[np.float32], spec: AugmentSpec, generator: np.random.Generator) -> NDArray[np.float32]:
    """One augmented copy of an (m, 3) float32 cloud; a dropped point becomes the first one, so that m stays."""
    cloud = cloud.copy()
    ratio = generator.random() * spec.dropout
    cloud[generator.random(len(cloud)) < ratio] = cloud[0]
    scale = generator.uniform(spec.scale_low, spec.scale_high)
    shift = generator.uniform(-spec.shift, spec.shift, 3)
    angles = np.clip(spec.perturb_sigma * generator.standard_normal(3), -spec.perturb_clip, spec.perturb_clip)
    turn = generator.uniform(0, 2 * np.pi)
    rotation = _rotation(2, angles[2]) @ _rotation(1, angles[1]) @ _rotation(0, angles[0])
    if spec.rotate_up:
        rotation = rotation @ _rotation(_UP, turn)
    moved = (cloud * scale + shift) @ rotation
    if spec.jitter_sigma > 0:
        noise = spec.jitter_sigma * generator.standard_normal(moved.shape)
        moved += np.clip(noise, -spec.jitter_clip, spec.jitter_clip)
    return moved.astype(np.float32)


def evaluation_clouds(stored: NDArray[Any], m: int) -> NDArray[np.float32]:
    """The first m points of each cloud: (B, P, 3 or more) in farthest-point order -> (B, m, 3) float32."""
    if stored.shape[1] < m:
        raise ValueError(f"{m} points requested, but the clouds have {stored.shape[1]}")
    return stored[:, :m, :3].astype(np.float32)


def with_channels(clouds: NDArray[np.float32], in_channels: int) -> NDArray[np.float32]:
    """(B, m, 3) as the encoder's input: itself for 3 channels, with the height above the lowest point for 4."""
    if in_channels == 3:
        return clouds
    height = clouds[..., _UP : _UP + 1]
    return np.concatenate([clouds, height - height.min(axis=1, keepdims=True)], axis=-1)


def _rotation(axis: int, angle: float) -> NDArray[np.float64]:
    """Rotation about a coordinate axis by `angle` radians, right-handed, acting on columns."""
    matrix = np.eye(3)
    i, j = (axis + 1) % 3, (axis + 2) % 3
    matrix[i, i] = matrix[j, j] = np.cos(angle)
    matrix[j, i] = np.sin(angle)
    matrix[i, j] = -matrix[j, i]
    return matrix
