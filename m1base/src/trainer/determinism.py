"""Bit-identical results on every call: the torch settings for it, for the whole process."""

from __future__ import annotations

import torch


def compute_reproducibly(threads: int, device: str) -> None:
    """So many CPU threads, and no operator whose sums come in any order; on a GPU these are warned of only."""
    torch.set_num_threads(threads)
    if device != "cpu" and torch.cuda.is_available():
        torch.use_deterministic_algorithms(True, warn_only=True)
    else:
        torch.set_deterministic_debug_mode("error")  # the same without torch's compiler, two seconds of importing
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # costs a pass
