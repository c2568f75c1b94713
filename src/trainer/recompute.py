"""Gradient checkpointing (Chen et al., arXiv 1604.06174): activations are computed again instead of being kept.

Of each of an encoder's large parts (a transformer block, a residual block, a set abstraction) only what goes in is kept
for the backward pass, which runs the part once more. That takes about a third more time, and the memory of one part
instead of all. The second run draws the same random numbers, and its batches do not enter the norms' running statistics
again, so that every bit is the same as without.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from captionless.trainer.encoders.encoder import Encoder
from captionless.trainer.encoders.pointbert import Block, GroupTokens
from captionless.trainer.encoders.pointnext import SetAbstraction
from captionless.trainer.encoders.sparseconv import Residual
from captionless.trainer.ops.batch_norm import running_statistics_kept

_PARTS = (Block, GroupTokens, SetAbstraction, Residual)


def recompute(encoder: Encoder) -> None:
    """Let an encoder keep nothing of its large parts for the backward pass but what they are given."""
    for module in encoder.modules():
        if isinstance(module, _PARTS):
            module.forward = partial(_recomputed, module, module.forward)  # type: ignore[method-assign]


def _recomputed(module: nn.Module, forward: Callable[..., Any], *given: Any, **named: Any) -> Any:
    if not torch.is_grad_enabled():
        return forward(*given, **named)
    second = partial(running_statistics_kept, module)
    contexts = partial(_two, contextlib.nullcontext, second)
    return checkpoint(forward, *given, **named, use_reentrant=False, context_fn=contexts)


def _two(first: Callable[[], Any], second: Callable[[], Any]) -> tuple[Any, Any]:
    return first(), second()
