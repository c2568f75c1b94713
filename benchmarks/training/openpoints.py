"""PointNeXt-S in the layout that openpoints uses: channels first, neighbourhoods gathered into (B, C, M, K) tensors,
1x1 Conv2d and BatchNorm2d over them, then a maximum. Made from one of ours, it computes the same.

Sampling and ball query are ours in both, which favours this one: openpoints has them for CUDA only.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from captionless.trainer.encoders.openpoints import to_openpoints
from captionless.trainer.encoders.pointnext import PointNext, SetAbstraction
from captionless.trainer.ops import point_sets


class Grouped(nn.Module):
    """A set abstraction. The names of the submodules are openpoints'."""

    def __init__(self, like: SetAbstraction, in_channels: int) -> None:
        super().__init__()
        self.radius, self.nsample, self.stride = like.radius, like.nsample, like.stride
        sizes = [(layer.linear.in_features, layer.linear.out_features) for layer in like.layers]
        self.convs = nn.Sequential(
            *(nn.Sequential(nn.Conv2d(i, o, 1, bias=False), nn.BatchNorm2d(o)) for i, o in sizes)
        )
        self.skipconv = None if like.skip is None else nn.Sequential(nn.Conv1d(in_channels, sizes[-1][1], 1))

    def forward(self, xyz: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, 3) and (B, C, N) -> (B, M, 3) and (B, C', M)."""
        if self.radius is None or self.skipconv is None:
            centers, own = xyz[:, :1] * 0, None
            relative, neighbours = xyz.transpose(1, 2).unsqueeze(2), features.unsqueeze(2)
        else:
            sample = point_sets.farthest_point_sample(xyz, xyz.shape[1] // self.stride)
            centers = xyz.gather(1, sample.unsqueeze(-1).expand(-1, -1, 3))
            own = features.gather(2, sample.unsqueeze(1).expand(-1, features.shape[1], -1))
            index = point_sets.ball_query(xyz, centers, self.radius, self.nsample)
            relative = _gather(xyz.transpose(1, 2), index) - centers.transpose(1, 2).unsqueeze(-1)
            relative, neighbours = relative / self.radius, _gather(features, index)
        x = torch.cat([relative, neighbours], dim=1)
        for i, layer in enumerate(self.convs):
            x = layer(x)
            if i + 1 < len(self.convs):
                x = functional.relu(x)
        x = x.amax(-1)
        return centers, functional.relu(x if own is None or self.skipconv is None else x + self.skipconv(own))


def _gather(x: Tensor, index: Tensor) -> Tensor:
    """(B, C, N) and (B, M, K) -> (B, C, M, K)."""
    batch, m, k = index.shape
    flat = index.reshape(batch, 1, m * k).expand(-1, x.shape[1], -1)
    return x.gather(2, flat).view(batch, x.shape[1], m, k)


class _Encoder(nn.Module):
    def __init__(self, like: PointNext) -> None:
        super().__init__()
        stem = nn.Sequential(nn.Conv1d(like.in_channels, like.stem.out_features, 1))
        stages: list[nn.Module] = [nn.Sequential(_Stem(stem))]
        channels = like.stem.out_features
        for stage in like.stages:
            assert isinstance(stage, SetAbstraction)
            stages.append(nn.Sequential(Grouped(stage, channels)))
            channels = stage.layers[-1].linear.out_features  # type: ignore[union-attr,assignment]
        self.encoder = nn.Sequential(*stages)

    def forward(self, points: Tensor) -> Tensor:
        xyz = points[..., :3].contiguous()
        features = self.encoder[0](points.transpose(1, 2))
        for stage in self.encoder[1:]:  # type: ignore[union-attr]
            xyz, features = stage[0](xyz, features)
        return torch.as_tensor(features.squeeze(-1))


class _Stem(nn.Module):
    def __init__(self, conv: nn.Sequential) -> None:
        super().__init__()
        self.convs = nn.Sequential(conv)

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.convs(x))


class OpenPoints(nn.Module):
    """(B, N, in_channels) -> (B, embed_dim), with the weights of `like`; dropout as there."""

    def __init__(self, like: PointNext) -> None:
        super().__init__()
        self.encoder = _Encoder(like)
        layers: list[nn.Module] = []
        for layer in like.head:
            inputs, outputs = layer.linear.in_features, layer.linear.out_features  # type: ignore[union-attr]
            layers += [nn.Sequential(nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs), nn.ReLU())]  # type: ignore[arg-type]
            layers += [nn.Dropout(like.dropout.drop)]
        self.prediction = nn.Module()
        self.prediction.head = nn.Sequential(*layers)
        self.pc_projection = nn.Parameter(like.projection.weight.detach().t().clone())
        self.load_state_dict(to_openpoints(like))
        self.to(like.projection.weight.dtype)

    def forward(self, points: Tensor) -> Tensor:
        x = self.prediction.head(self.encoder(points))  # type: ignore[operator]
        return torch.as_tensor(x @ self.pc_projection)
