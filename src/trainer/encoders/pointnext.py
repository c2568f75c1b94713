"""PointNeXt-S (Qian et al., arXiv 2206.04670), as ULIP-2 and "No Captions, No Problem" use it.

A stem lifts each point to `width` channels, set abstractions halve the points and double the channels, a last one
groups all points, a two-layer head and a projection lead to the embedding. A set abstraction samples centres by
farthest point sampling, gathers the first `nsample` neighbours within a radius, concatenates their positions relative
to the centre and divided by the radius with their features, applies linear + BatchNorm layers (ReLU in between) and
keeps the maximum over the neighbours; the centre's own feature is added through a linear skip before the last ReLU.
The last stage sees absolute positions, has a ReLU after its last layer and no skip.

Only the stages that downsample sample at all, and only the first of them computes it: farthest point sampling of a
set in farthest-point order is a prefix (see `ops.point_sets`). What is done for every neighbour is fused
where a set abstraction has two layers (see `ops.set_abstraction`), and plain torch where it has more.

Weights of openpoints and of ULIP-2 are read by `encoders.openpoints`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from captionless.trainer.encoders.encoder import Encoder
from captionless.trainer.ops import point_sets
from captionless.trainer.ops.batch_norm import BatchNorm
from captionless.trainer.ops.keyed_dropout import KeyedDropout
from captionless.trainer.ops.set_abstraction import (
    before_grouping,
    gather_norm_relu,
    linear_norm_max,
    of_places,
    set_abstraction,
)

_RADIUS_SCALING = 1.5


class LinearNorm(nn.Module):
    """A linear layer without bias and the BatchNorm after it: the 1x1 convolution block of PointNeXt, rows-major."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs, bias=False)
        self.norm = BatchNorm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.norm(self.linear(x)))


class SetAbstraction(nn.Module):
    """(B, N, 3) positions and (B, N, in_channels) features to those of M centres: (B, M, 3), (B, M, out_channels).

    With `radius` None all points form one group around the origin: M = 1, positions (B, 1, 3) of zeros.
    """

    def __init__(
        self, in_channels: int, out_channels: int, radius: float | None, nsample: int, layers: int, stride: int
    ) -> None:
        super().__init__()
        self.radius, self.nsample, self.stride = radius, nsample, stride
        middle = out_channels if radius is None else out_channels // 2
        sizes = [3 + in_channels] + [middle] * (layers - 1) + [out_channels]
        self.layers = nn.ModuleList(LinearNorm(i, o) for i, o in pairwise(sizes))
        self.skip = None if radius is None else nn.Linear(in_channels, out_channels)

    def forward(self, xyz: Tensor, features: Tensor, ordered: bool) -> tuple[Tensor, Tensor]:
        """`ordered` says that xyz is in farthest-point order, so that its sample is a prefix."""
        if self.radius is None or self.skip is None:
            origin = xyz.new_zeros(xyz.shape[0], 1, 3)
            index = torch.arange(xyz.shape[1], device=xyz.device).expand(xyz.shape[0], 1, -1)
            return origin, functional.relu(self._grouped(xyz, origin, features, index, 1.0))
        m = max(1, xyz.shape[1] // self.stride)
        centers, own = xyz[:, :m], features[:, :m]
        if not ordered:
            sample = point_sets.farthest_point_sample(xyz, m).unsqueeze(-1)
            centers = xyz.gather(1, sample.expand(-1, -1, 3))
            own = features.gather(1, sample.expand(-1, -1, features.shape[-1]))
        index = point_sets.ball_query(xyz, centers, self.radius, self.nsample)
        grouped = self._grouped(xyz, centers, features, index, self.radius)
        return centers, self.skip(own).to(grouped.dtype).add_(grouped).relu_()  # under autocast not of its precision

    def _grouped(self, xyz: Tensor, centers: Tensor, features: Tensor, index: Tensor, radius: float) -> Tensor:
        first, *between, last = (cast(LinearNorm, layer) for layer in self.layers)
        given = xyz / radius, features, centers / radius
        if not between:
            return set_abstraction(*given, index, first.linear.weight, first.norm, last.linear.weight, last.norm)
        h = gather_norm_relu(*before_grouping(*given, first.linear.weight), index, first.norm)
        for layer in between:
            h = functional.relu(layer(h))
        return linear_norm_max(h, last.linear.weight, last.norm)


class PointNext(Encoder):
    """(B, N, in_channels) float clouds, xyz first -> (B, embed_dim) embeddings, not normalised.

    in_channels: 3 (xyz) or 4 (xyz and height). width: channels of the stem; each stage of stride above 1 doubles
    them. strides: of the stem (1), the set abstractions, and the last, global one (1). nsample, radius: of the ball
    queries; the radius grows by 1.5 with each stage. sa_layers: linear layers in a set abstraction, at least 2. head:
    widths of the layers before the projection, each with BatchNorm, ReLU and dropout. ValueError on a bad option.
    """

    def __init__(
        self,
        in_channels: int = 3,
        embed_dim: int = 512,
        width: int = 32,
        nsample: int = 32,
        radius: float = 0.15,
        strides: Sequence[int] = (1, 2, 2, 2, 2, 1),
        sa_layers: int = 2,
        head: Sequence[int] = (512, 256),
        dropout: float = 0.5,
    ) -> None:
        _check(width, strides, sa_layers)
        super().__init__(in_channels, embed_dim)
        self.stem = nn.Linear(in_channels, width)
        channels = width
        stages = []
        for stride in strides[1:-1]:
            stages.append(SetAbstraction(channels, 2 * channels, radius, nsample, sa_layers, stride))
            channels, radius = 2 * channels, radius * _RADIUS_SCALING
        stages.append(SetAbstraction(channels, channels, None, nsample, sa_layers, 1))
        self.stages = nn.ModuleList(stages)
        sizes = [channels, *head]
        self.head = nn.ModuleList(LinearNorm(i, o) for i, o in pairwise(sizes))
        self.dropout = KeyedDropout(dropout)
        self.projection = nn.Linear(sizes[-1], embed_dim, bias=False)
        nn.init.normal_(self.projection.weight, std=embed_dim**-0.5)

    def forward(self, points: Tensor, keys: Tensor | None = None) -> Tensor:
        self.check(points)
        keys = self.keys_of(points, keys)
        xyz, features = points[..., :3], of_places(points, self.stem.weight, self.stem.bias)
        for i, stage in enumerate(self.stages):
            xyz, features = stage(xyz, features, ordered=i > 0)
        x = features.squeeze(1)
        for i, layer in enumerate(self.head):
            x = self.dropout(functional.relu(layer(x)), keys, i)
        return torch.as_tensor(self.projection(x))


def _check(width: int, strides: Sequence[int], sa_layers: int) -> None:
    if width < 1 or sa_layers < 2:
        raise ValueError(f"width must be positive and sa_layers at least 2, not {width} and {sa_layers}")
    if len(strides) < 3 or strides[0] != 1 or strides[-1] != 1 or any(s < 2 for s in strides[1:-1]):
        raise ValueError(f"strides must be 1, then one or more above 1, then 1, not {list(strides)}")
