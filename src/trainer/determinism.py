"""The same bits on every call: what that takes of torch, for the whole process."""

from __future__ import annotations

import torch


def compute_reproducibly(threads: int, device: str) -> None:
    """So many CPU threads, and no operator whose sums come in any order; a device other than the CPU may only warn."""
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=device != "cpu")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # costs a pass
