"""Masked false negatives: the mask, losses and gradients under it, against plain float64, on one and two ranks."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor
from torch.nn import functional

from captionless.trainer import distributed
from captionless.trainer.losses.false_negatives import FalseNegatives, false_negatives
from captionless.trainer.losses.hcl import hcl_share
from captionless.trainer.losses.hn_weights import HNWeights
from captionless.trainer.losses.multi_positive import multi_positive_share
from captionless.trainer.losses.tiled import contrastive_share

N, D, MARGIN = 11, 6, 0.1
KEYS = ["a", "b", "c", "a", "d", "e", "f", "g", "h", "i", "j"]  # an object twice in the first group
GROUPS = np.array([0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3])
SCALES = (1 / 0.07, 100.0)


def problem() -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(0)

    def unit(*shape: int) -> Tensor:
        return functional.normalize(torch.randn(*shape, D, generator=g, dtype=torch.float64), dim=-1)

    of_group = unit(4)[torch.from_numpy(GROUPS)]
    near = functional.normalize(of_group + 0.4 * unit(N), dim=-1)
    views = functional.normalize(near[:, None] + 0.6 * unit(N, 3), dim=-1)
    views[3] = views[0]  # the same object
    sim = torch.rand(N, N, generator=g, dtype=torch.float64) + 0.1
    return {
        "image": views[:, 1],
        "means": functional.normalize(views.mean(1), dim=-1),
        "views": views,
        "shape": unit(N),
        "sim": (sim + sim.t()) / 2,
    }


def masked() -> np.ndarray:
    """M[i, j], written out."""
    given, found = problem(), np.zeros((N, N), bool)
    image, means = given["image"].numpy(), given["means"].numpy()
    for i in range(N):
        for j in range(N):
            if GROUPS[i] == GROUPS[j] and KEYS[i] != KEYS[j]:
                found[i, j] = means[j] @ image[i] + MARGIN > means[i] @ image[i]
    return found


def log_weights() -> Tensor:
    """Eq. 6 of two metrics' mean over the negatives that are left, -inf for the others, written out."""
    total, mask, sim = np.zeros((N, N)), masked(), problem()["sim"].numpy()
    for metric in (sim, sim**2):
        for i in range(N):
            left = [s for s in range(N) if KEYS[s] != KEYS[i] and not mask[i, s]]
            for s in left:
                total[i, s] += len(left) * metric[i, s] / metric[i, left].sum() / 2
            total[i, i] += 0.5
    with np.errstate(divide="ignore"):
        return torch.from_numpy(np.log(total))


def plain(name: str, image: Tensor, shape: Tensor, scale: Tensor) -> Tensor:
    """The loss of the whole batch as its formula, by autograd."""
    w = log_weights()
    logits, own = scale * image @ shape.t(), torch.arange(N)
    if name == "contrastive":
        both = ((x + w).logsumexp(1) - x[own, own] for x in (logits, logits.t()))
        return torch.stack([*both]).mean()
    total = shape.new_zeros(())
    for i in range(N):
        left = [s for s in range(N) if s != i and w[i, s] > -torch.inf]
        importance = (0.5 * logits[i, left] + w[i, left]).exp()
        negative = len(left) * (importance * logits[i, left].exp()).sum() / importance.sum()
        pos = logits[i, i].exp()
        rest = torch.clamp((negative - 0.1 * len(left) * pos) / 0.9, min=len(left) * float(torch.exp(-scale.detach())))
        total = total - (pos / (pos + rest)).log()
    return total / N


def weights_of(own: slice, sizes: list[int], given: dict[str, Tensor]) -> tuple[HNWeights, FalseNegatives]:
    hidden = false_negatives(given["image"][own], given["means"][own], GROUPS, KEYS, MARGIN, sizes)
    assert hidden is not None
    sims = [given["sim"][own].clone(), given["sim"][own].square()]
    return HNWeights(sims, KEYS, sizes=sizes, hidden=hidden), hidden


def share(name: str, scale: float, own: slice, sizes: list[int]) -> dict[str, Any]:
    """A rank's loss and gradients."""
    given = problem()
    shape, inverse = given["shape"][own].clone().requires_grad_(), torch.tensor(scale, dtype=torch.float64)
    inverse.requires_grad_()
    weights, hidden = weights_of(own, sizes, given)
    if name == "contrastive":
        value = contrastive_share(given["image"][own], shape, inverse, weights, sizes)
    elif name == "views":
        value = multi_positive_share(given["views"][own], shape, inverse, weights, sizes)
    else:
        value = hcl_share(given["image"][own], shape, inverse, 0.5, 0.1, weights, sizes)
    value.backward()
    return {
        "loss": distributed.all_reduce_sum(value.detach()),
        "shape": shape.grad,
        "scale": distributed.all_reduce_sum(inverse.grad),
        "count": hidden.pairs,
        "mask": hidden.of_rows,
        "transposed": hidden.of_columns,
    }


CASES = [(name, scale) for name in ("contrastive", "hcl", "views") for scale in SCALES]


def compute() -> dict[Any, Any]:
    sizes = distributed.shares(N, distributed.world_size())
    own = distributed.own_rows(sizes)
    return {case: share(*case, own, sizes) for case in CASES}


def _rank(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo", rank=rank, world_size=2)
    torch.save(compute(), Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


def test_the_problem_has_one_sided_masks_that_differ_between_anchors() -> None:
    mask = masked()
    assert (mask & ~mask.T).any()
    assert 0 < mask.sum() < (GROUPS[:, None] == GROUPS).sum() - N
    assert not mask[GROUPS[:, None] != GROUPS].any()
    assert not mask[0, 3]


@pytest.mark.parametrize(("name", "scale"), [case for case in CASES if case[0] != "views"])
def test_loss_and_gradient_are_those_of_the_formula(name: str, scale: float) -> None:
    found, given = share(name, scale, slice(0, N), [N]), problem()
    shape = given["shape"].clone().requires_grad_()
    inverse = torch.tensor(scale, dtype=torch.float64, requires_grad=True)
    expected = plain(name, given["image"], shape, inverse)
    expected.backward()
    np.testing.assert_array_equal(found["mask"].numpy(), masked())
    np.testing.assert_array_equal(found["transposed"].numpy(), masked().T)
    assert found["count"] == masked().sum()
    within = 1e-12 if name == "contrastive" else 1e-9  # HCL as it is written subtracts numbers that are nearly equal
    torch.testing.assert_close(found["loss"], expected.detach(), rtol=within, atol=0)
    torch.testing.assert_close(found["shape"], shape.grad, rtol=1e3 * within, atol=0.1 * within)
    torch.testing.assert_close(found["scale"], inverse.grad, rtol=1e3 * within, atol=0.1 * within)


@pytest.mark.parametrize("scale", SCALES)
def test_several_views_alike_are_one(scale: float) -> None:
    """Of equal views the loss of several positives is eq. 5, masks included."""
    given, sizes = problem(), [N]
    weights, _ = weights_of(slice(0, N), sizes, given)
    inverse = torch.tensor(scale, dtype=torch.float64)
    alike = given["image"][:, None].expand(N, 3, D)
    several = multi_positive_share(alike, given["shape"], inverse, weights, sizes)
    torch.testing.assert_close(several, plain("contrastive", given["image"], given["shape"], inverse))


def test_a_masked_neighbour_far_above_all_else_takes_no_digits() -> None:
    """At the largest scale, in float32: what is masked is not what the exponentials are measured by."""
    given, dtype = problem(), torch.float32
    mask = masked()
    i, j = np.argwhere(mask & ~mask.T)[0]
    shape = given["shape"].clone()
    shape[j] = given["image"][i]  # a logit of 100, beside which the others underflow
    shape[i] = -given["image"][i]
    weights, _ = weights_of(slice(0, N), [N], given)
    expected = plain("contrastive", given["image"], shape, torch.tensor(100.0, dtype=torch.float64))
    found = contrastive_share(given["image"].to(dtype), shape.to(dtype), torch.tensor(100.0), weights, [N])
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=0)


def test_nothing_that_is_nearer_than_the_positive_is_no_mask() -> None:
    given = problem()
    alone = np.arange(N)
    assert false_negatives(given["image"], given["means"], alone, KEYS, 2.0, [N]) is None


def test_two_ranks_mask_and_weigh_as_one(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.start_processes(_rank, (port, str(tmp_path)), nprocs=2, start_method="spawn")
    expected, parts = compute(), [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for case in CASES:
        for name, whole in expected[case].items():
            found = [part[case][name] for part in parts]
            if name in ("loss", "scale", "count"):
                assert float(found[0]) == pytest.approx(float(whole), rel=1e-12)
                assert float(found[0]) == float(found[1])
            else:
                torch.testing.assert_close(torch.cat(found), whole, rtol=1e-11, atol=1e-14)
