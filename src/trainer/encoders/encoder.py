"""What all point-cloud encoders have in common."""

from __future__ import annotations

from torch import Tensor, nn

from captionless.trainer.ops.keyed_dropout import new_keys


class Encoder(nn.Module):
    """(B, N, in_channels) float clouds, xyz first -> (B, embed_dim) embeddings, not normalised.

    in_channels: 3 (xyz) or 4 (xyz and height). ValueError on anything else. `forward` takes the clouds and, for what is
    random in training, a key of each: see `keys_of`.
    """

    def __init__(self, in_channels: int, embed_dim: int) -> None:
        super().__init__()
        if in_channels not in (3, 4):
            raise ValueError(f"in_channels must be 3 (xyz) or 4 (xyz and height), not {in_channels}")
        self.in_channels, self.embed_dim = in_channels, embed_dim

    def check(self, points: Tensor) -> None:
        """ValueError unless `points` has the shape of clouds for this encoder."""
        if points.ndim != 3 or points.shape[-1] != self.in_channels:
            raise ValueError(f"points must be (B, N, {self.in_channels}), not {tuple(points.shape)}")

    def keys_of(self, points: Tensor, keys: Tensor | None) -> Tensor:
        """The keys that the clouds' random numbers follow from (`keyed_dropout`): `keys`, (B,) int64 and not negative,
        or without any new ones from torch's global generator; of no use in evaluation."""
        if keys is not None:
            return keys
        return new_keys(len(points), points.device) if self.training else points.new_zeros(len(points)).long()
