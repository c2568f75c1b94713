"""What is other code on a GPU than on a CPU, against the CPU's: `make test-gpu`, which fails where there is none."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from captionless.errors import Interrupted
from captionless.precompute.pair_similarity import i2i, i2l
from captionless.trainer import encoders, loop, model_file
from captionless.trainer.elastic import supervisor
from captionless.trainer.losses.contrastive import contrastive_loss
from captionless.trainer.losses.hcl import hcl_loss
from captionless.trainer.losses.hn_weights import HNWeights
from captionless.trainer.ops import point_sets
from tests.trainer import synthetic
from tests.trainer.losses.test_contrastive import pairs, similarity
from tests.trainer.ops.test_point_sets import cloud, hard_clouds
from tests.trainer.test_loop import after

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def _gpu() -> None:
    assert torch.cuda.is_available(), "make test-gpu is for a machine with a GPU"
    torch.backends.cuda.matmul.allow_tf32 = False


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_operators_find_the_same_to_the_index(dtype: torch.dtype) -> None:
    for xyz in (*hard_clouds(dtype), cloud(3, 5000, dtype), cloud(2, 16384, dtype), cloud(1, 16500, dtype)):
        m = min(xyz.shape[1] // 2, 700)
        sample = point_sets.farthest_point_sample(xyz, m)
        assert torch.equal(point_sets.farthest_point_sample(xyz.cuda(), m).cpu(), sample)
        centers = xyz.gather(1, sample.unsqueeze(-1).expand(-1, -1, 3))
        centers[:, -1] = 9.0  # hits nothing
        for radius, nsample in ((0.25, 8), (0.5, 32), (2.0, 200)):
            got = point_sets.ball_query(xyz.cuda(), centers.cuda(), radius, nsample).cpu()
            assert torch.equal(got, point_sets.ball_query(xyz, centers, radius, nsample))
        k = min(m, 32)
        assert torch.equal(
            point_sets.k_nearest(xyz.cuda(), centers.cuda(), k).cpu(), point_sets.k_nearest(xyz, centers, k)
        )


def test_without_a_c_compiler_plain_torch_serves_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(point_sets, "_COMPILER", None)
    xyz = cloud(2, 100)
    with pytest.warns(UserWarning, match="C compiler"):
        got = point_sets.farthest_point_sample(xyz.cuda(), 50).cpu()
    assert torch.equal(got, point_sets.farthest_point_sample(xyz, 50))


def test_points_that_are_no_numbers_do_no_harm() -> None:
    xyz = cloud(2, 100)
    xyz[0, 7], xyz[1, 3:5] = torch.nan, torch.inf
    got = point_sets.farthest_point_sample(xyz.cuda(), 50)
    assert got.min() >= 0
    assert got.max() < 100


@pytest.mark.parametrize(
    ("name", "options"),
    [("pointnext-s", {"dropout": 0.0}), ("pointbert", {"depth": 2, "groups": 64}), ("sparseconv", {"dropout": 0.0})],
    ids=["pointnext-s", "pointbert", "sparseconv"],
)
def test_encoders_and_their_gradients(name: str, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    encoder = encoders.build(name, **options).double().train()
    if name == "pointbert":
        encoder.eval()  # drop path draws from the device's own generator
    points = cloud(6, 512, torch.float64)
    found = []
    for device in ("cpu", "cuda"):
        model = copy.deepcopy(encoder).to(device)
        out = model(points.to(device))
        (out * torch.linspace(-1, 1, out.shape[1], dtype=out.dtype, device=device)).sum().backward()
        found.append([out.detach().cpu(), *(p.grad.cpu() for p in model.parameters() if p.grad is not None)])
    scale = max(float(x.norm()) for x in found[0])
    for got, expected in zip(found[1], found[0], strict=True):
        assert (got - expected).norm() <= 1e-9 * expected.norm().clamp_min(1e-4 * scale)


@pytest.mark.parametrize("scale", [1 / 0.07, 100.0])
@pytest.mark.parametrize("count", [0, 1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_losses_and_their_gradients(scale: float, count: int, dtype: torch.dtype) -> None:
    n = 300
    ids = [i % 290 for i in range(n)]

    def gradients(loss: Callable[..., Tensor], dtype: torch.dtype, device: str) -> list[Tensor]:
        given = [x.to(device, dtype).requires_grad_() for x in (*pairs(n, 24), torch.tensor(scale))]
        sims = [similarity(n, seed).to(device, dtype) for seed in range(count)]
        value = loss(*given, HNWeights(sims, ids) if sims else None)
        return [x.detach().cpu().double() for x in (value, *torch.autograd.grad(value, given))]

    def hcl(image: Tensor, shape: Tensor, scale: Tensor, weights: HNWeights | None) -> Tensor:
        return hcl_loss(image, shape, 1 / scale, 1.0, 0.1, weights)  # type: ignore[arg-type]

    for loss, single in ((contrastive_loss, 1e-6), (hcl, 2e-4)):  # debiasing subtracts what is nearly equal
        exact = gradients(loss, torch.float64, "cpu")
        for got, expected in zip(gradients(loss, dtype, "cuda"), exact, strict=True):
            assert (got - expected).norm() <= (1e-10 if dtype == torch.float64 else single) * expected.norm()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_similarity_takes_what_is_on_a_gpu(dtype: torch.dtype) -> None:
    g = torch.Generator().manual_seed(0)
    views = torch.nn.functional.normalize(torch.randn(20, 5, 64, generator=g), dim=-1).to(dtype)
    landmarks = torch.nn.functional.normalize(torch.randn(16, 64, generator=g), dim=-1)
    for got, expected in (
        (i2i(views.cuda()), i2i(views)),
        (i2l(views.cuda(), landmarks.cuda()), i2l(views, landmarks)),
    ):
        assert torch.equal(torch.as_tensor(got), torch.as_tensor(expected))


@pytest.mark.parametrize(
    "settings",
    [{}, {"precision": "bfloat16"}, {"precision": "float16"}, {"compile": True}, {"accumulate": 2}],
    ids=["float32", "bfloat16", "float16", "compiled", "accumulated"],
)
def test_a_training_that_is_stopped_goes_on(settings: dict[str, Any], tmp_path: Path) -> None:
    synthetic.write(tmp_path)
    found = []
    for stops in ([], [3]):
        job = synthetic.job(tmp_path, f"run-{stops}", "avg", **settings).model_copy(update={"device": "cuda"})
        for steps in stops:
            with pytest.raises(Interrupted):
                loop.train(job, after(steps))
        loop.train(job)
        model, _ = model_file.load_model(job.run)
        assert all(x.isfinite().all() for x in model.state_dict().values())
        found.append(json.loads(Path(job.run, "history.json").read_text()))
    # sums on a GPU come in any order, so that a training is repeated nearly and not to the bit: after a few of Adam's
    # first steps, which are as long for the smallest gradient, the low precisions differ by more
    exact = 3 if "precision" in settings else 6
    for whole, stopped in zip(found[0]["loss"][:exact], found[1]["loss"][:exact], strict=True):
        assert stopped == pytest.approx(whole, rel=2e-2)
    on_cpu = synthetic.job(tmp_path, "cpu", "avg").model_copy(update={"device": "cpu"})
    loop.train(on_cpu)
    of_cpu = json.loads(Path(on_cpu.run, "history.json").read_text())
    assert found[0]["loss"][0] == pytest.approx(of_cpu["loss"][0], rel=1e-3 if exact == 6 else 0.05)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_kernels_run_where_their_points_are_whatever_device_is_current() -> None:
    assert torch.cuda.current_device() == 0
    xyz = cloud(3, 5000)
    sample = point_sets.farthest_point_sample(xyz, 700)
    centers = xyz.gather(1, sample.unsqueeze(-1).expand(-1, -1, 3))
    there = xyz.to("cuda:1"), centers.to("cuda:1")
    assert torch.equal(point_sets.farthest_point_sample(there[0], 700).cpu(), sample)
    assert torch.equal(point_sets.ball_query(*there, 0.25, 32).cpu(), point_sets.ball_query(xyz, centers, 0.25, 32))
    assert torch.cuda.current_device() == 0


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_two_gpus_train_as_one_does(tmp_path: Path) -> None:
    synthetic.write(tmp_path)
    found = []
    for ranks in (1, 2):
        job = synthetic.job(tmp_path, f"ranks-{ranks}", "avg").model_copy(update={"device": "cuda"})
        supervisor.run(job, ranks, tmp_path / f"ranks-{ranks}.log")
        found.append(json.loads(Path(job.run, "history.json").read_text())["loss"])
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-4)
