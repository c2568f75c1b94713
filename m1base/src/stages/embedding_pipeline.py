"""Packed views of objects -> their CLIP embeddings, as fast as the model itself: whatever else there is to do is done
beside it.

An object's embedding depends on its views and the model alone, never on the objects embedded before, after or together
with it, so that a store that was appended to holds the same bytes as one made at once. A matrix product is rounded as
its shape makes the kernels cut it; therefore all products have a shape that the company has no part in:

- On a CPU, the views of one object are a batch (or several, where they are more than `batch_size`). Every core takes
  one object after another, decodes it and embeds it: cores that share a product wait for one another at its end.
- A GPU needs more at once: as many whole objects as fit into `batch_size`, and copies of the last picture where there
  are fewer. Views are decoded in threads, and a batch is queued while the one before is being computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from captionless.clip.openclip import Clip, check_embeddings
from captionless.errors import DataError
from captionless.runtime.env import cores
from captionless.runtime.thread_pools import map_ahead, thread_pool
from captionless.store.views import decode_view, on_white, view_name

if TYPE_CHECKING:
    import torch

_OBJECTS_AHEAD = 8
"""Decoded, or being decoded, while one is taken: what is written takes its turns, but the model never waits."""

Sample = tuple[str, Mapping[str, bytes]]
"""An object's key and its members."""


@dataclass(frozen=True)
class Embedded:
    """An object's `key` and members, and the embeddings of its views: `rows` (R, F) float32, L2-normalised."""

    key: str
    members: Mapping[str, bytes]
    rows: NDArray[np.float32]


@dataclass(frozen=True)
class _Decoded:
    key: str
    members: Mapping[str, bytes]
    pictures: NDArray[np.uint8]
    """(R, H, W, 3), on white."""


def embed_views(
    clip: Clip, samples: Iterable[Sample], views: int, batch_size: int, where: str = ""
) -> Iterator[Embedded]:
    """The samples in their order, each with the embeddings of its `views` views.

    batch_size: pictures that the model is given at once, at most, and that all cores work on at once (an object per
    core at least). Samples are taken a few ahead, in the caller's thread. DataError names the object, and `where` it
    is from, when a view is missing or no picture, when they differ in size, or when an embedding is not finite.
    """

    def decode(sample: Sample) -> _Decoded:
        key, members = sample
        return _Decoded(key, members, _pictures(key, members, views, where))

    if clip.device.type == "cpu":
        return _on_cores(clip, samples, decode, views, batch_size, where)
    return _in_batches(clip, samples, decode, views, batch_size, where)


def _pictures(key: str, members: Mapping[str, bytes], views: int, where: str) -> NDArray[np.uint8]:
    names = [view_name(i) for i in range(views)]
    missing = [name for name in names if name not in members]
    if missing:
        raise DataError(f"{where}: object {key!r} has no {missing[0]}; expected {views} views")
    decoded = [decode_view(members[name], f"{where}: {key}.{name}") for name in names]
    for name, view in zip(names, decoded, strict=True):
        if view.shape != decoded[0].shape:
            raise DataError(f"{where}: object {key!r}: its views differ in size, {names[0]} and {name}; rerun pack")
    return on_white(np.stack(decoded))


def _on_cores(
    clip: Clip,
    samples: Iterable[Sample],
    decode: Callable[[Sample], _Decoded],
    views: int,
    batch_size: int,
    where: str,
) -> Iterator[Embedded]:
    from captionless.runtime.torch_threads import shared_cores

    def embed(sample: Sample) -> Embedded:
        found = decode(sample)
        parts = [clip.start(found.pictures[i : i + batch_size]) for i in range(0, views, batch_size)]
        return _finish(found, [part.numpy() for part in parts], where)

    with shared_cores(max(1, batch_size // views)) as pool:
        yield from map_ahead(pool, embed, samples, _OBJECTS_AHEAD)


def _in_batches(
    clip: Clip,
    samples: Iterable[Sample],
    decode: Callable[[Sample], _Decoded],
    views: int,
    batch_size: int,
    where: str,
) -> Iterator[Embedded]:
    at_once = max(1, batch_size // views)
    size = min(at_once * views, batch_size)

    def start(group: Sequence[_Decoded]) -> list[torch.Tensor]:
        pictures = np.concatenate([each.pictures for each in group])
        return [clip.start(_padded(pictures[i : i + size], size)) for i in range(0, len(pictures), size)]

    def finish(group: Sequence[_Decoded], parts: Sequence[torch.Tensor]) -> Iterator[Embedded]:
        rows = np.concatenate([part.cpu().numpy() for part in parts])
        for n, each in enumerate(group):
            yield _finish(each, [rows[n * views : (n + 1) * views]], where)

    with thread_pool(cores()) as pool:
        queued: tuple[Sequence[_Decoded], Sequence[torch.Tensor]] | None = None
        for group in _groups(map_ahead(pool, decode, samples, max(_OBJECTS_AHEAD, 2 * at_once)), at_once):
            following = group, start(group)
            if queued is not None:
                yield from finish(*queued)
            queued = following
        if queued is not None:
            yield from finish(*queued)


def _groups(decoded: Iterable[_Decoded], most: int) -> Iterator[Sequence[_Decoded]]:
    """The objects in their order, as many as may go together, all of one size of pictures."""
    group: list[_Decoded] = []
    for each in decoded:
        if len(group) == most or (group and group[0].pictures.shape != each.pictures.shape):
            yield group
            group = []
        group.append(each)
    if group:
        yield group


def _padded(pictures: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    return np.concatenate([pictures, np.repeat(pictures[-1:], size - len(pictures), axis=0)])


def _finish(found: _Decoded, parts: Sequence[NDArray[np.float32]], where: str) -> Embedded:
    rows = np.concatenate(parts)
    check_embeddings(rows, lambda n: f"{where}: {found.key}.{view_name(n)}")
    return Embedded(found.key, found.members, rows)
