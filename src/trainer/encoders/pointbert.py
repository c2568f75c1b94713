"""Point-BERT's transformer (Yu et al., arXiv 2111.14819), as ULIP trains it and in the sizes of OpenShape.

Centres are chosen by farthest point sampling, and each makes a group of its nearest points. A small PointNet turns a
group into a token: linear layers over the points, relative to the centre, the maximum over the group beside each of
them, two more layers and the maximum again. The tokens and a class token, with the position of each centre added before
every block, pass through pre-norm transformer blocks; the class token and the maximum over the others lead to the
embedding.

Layers, widths and defaults are ULIP's (12 blocks of width 384, 6 heads, 512 groups of 32; ULIP-2 has 18 blocks) but for
three biases that a BatchNorm takes away again. Of OpenShape it has the sizes, `width`, `depth`, `heads`,
`groups` and `nsample` (512, 12, 8, 384 and 64 are its PointBERT of 32 M), not the rest: there a group is a ball, the
position part of the token, and the embedding made of the class token alone.

Centres of clouds that are in farthest-point order are their first points (see `ops.point_sets`). The first linear
layer acts before grouping (see `ops.set_abstraction`), the one after the first maximum separately on the group and its
points, whose sum is that of the concatenation.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from captionless.trainer.encoders.encoder import Encoder
from captionless.trainer.ops import point_sets
from captionless.trainer.ops.batch_norm import BatchNorm
from captionless.trainer.ops.keyed_dropout import KeyedDropout
from captionless.trainer.ops.set_abstraction import gather_norm_relu, of_places

_POINT, _GROUP, _TOKEN, _POSITION = 128, 256, 256, 128
_MLP_RATIO = 4


class GroupTokens(nn.Module):
    """(B, N, in_channels) points to a token for each group of K of them, (B, M, channels)."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.point = nn.Linear(in_channels, _POINT, bias=False)
        self.point_norm = BatchNorm(_POINT)
        self.lift = nn.Linear(_POINT, _GROUP, bias=False)
        self.joint = nn.Linear(2 * _GROUP, 2 * _GROUP, bias=False)  # the group first, then the point
        self.joint_norm = BatchNorm(2 * _GROUP)
        self.last = nn.Linear(2 * _GROUP, _TOKEN)
        self.reduce = nn.Linear(_TOKEN, channels)

    def forward(self, points: Tensor, centers: Tensor, index: Tensor) -> Tensor:
        """centers: (B, M, 3), index: (B, M, K) int64, the points of each group."""
        weight = self.point.weight
        a, b = of_places(points, weight), of_places(centers, weight[:, :3])
        rows = gather_norm_relu(a, b, index, self.point_norm)
        x = self.lift(rows).view(-1, index.shape[-1], _GROUP)
        of_group, of_point = torch.split(self.joint.weight, _GROUP, dim=1)
        whole = functional.linear(x.amax(1), of_group)
        x = functional.relu(self.joint_norm(functional.linear(x, of_point) + whole.unsqueeze(1)))
        tokens = self.last(x).amax(1).view(*index.shape[:2], _TOKEN)
        return torch.as_tensor(self.reduce(tokens))


class Block(nn.Module):
    """A pre-norm transformer block, (B, T, channels) -> the same; while training, each half is left out of a cloud
    with probability `drop` (stochastic depth, Huang et al., arXiv 1603.09382). number: of the block, by which its
    random numbers differ from another's."""

    def __init__(self, channels: int, heads: int, drop: float, number: int) -> None:
        super().__init__()
        self.heads, self.number, self.drop_path = heads, number, KeyedDropout(drop, whole=True)
        self.attention_norm = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.out = nn.Linear(channels, channels)
        self.mlp_norm = nn.LayerNorm(channels)
        hidden = _MLP_RATIO * channels
        self.mlp = nn.Sequential(nn.Linear(channels, hidden), nn.GELU(), nn.Linear(hidden, channels))

    def forward(self, x: Tensor, keys: Tensor) -> Tensor:
        x = x + self.drop_path(self._attention(self.attention_norm(x)), keys, 2 * self.number)
        return torch.as_tensor(x + self.drop_path(self.mlp(self.mlp_norm(x)), keys, 2 * self.number + 1))

    def _attention(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).view(*x.shape[:2], 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        found = functional.scaled_dot_product_attention(q, k, v)
        return torch.as_tensor(self.out(found.transpose(1, 2).flatten(2)))


class PointBert(Encoder):
    """(B, N, in_channels) float clouds, xyz first -> (B, embed_dim) embeddings, not normalised.

    in_channels: 3 (xyz) or 4 (xyz and height). width: channels of a token, a multiple of `heads`. depth: blocks.
    groups: centres, at most N. nsample: points of a group, at most N. drop_path: how often the last block is left out
    while training; it grows evenly from 0 at the first. ValueError on a bad option, or too few points.
    """

    def __init__(
        self,
        in_channels: int = 3,
        embed_dim: int = 512,
        width: int = 384,
        depth: int = 12,
        heads: int = 6,
        groups: int = 512,
        nsample: int = 32,
        drop_path: float = 0.1,
    ) -> None:
        _check(width, depth, heads, groups, nsample, drop_path)
        super().__init__(in_channels, embed_dim)
        self.groups, self.nsample = groups, nsample
        self.tokens = GroupTokens(in_channels, width)
        self.class_token = nn.Parameter(torch.zeros(width))
        self.class_position = nn.Parameter(torch.randn(width))
        self.position = nn.Sequential(nn.Linear(3, _POSITION), nn.GELU(), nn.Linear(_POSITION, width))
        rates = torch.linspace(0, drop_path, depth).tolist()
        self.blocks = nn.ModuleList(Block(width, heads, rate, i) for i, rate in enumerate(rates))
        self.norm = nn.LayerNorm(width)
        self.projection = nn.Linear(2 * width, embed_dim, bias=False)
        nn.init.normal_(self.projection.weight, std=embed_dim**-0.5)

    def forward(self, points: Tensor, keys: Tensor | None = None) -> Tensor:
        self.check(points)
        keys = self.keys_of(points, keys)
        least = max(self.groups, self.nsample)
        if points.shape[1] < least:
            raise ValueError(
                f"clouds of {points.shape[1]} points are too small for {self.groups} groups of {self.nsample}"
            )
        xyz = points[..., :3]
        sample = point_sets.farthest_point_sample(xyz, self.groups).unsqueeze(-1)
        centers = xyz.gather(1, sample.expand(-1, -1, 3))
        tokens = self.tokens(points, centers, point_sets.k_nearest(xyz, centers, self.nsample))
        x = _after(self.class_token, tokens)
        position = _after(self.class_position, self.position(centers))
        for block in self.blocks:
            x = block(x + position, keys)
        x = self.norm(x)
        return torch.as_tensor(self.projection(torch.cat([x[:, 0], x[:, 1:].amax(1)], dim=-1)))


def _after(first: Tensor, rest: Tensor) -> Tensor:
    """(C,) before each of (B, T, C): (B, 1 + T, C)."""
    return torch.cat([first.to(rest.dtype).expand(len(rest), 1, -1), rest], dim=1)


def _check(width: int, depth: int, heads: int, groups: int, nsample: int, drop_path: float) -> None:
    if min(width, depth, heads, groups, nsample) < 1:
        raise ValueError(
            f"width, depth, heads, groups and nsample must be positive, not {width}, {depth}, {heads}, {groups} "
            f"and {nsample}"
        )
    if width % heads:
        raise ValueError(f"width: {width} is not a multiple of heads: {heads}")
    if not 0 <= drop_path < 1:
        raise ValueError(f"drop_path must be in [0, 1), not {drop_path}")
