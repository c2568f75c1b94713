"""Pairs, similarities and identities that the tests of the losses share."""

from __future__ import annotations

import torch
from torch.nn import functional

IDS = ["a", "b", "a", "c", "d", "b", "a"]


def pairs(n: int, d: int = 6, seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    image, shape = torch.randn(2, n, d, generator=g, dtype=torch.float64)
    return functional.normalize(image, dim=1).to(dtype), functional.normalize(shape + image, dim=1).to(dtype)


def similarity(n: int, seed: int = 1) -> torch.Tensor:
    sim = torch.rand(n, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 0.8 + 0.1
    sim = (sim + sim.t()) / 2
    return sim.fill_diagonal_(1.0)
