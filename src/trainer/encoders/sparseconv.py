"""A residual network of sparse voxel convolutions: OpenShape's SparseConv (its MinkResNet), without MinkowskiEngine.

Points become voxels, each with the mean of its points' features (positions, and the height). A stem of width 5 works at
that size; four stages halve the resolution by a convolution of width and stride 2, followed by residual blocks of two
convolutions of width 3. All four scales are brought back to the finest voxels, each of which takes what the coarser
one around it has, side by side; two convolutions of width 3 and stride 2, the maximum and the mean over each cloud's
voxels, two layers and a projection lead to the embedding. Except for those with a stride, convolutions keep to the
occupied voxels (submanifold). Each is followed by a BatchNorm whose rows are the voxels of all clouds and ranks.

`depth` is the ResNet's: 11, 18 and 34 are OpenShape's MinkResNet11, MinkResNet and MinkResNet34, 34 with `width` 32 its
41.3 M parameters. Everything grows with `width`: the stages have 1, 2, 4 and 8 times as many channels, what follows 16
and 32 times.

How large a voxel may be follows from the points: OpenShape has 0.02 for 10,000. Of 2048 in the unit sphere hardly two
lie in adjacent voxels of that size, and the fine convolutions see nothing but single points; 0.05 suits them.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from captionless.trainer.encoders.encoder import Encoder
from captionless.trainer.encoders.pointnext import LinearNorm
from captionless.trainer.ops.batch_norm import BatchNorm
from captionless.trainer.ops.keyed_dropout import KeyedDropout
from captionless.trainer.ops.voxels import Rules, convolve, rules, voxelise

_LAYERS = {11: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
"""Residual blocks of each stage, by depth."""

_STEM = 5


class ConvNorm(nn.Module):
    """A sparse convolution without bias and the BatchNorm after it, (V, inputs) -> (rows of the rulebook, outputs).

    weight: (kernel^3, inputs, outputs), by `voxels.offsets`.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(kernel**3, inputs, outputs))
        nn.init.normal_(self.weight, std=(2 / (kernel**3 * outputs)) ** 0.5)  # He et al., by fan out
        self.norm = BatchNorm(outputs)

    def forward(self, x: Tensor, book: Rules) -> Tensor:
        return torch.as_tensor(self.norm(convolve(x, self.weight, book)))


class Residual(nn.Module):
    """relu(conv(relu(conv(x))) + x), with a linear layer on x where the number of channels changes."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first, self.second = ConvNorm(inputs, outputs, 3), ConvNorm(outputs, outputs, 3)
        self.skip = None if inputs == outputs else LinearNorm(inputs, outputs)

    def forward(self, x: Tensor, book: Rules) -> Tensor:
        found = self.second(functional.relu(self.first(x, book)), book)
        return functional.relu(found + (x if self.skip is None else self.skip(x)))


class ResidualStage(nn.Module):
    """A convolution of stride 2, then residual blocks."""

    def __init__(self, inputs: int, outputs: int, blocks: int) -> None:
        super().__init__()
        self.down = ConvNorm(inputs, inputs, 2)
        self.blocks = nn.ModuleList(Residual(outputs if i else inputs, outputs) for i in range(blocks))

    def forward(self, x: Tensor, down: Rules, book: Rules) -> Tensor:
        """down: the rulebook to the coarser grid, book: that of width 3 on it."""
        x = functional.relu(self.down(x, down))
        for block in self.blocks:
            x = block(x, book)
        return x


class SparseConv(Encoder):
    """(B, N, in_channels) float clouds, xyz first -> (B, embed_dim) embeddings, not normalised.

    in_channels: 3 (xyz) or 4 (xyz and height). width: channels of the stem. depth: 11, 18 or 34. voxel: edge of the
    finest voxels, in the unit of the points. dropout: between the two layers before the projection. ValueError on a bad
    option, and for points that are not finite or too far from the origin.
    """

    def __init__(
        self,
        in_channels: int = 3,
        embed_dim: int = 512,
        width: int = 32,
        depth: int = 34,
        voxel: float = 0.02,
        dropout: float = 0.5,
    ) -> None:
        if depth not in _LAYERS:
            raise ValueError(f"depth must be one of {', '.join(map(str, _LAYERS))}, not {depth}")
        if width < 1 or not voxel > 0:
            raise ValueError(f"width and voxel must be positive, not {width} and {voxel}")
        super().__init__(in_channels, embed_dim)
        self.voxel = voxel
        self.stem = ConvNorm(in_channels, width, _STEM)
        channels = [width, *(width * 2**i for i in range(4))]
        self.stages = nn.ModuleList(
            ResidualStage(channels[i], channels[i + 1], blocks) for i, blocks in enumerate(_LAYERS[depth])
        )
        wide = 32 * width
        self.joint = nn.ModuleList([ConvNorm(sum(channels[1:]), wide // 2, 3), ConvNorm(wide // 2, wide, 3)])
        self.head = nn.ModuleList([LinearNorm(2 * wide, wide), LinearNorm(wide, wide)])
        self.dropout = KeyedDropout(dropout)
        self.projection = nn.Linear(wide, embed_dim)

    def forward(self, points: Tensor, keys: Tensor | None = None) -> Tensor:
        self.check(points)
        grid, x = voxelise(points[..., :3], points, self.voxel)
        with torch.autocast(points.device.type, enabled=False):  # places, whose differences low precision rounds away
            x = functional.relu(self.stem(x, rules(grid, grid, _STEM)))
        grids, within, scales = [grid], torch.arange(len(x), device=x.device), []
        for stage in self.stages:
            coarse, parent = grids[-1].coarser()
            x = stage(x, rules(grids[-1], coarse, 2), rules(coarse, coarse, 3))
            grids.append(coarse)
            within = parent[within]
            scales.append(x[within])
        x = torch.cat(scales, dim=-1)
        for layer, fine, coarse in zip(self.joint, grids, grids[1:], strict=False):
            x = functional.leaky_relu(layer(x, rules(fine, coarse, 3)))
        clouds = torch.split(x, grids[len(self.joint)].sizes(len(points)))
        x = torch.stack([torch.cat([rows.amax(0), rows.mean(0)]) for rows in clouds])
        first, second = (cast(LinearNorm, layer) for layer in self.head)
        x = self.dropout(functional.leaky_relu(first(x)), self.keys_of(points, keys))
        return torch.as_tensor(self.projection(functional.leaky_relu(second(x))))
