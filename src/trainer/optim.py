"""AdamW and Adam with weight decay on matrices only, and a linear warm-up followed by cosine annealing.

The arithmetic is torch's functional `adamw` and `adam`. The class around them is our own because constructing any
`torch.optim.Optimizer` imports torch's compiler (`torch._dynamo`): seconds in which a short run could have finished.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adam import adam
from torch.optim.adamw import adamw

from captionless.spec.train import OptimSpec
from captionless.trainer.param_groups import Share


class Adam:
    """AdamW, with decoupled weight decay (Loshchilov & Hutter, arXiv 1711.05101), or Adam with L2 regularisation.

    Parameters with two or more dimensions, the weights of linear layers, decay; norms, biases and scalars do not, and
    what is not trained is left alone. All others need a gradient when `step` is called.

    shares: how each of them is updated, see `param_groups`; all alike without.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], spec: OptimSpec, shares: Sequence[Share] | None = None
    ) -> None:
        every = list(parameters)
        self._trained = [p.requires_grad for p in every]
        self.parameters, self.spec = [p for p in every if p.requires_grad], spec
        of_all = shares or [Share(1.0, spec.weight_decay if p.ndim >= 2 else 0.0) for p in every]
        self._shares = [share for share, p in zip(of_all, every, strict=True) if p.requires_grad]
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
        """One update of every parameter with the learning rate `rate`, in multiples of its share."""
        update = adamw if self.spec.name == "adamw" else adam
        for share in dict.fromkeys(self._shares):
            chosen = [i for i, own in enumerate(self._shares) if own == share]
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
                lr=rate * share.rate,
                weight_decay=share.decay,
                eps=self.spec.eps,
                maximize=False,
            )

    def state_dict(self) -> dict[str, Any]:
        """The number of steps and both moments, in the order of the parameters, with None for those that are not
        trained; the number of each where they differ."""
        steps = [int(count) for count in self._steps]
        same = len(set(steps)) <= 1
        return {
            "steps": (steps[0] if steps else 0) if same else self._with_gaps(steps),
            "first": self._with_gaps(self._first),
            "second": self._with_gaps(self._second),
        }

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned for the same parameters, of which others may have been trained: those that
        were not begin now."""
        steps = state["steps"] if isinstance(state["steps"], list) else [state["steps"]] * len(self._trained)
        stored = zip(steps, state["first"], state["second"], self._trained, strict=True)
        chosen = [row for *row, trained in stored if trained]
        for own, (count, first, second) in zip(self._own(), chosen, strict=True):
            for target, source in zip(own, (count, first, second), strict=True):
                target.fill_(0) if first is None else target.copy_(torch.as_tensor(source))

    def _own(self) -> Iterable[tuple[Tensor, Tensor, Tensor]]:
        """The number of steps and both moments of every parameter that is trained."""
        return zip(self._steps, self._first, self._second, strict=True)

    def _with_gaps(self, values: Sequence[Any]) -> list[Any]:
        """One for each parameter: of those that are trained what is given, in their order."""
        left = iter(values)
        return [next(left) if trained else None for trained in self._trained]


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
