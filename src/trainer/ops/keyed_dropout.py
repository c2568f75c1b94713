"""Dropout whose masks belong to samples: what is dropped of one follows from its own key, and from nothing else.

torch's dropout draws from one generator per process, so that a sample's mask depends on which others share its rank
and its micro-batch. Here the mask is a function of (key of the sample, layer, channel): however a batch is cut, and
whatever was drawn before, a sample loses the same, and ranks, micro-batches and rounds of a training move only sums.

The function is a counter's: no state, a few integer operations an element. Two rounds of a 32-bit mixing function (an
xor-shift-multiply hash, as in MurmurHash3's finaliser), each with one half of the 64-bit key. All values stay in
[0, 2^63), so that CPUs, GPUs and what torch.compile makes of it agree bit for bit.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_BITS = 32
_WORD = (1 << _BITS) - 1
_ODD = 0x9E3779B1  # 2^32 / golden ratio: neighbouring channels get distant counters
_FACTORS = 0x7FEB352D, 0x2C1B3C6D  # below 2^31, so that no product of a word reaches 2^63


def new_keys(count: int, device: torch.device) -> Tensor:
    """(count,) int64 in [0, 2^63): keys for samples that have none of their own, from torch's global generator."""
    return torch.randint(torch.iinfo(torch.int64).max, (count,), device=device)


def random_words(keys: Tensor, layer: int, channels: int) -> Tensor:
    """(B, channels) int64, uniform in [0, 2^32): functions of keys (B,) int64, not negative, the layer and the channel.

    layer: distinguishes what draws for the same samples; in [0, 2^15). channels: at most 2^16.
    """
    counters = (torch.arange(channels, device=keys.device) + (layer << 16)) * _ODD & _WORD
    low, high = (keys & _WORD).unsqueeze(1), (keys >> _BITS).unsqueeze(1)
    return _mixed(_mixed(counters ^ low) ^ high)


def _mixed(x: Tensor) -> Tensor:
    """A bijection of 32-bit words of which every bit changes with about half of the inputs' bits."""
    first, second = _FACTORS
    x = x ^ x >> 16
    x = x * first & _WORD
    x = x ^ x >> 15
    x = x * second & _WORD
    return x ^ x >> 16


def keep(keys: Tensor, layer: int, channels: int, drop: float) -> Tensor:
    """(B, channels) bool, false with probability `drop`, to 2^-32."""
    return random_words(keys, layer, channels) >= round(drop * (1 << _BITS))


class KeyedDropout(nn.Module):
    """(B, ..., C) -> the same, of samples with keys (B,): while training each of a sample's C channels is 0 with
    probability `drop`, along all dimensions between, and else divided by 1 - drop.

    whole: a sample's channels are dropped together, as stochastic depth does (Huang et al., arXiv 1603.09382). drop: in
    [0, 1).
    """

    def __init__(self, drop: float, whole: bool = False) -> None:
        super().__init__()
        if not 0 <= drop < 1:
            raise ValueError(f"the share that is dropped must be in [0, 1), not {drop}")
        self.drop, self.whole = drop, whole

    def forward(self, x: Tensor, keys: Tensor, layer: int = 0) -> Tensor:
        if not self.training or self.drop == 0:
            return x
        kept = keep(keys, layer, 1 if self.whole else x.shape[-1], self.drop)
        shape = len(x), *[1] * (x.ndim - 2), kept.shape[1]
        return x * (kept.to(x.dtype) / (1 - self.drop)).view(shape)

    def extra_repr(self) -> str:
        return f"drop={self.drop}{', whole' if self.whole else ''}"
