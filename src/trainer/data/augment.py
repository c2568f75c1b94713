"""What a cloud goes through on its way into the encoder.

Training: a fresh random subset of the stored points, farthest point sampling on it, then ULIP's augmentation in its
order (point dropout, scale, shift, small rotation, rotation about the up axis), then the noise that the paper adds
without giving its size. Evaluation: the first points in stored order, which are a farthest point sample. The height
channel comes last, as it depends on the rest. Up is y.

Every draw comes from the sample's own generator, so a sample does not depend on its batch, rank or place in it. Where
there is a GPU, the draws are made ahead, and the rest is done there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

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
        subset = np.stack([_subset(cloud, size, g) for cloud, g in zip(stored[clouds], own, strict=True)])
        sample = point_sets.farthest_point_sample(torch.from_numpy(subset), m).numpy()
        for place, (cloud, chosen, g) in enumerate(zip(subset, sample, own, strict=True), clouds.start):
            found[place] = augment(cloud[chosen], spec, g)

    map_slices(part, len(stored), len(stored) * size * m)
    return found


@dataclass(frozen=True)
class DrawnClouds:
    """What is drawn for B training clouds of m points, before any is sampled or moved: `on_device` does that.

    subset: (B, S, 3) float32, in random order. dropped: (B, m) bool. scale: (B,), shift: (B, 3), rotation: (B, 3, 3),
    acting on rows. noise: (B, m, 3), or (B, 0, 3) for none. All float32.
    """

    subset: NDArray[np.float32]
    dropped: NDArray[np.bool_]
    scale: NDArray[np.float32]
    shift: NDArray[np.float32]
    rotation: NDArray[np.float32]
    noise: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.subset)


def drawn_clouds(
    stored: NDArray[Any], m: int, spec: AugmentSpec, generators: Sequence[np.random.Generator]
) -> DrawnClouds:
    """The draws of `training_clouds`, the very same, without its arithmetic, which a GPU does faster."""
    size, count = min(stored.shape[1], _SUBSET * m), len(stored)
    if size < m:
        raise ValueError(f"cannot sample {m} of {size} points")
    found = DrawnClouds(
        np.empty((count, size, 3), np.float32),
        np.empty((count, m), bool),
        np.empty(count, np.float32),
        np.empty((count, 3), np.float32),
        np.empty((count, 3, 3), np.float32),
        np.empty((count, m if spec.jitter_sigma > 0 else 0, 3), np.float32),
    )

    def part(clouds: slice) -> None:
        for i in range(clouds.start, clouds.stop):
            found.subset[i] = _subset(stored[i], size, generators[i])
            moves = _draw(m, spec, generators[i])
            found.dropped[i], found.scale[i], found.shift[i] = moves.dropped, moves.scale, moves.shift
            found.rotation[i] = moves.rotation
            if moves.noise is not None:
                found.noise[i] = moves.noise

    map_slices(part, count, count * size)
    return found


def on_device(drawn: DrawnClouds, device: torch.device, in_channels: int = 3) -> Tensor:
    """`with_channels(training_clouds(...))` of what was drawn, (B, m, in_channels) float32, computed on a device.

    The sample is the same to the point. Moving the points is float32 where `training_clouds` has float64 before it
    rounds: coordinates differ by 1e-6 at most.
    """
    m = drawn.dropped.shape[1]
    subset, dropped, scale, shift, rotation, noise = (
        torch.from_numpy(array).to(device, non_blocking=True)
        for array in (drawn.subset, drawn.dropped, drawn.scale, drawn.shift, drawn.rotation, drawn.noise)
    )
    chosen = point_sets.farthest_point_sample(subset, m)
    clouds = subset.gather(1, chosen.unsqueeze(-1).expand(-1, -1, 3))
    clouds = torch.where(dropped.unsqueeze(-1), clouds[:, :1], clouds)
    clouds = clouds * scale[:, None, None] + shift[:, None]
    # not a matrix product, which a GPU may round to fewer bits
    x, y, z = (clouds[..., i : i + 1] * rotation[:, None, i] for i in range(3))
    clouds = x + y + z
    if noise.shape[1]:
        clouds = clouds + noise
    if in_channels == 3:
        return clouds
    height = clouds[..., _UP : _UP + 1]
    return torch.cat([clouds, height - height.amin(1, keepdim=True)], -1)


def augment(cloud: NDArray[np.float32], spec: AugmentSpec, generator: np.random.Generator) -> NDArray[np.float32]:
    """One augmented copy of an (m, 3) float32 cloud; a dropped point becomes the first one, so that m stays."""
    moves = _draw(len(cloud), spec, generator)
    cloud = cloud.copy()
    cloud[moves.dropped] = cloud[0]
    moved = (cloud * moves.scale + moves.shift) @ moves.rotation
    if moves.noise is not None:
        moved += moves.noise
    return moved.astype(np.float32)


class _Moves(NamedTuple):
    """What is drawn for one cloud of m points: (m,) bool, a factor, (3,), (3, 3) acting on rows, (m, 3) or None."""

    dropped: NDArray[np.bool_]
    scale: float
    shift: NDArray[np.float64]
    rotation: NDArray[np.float64]
    noise: NDArray[np.float64] | None


def _draw(m: int, spec: AugmentSpec, generator: np.random.Generator) -> _Moves:
    ratio = generator.random() * spec.dropout
    dropped = generator.random(m) < ratio
    scale = generator.uniform(spec.scale_low, spec.scale_high)
    shift = generator.uniform(-spec.shift, spec.shift, 3)
    angles = np.clip(spec.perturb_sigma * generator.standard_normal(3), -spec.perturb_clip, spec.perturb_clip)
    turn = generator.uniform(0, 2 * np.pi)
    rotation = _rotation(2, angles[2]) @ _rotation(1, angles[1]) @ _rotation(0, angles[0])
    if spec.rotate_up:
        rotation = rotation @ _rotation(_UP, turn)
    noise = None
    if spec.jitter_sigma > 0:
        noise = np.clip(spec.jitter_sigma * generator.standard_normal((m, 3)), -spec.jitter_clip, spec.jitter_clip)
    return _Moves(dropped, scale, shift, rotation, noise)


def _subset(cloud: NDArray[Any], size: int, generator: np.random.Generator) -> NDArray[np.float32]:
    """So many points of a cloud, shuffled even when they are all: farthest point sampling starts at the first."""
    return cloud[generator.permutation(len(cloud))[:size], :3].astype(np.float32)


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
