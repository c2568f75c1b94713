"""What all point-cloud encoders have in common."""

from __future__ import annotations

from torch import nn


class Encoder(nn.Module):
    """(B, N, in_channels) float clouds, xyz first -> (B, embed_dim) embeddings, not normalised."""

    def __init__(self, in_channels: int, embed_dim: int) -> None:
        super().__init__()
        self.in_channels, self.embed_dim = in_channels, embed_dim
