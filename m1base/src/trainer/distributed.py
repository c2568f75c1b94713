"""Collectives of a training step, differentiable where a gradient must cross ranks.

Convention: the loss of a rank is its share of the global loss, and the shares sum to it. Then every gradient that a
rank computes is a part of the one-process gradient, and summing parameter gradients over ranks gives it whole; the
backward pass of each collective is again a plain sum. Gradients are summed as one flat buffer in parameter order and
not by DistributedDataParallel, whose buckets differ after a restart: a ring all-reduce adds in an order
that depends on an element's place, so only a fixed layout resumes to the same bits.

There are two process groups of the same ranks. A step's collectives give up after `train.collectiveTimeout`, so that a
vanished or stopped rank ends the others; what waits for storage has the default group and the longer patience of
`heartbeat`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any, cast

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from captionless.trainer.elastic.heartbeat import PATIENCE_SECONDS

_BLOCKS_OF_A_WAVE = 4  # computed by a rank before all exchange what they have

RowBlock = Callable[[NDArray[np.int64]], NDArray[Any]]
"""Computes the rows of some indices."""

_steps: dist.ProcessGroup | None = None  # None is torch's name for the default group


def start(backend: str, collective_timeout: float) -> None:
    """Join the ranks that torchrun started; a step's collectives fail after `collective_timeout` seconds."""
    global _steps
    dist.init_process_group(backend, timeout=timedelta(seconds=PATIENCE_SECONDS))
    _steps = cast(dist.ProcessGroup, dist.new_group(timeout=timedelta(seconds=collective_timeout)))


def stop() -> None:
    """Leave the process group, if there is one; for ranks whose peers are well."""
    global _steps
    if dist.is_initialized():
        dist.destroy_process_group()
        _steps = None


def meet() -> None:
    """Wait until every rank is here, as long as storage may take."""
    if world_size() > 1:
        dist.all_reduce(torch.zeros(1))


def from_first(value: Any) -> Any:
    """Rank 0's value (anything that can be pickled) on every rank; waits as long as storage may take."""
    if world_size() == 1:
        return value
    values = [value if rank() == 0 else None]
    dist.broadcast_object_list(values, src=0)
    return values[0]


def rank() -> int:
    """This process's rank; 0 outside a process group."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Number of ranks; 1 outside a process group."""
    return dist.get_world_size() if dist.is_initialized() else 1


def shares(total: int, world: int) -> list[int]:
    """How many of `total` rows each rank holds: contiguous, sizes differing by at most one, larger ones first."""
    return [total // world + (r < total % world) for r in range(world)]


def own_rows(sizes: Sequence[int]) -> slice:
    """This rank's rows of a global batch of which rank r holds `sizes[r]`."""
    first = sum(sizes[: rank()])
    return slice(first, first + sizes[rank()])


def all_gather(x: Tensor) -> Tensor:
    """What each rank of a process group holds as `x`, (...) -> (world, ...), in rank order and without gradient."""
    x = x.detach().contiguous()
    found = x.new_empty(world_size() * x.numel())
    dist.all_gather_into_tensor(found, x.reshape(-1), group=_steps)
    return found.view(world_size(), *x.shape)


def all_reduce_sum(x: Tensor) -> Tensor:
    """The sum of `x`, a few numbers, over ranks, without gradient; `x` itself outside a process group.

    Gathered and added in rank order: for a few numbers that is one exchange where a ring all-reduce is two, and
    the sum does not depend on how a backend cuts up its ring.
    """
    return x if world_size() == 1 else all_gather(x).sum(0)


def all_reduce_max(x: Tensor) -> Tensor:
    """The greatest of `x` over ranks, elementwise, without gradient; `x` itself outside a process group."""
    return x if world_size() == 1 else all_gather(x).amax(0)


def any_rank(*flags: bool) -> tuple[bool, ...]:
    """Whether each of some flags is set on any rank; every rank gets the same answer."""
    if world_size() == 1:
        return flags
    counts = torch.tensor(flags, dtype=torch.float32)
    dist.all_reduce(counts, group=_steps)
    return tuple((counts > 0).tolist())


def all_reduce_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Replace every parameter's gradient by its sum over ranks; a missing gradient counts as zero."""
    if world_size() == 1:
        return
    held = [p for p in parameters if p.requires_grad]
    flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in held])
    dist.all_reduce(flat, group=_steps)
    for p, grad in zip(held, torch.split(flat, [p.numel() for p in held]), strict=True):
        p.grad = grad.view_as(p).clone()


def gather(x: Tensor, sizes: Sequence[int]) -> Tensor:
    """The rows of all ranks in rank order, (n, ...) -> (sum(sizes), ...), without gradient.

    `sizes[r]` is the number of rows that rank r holds.
    """
    if len(sizes) != world_size() or sizes[rank()] != x.shape[0]:
        raise ValueError(f"rank {rank()} of {world_size()} holds {x.shape[0]} rows, but sizes are {list(sizes)}")
    if world_size() == 1:
        return x.detach()
    padded = x.new_zeros(max(sizes), *x.shape[1:])
    padded[: x.shape[0]] = x
    return torch.cat([part[:size] for part, size in zip(all_gather(padded), sizes, strict=True)])


def own_sum(x: Tensor, sizes: Sequence[int]) -> Tensor:
    """This rank's rows of the sum of `x`, (sum(sizes), ...), over ranks, without gradient: what undoes `gather`."""
    if world_size() > 1:
        dist.all_reduce(x, group=_steps)
    return x[own_rows(sizes)]


def gather_differentiable(x: Tensor, sizes: Sequence[int]) -> Tensor:
    """`gather` whose gradient is summed over ranks: for losses that are shares of a sum."""
    if world_size() == 1:
        return x
    found: Tensor = _Gather.apply(x, tuple(sizes))
    return found


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, sizes: tuple[int, ...]) -> Tensor:
        ctx.sizes = sizes
        return gather(x, sizes)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return own_sum(grads[0].clone(memory_format=torch.contiguous_format), ctx.sizes), None


def by_blocks(block: RowBlock, count: int, size: int, beat: Callable[[], None] = lambda: None) -> NDArray[Any]:
    """The rows that `block` computes for the indices 0 .. count - 1, at most `size` at a time, on every rank.

    beat: see `in_waves`.
    """
    return np.concatenate([block(np.arange(0)), *in_waves(block, 0, count, size, beat)])


def in_waves(
    block: RowBlock, start: int, count: int, size: int, beat: Callable[[], None] = lambda: None
) -> Iterator[NDArray[Any]]:
    """The rows that `block` computes for the indices start .. count - 1, wave after wave, on every rank.

    Each rank computes some whole blocks of a wave, of at most `size` indices: what is computed for a block does not
    depend on the number of ranks, so neither do the results' last bits. After each block `beat` is called, and at the
    end of a wave a rank that is ready waits for the others, as long as reading from storage may take. So however long
    everything takes, nobody waits, or is silent, for longer than a few blocks. `block` may be called with no indices.
    """
    wave = size * world_size() * _BLOCKS_OF_A_WAVE
    for first in range(start, count, wave):
        last = min(first + wave, count)
        blocks = [np.arange(at, min(at + size, last)) for at in range(first, last, size)]
        runs = shares(len(blocks), world_size())
        found = [block(np.arange(0))]
        for places in blocks[own_rows(runs)]:
            found.append(block(places))
            beat()
        meet()
        edges = [min(size * sum(runs[:r]), last - first) for r in range(len(runs) + 1)]
        gathered: NDArray[Any] = gather(torch.from_numpy(np.concatenate(found)), np.diff(edges).tolist()).numpy()
        yield gathered
