"""The exponential moving average of a model's weights over its training steps, `train.ema`.

After every step t (from 1) the average a follows the weights w,

    a <- d a + (1 - d) w,    d = min(ema, (1 + t) / (10 + t)),

so that the initial weights, which say nothing, are soon forgotten: of the first step it takes 82 %, and a decay of
0.999 is reached after 9,000 steps. The running statistics of norms are averaged like weights, so that they fit them.
The average is what validation scores and what is stored as the model; training goes on from the weights themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

_WARM_UP = 10


class WeightAverage:
    """The average of a module's state and of other tensors beside it, in their precision and on their device."""

    def __init__(self, module: nn.Module, others: Mapping[str, Tensor], decay: float) -> None:
        self._module, self._others, self._decay = module, others, decay
        self._steps = 0
        self._average: dict[str, Tensor] = {}
        self.begin()

    def begin(self) -> None:
        """Start anew from the weights as they are."""
        self._steps, self._average = 0, {name: value.clone() for name, value in self._live().items()}

    @torch.no_grad()
    def update(self) -> None:
        """Follow the weights after a step."""
        self._steps += 1
        decay = min(self._decay, (1 + self._steps) / (_WARM_UP + self._steps))
        for name, value in self._live().items():
            if value.is_floating_point():
                self._average[name].lerp_(value, 1 - decay)
            else:
                self._average[name].copy_(value)  # numbers of batches

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within it the module and the others have the average, and then again exactly what they had."""
        self.swap()
        try:
            yield
        finally:
            self.swap()

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the average with what the module and the others have."""
        for name, value in self._live().items():
            kept = value.clone()
            value.copy_(self._average[name])
            self._average[name] = kept

    def state_dict(self) -> dict[str, Any]:
        """The number of steps and the average, for a checkpoint."""
        return {"steps": self._steps, "average": self._average}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self._steps = state["steps"]
        for name, value in self._average.items():
            value.copy_(state["average"][name])

    def _live(self) -> dict[str, Tensor]:
        """What is averaged, as it is in the module and beside it."""
        return {**self._module.state_dict(), **{name: value.detach() for name, value in self._others.items()}}
