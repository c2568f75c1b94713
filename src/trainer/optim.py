"""AdamW and Adam with weight decay on matrices only, and a linear warm-up followed by cosine annealing.

The arithmetic is torch's functional `adamw` and `adam`. The class around them is our own because constructing any
`torch.optim.Optimizer` imports torch's compiler (`torch._dynamo`): seconds in which a short run could have finished.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adam import adam
from torch.optim.adamw import adamw

from captionless.spec.train import OptimSpec


class Adam:
    """AdamW, with decoupled weight decay (Loshchilov & Hutter, arXiv 1711.05101), or Adam with L2 regularisation.

    Parameters with two or more dimensions, the weights of linear layers, decay; norms, biases and scalars do not. All
    of them need a gradient when `step` is called.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], spec: OptimSpec) -> None:
        self.parameters, self.spec = [p for p in parameters if p.requires_grad], spec
        self.param_groups = [{"params": self.parameters}]  # what torch's GradScaler asks an optimiser for
        self._steps = [torch.tensor(0.0) for _ in self.parameters]  # torch counts the steps of each parameter
        self._first = [torch.zeros_like(p) for p in self.parameters]
        self._second = [torch.zeros_like(p) for p in self.parameters]

    def zero_grad(self) -> None:
        """Drop all gradients."""
        for p in self.parameters:
            p.grad = None

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """One update of every parameter with the learning rate `rate`."""
        update = adamw if self.spec.name == "adamw" else adam
        for decays in (True, False):
            chosen = [i for i, p in enumerate(self.parameters) if (p.ndim >= 2) is decays]
            update(
                [self.parameters[i] for i in chosen],
                [_gradient(self.parameters[i]) for i in chosen],
                [self._first[i] for i in chosen],
                [self._second[i] for i in chosen],
                [],
                [self._steps[i] for i in chosen],
                foreach=False,
                amsgrad=False,
                beta1=self.spec.beta1,
                beta2=self.spec.beta2,
                lr=rate,
                weight_decay=self.spec.weight_decay if decays else 0.0,
                eps=self.spec.eps,
                maximize=False,
            )

    def state_dict(self) -> dict[str, Any]:
        """The number of steps and both moments, in the order of the parameters."""
        steps = int(self._steps[0]) if self._steps else 0
        return {"steps": steps, "first": self._first, "second": self._second}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned for the same parameters."""
        for count in self._steps:
            count.fill_(state["steps"])
        for own, stored in ((self._first, state["first"]), (self._second, state["second"])):
            for target, source in zip(own, stored, strict=True):
                target.copy_(source)


def _gradient(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


def learning_rate(step: int, steps: int, spec: OptimSpec) -> float:
    """The rate of step `step` of 0 .. steps - 1: from min_lr up to lr over the warm-up, then down to min_lr."""
    warmup = math.ceil(spec.warmup * steps)
    if step < warmup:
        return spec.min_lr + (spec.lr - spec.min_lr) * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - 1 - warmup)
    return spec.min_lr + (spec.lr - spec.min_lr) * (1 + math.cos(math.pi * done)) / 2
