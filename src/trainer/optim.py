"""AdamW and Adam with decay on matrices only, and a linear warm-up followed by a cosine.

The update is torch's, to the bit; the class is our own because the first optimiser that a process makes from
`torch.optim` imports the whole of torch's compiler, seconds during which a short run could have ended.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from captionless.spec.train import OptimSpec


class Adam:
    """Adam with decoupled weight decay (Loshchilov & Hutter, arXiv 1711.05101), or with that of the gradient.

    Parameters of two or more dimensions, the weights of linear layers, decay; norms, biases and scalars do not. All of
    them need a gradient when `step` is called.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], spec: OptimSpec) -> None:
        self.parameters, self.spec = [p for p in parameters if p.requires_grad], spec
        self.param_groups = [{"params": self.parameters}]  # what torch's GradScaler asks an optimiser for
        self.steps = 0
        self.first = [torch.zeros_like(p) for p in self.parameters]
        self.second = [torch.zeros_like(p) for p in self.parameters]

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for p in self.parameters:
            p.grad = None

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """One update of every parameter with the learning rate `rate`."""
        self.steps += 1
        spec = self.spec
        size = rate / (1 - spec.beta1**self.steps)
        correction = math.sqrt(1 - spec.beta2**self.steps)
        for p, first, second in zip(self.parameters, self.first, self.second, strict=True):
            grad = p.grad
            assert grad is not None
            if p.ndim >= 2 and spec.name == "adamw":
                p.mul_(1 - rate * spec.weight_decay)
            elif p.ndim >= 2:
                grad = grad.add(p, alpha=spec.weight_decay)
            first.lerp_(grad, 1 - spec.beta1)
            second.mul_(spec.beta2).addcmul_(grad, grad, value=1 - spec.beta2)
            p.addcdiv_(first, second.sqrt().div_(correction).add_(spec.eps), value=-size)

    def state_dict(self) -> dict[str, Any]:
        """The number of steps and both moments, in the order of the parameters."""
        return {"steps": self.steps, "first": self.first, "second": self.second}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned for the same parameters."""
        self.steps = state["steps"]
        for own, stored in ((self.first, state["first"]), (self.second, state["second"])):
            for target, source in zip(own, stored, strict=True):
                target.copy_(source)


def learning_rate(step: int, steps: int, spec: OptimSpec) -> float:
    """The rate of step `step` of 0 .. steps - 1: from min_lr up to lr over the warm-up, then down to min_lr."""
    warmup = math.ceil(spec.warmup * steps)
    if step < warmup:
        return spec.min_lr + (spec.lr - spec.min_lr) * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - 1 - warmup)
    return spec.min_lr + (spec.lr - spec.min_lr) * (1 + math.cos(math.pi * done)) / 2
