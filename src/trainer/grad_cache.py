"""The gradient of one step, in micro-batches where a batch is too large for memory at once.

The loss compares every object with every other of the batch, so the gradients of separate micro-batches do not add up
to that of the batch. Gradient caching (Gao et al., arXiv 2101.06983) solves this: a first pass without gradient embeds
everything, the loss gives the gradient of every embedding, and a second pass propagates each micro-batch's gradients
back through the encoder. Both passes drop the same, which follows from the samples' keys; running statistics are
updated in the second only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from captionless.trainer.encoders.encoder import Encoder
from captionless.trainer.ops.batch_norm import running_statistics_kept

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def accumulate_gradients(
    encoder: Encoder,
    points: Tensor,
    sizes: Sequence[int],
    loss: Callable[[Tensor], Tensor],
    keys: Tensor,
    precision: torch.dtype = torch.float32,
) -> None:
    """Add the gradient of `loss(embeddings)` to that of all it depends on.

    points: (n, m, in_channels), this rank's. sizes: how many of them each micro-batch has. loss: of (n, embed_dim),
    L2-normalised, at least float32, to 0-d. keys: (n,) int64, see `Encoder.keys_of`. precision: of the encoder's
    products under autocast; float32 is without.
    """
    parts = list(zip(torch.split(points, list(sizes)), torch.split(keys, list(sizes)), strict=True))

    def embed(part: int) -> Tensor:
        with torch.autocast(points.device.type, dtype=precision, enabled=precision != torch.float32):
            found = encoder(*parts[part])
        return functional.normalize(found.to(torch.promote_types(found.dtype, torch.float32)), dim=-1)

    if len(parts) == 1:
        loss(embed(0)).backward()  # type: ignore[no-untyped-call]
        return
    with torch.no_grad(), running_statistics_kept(encoder):
        embeddings = torch.cat([embed(part) for part in range(len(parts))])
    embeddings.requires_grad_()
    loss(embeddings).backward()  # type: ignore[no-untyped-call]
    assert embeddings.grad is not None
    for part, grad in enumerate(torch.split(embeddings.grad, list(sizes))):
        embed(part).backward(grad)  # type: ignore[no-untyped-call]
