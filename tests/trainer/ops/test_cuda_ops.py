"""The choice of the package's operators, which need a GPU: what is asked of them, by a stand-in for the package."""

import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from captionless.errors import SpecError
from captionless.spec.encoder import EncoderSpec
from captionless.trainer import encoders, loop
from captionless.trainer.ops import cuda_ops, point_sets, torch_ops
from tests.trainer import synthetic
from tests.trainer.ops.test_point_sets import cloud

GPU, CPU = torch.device("cuda"), torch.device("cpu")


@pytest.fixture(autouse=True)
def _own_again() -> Iterator[None]:
    yield
    cuda_ops.choose("own", CPU)


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """`pointnext.ops` as its version 0.0.5 has it, int32 and asking for contiguous float32; what was called."""
    called: list[str] = []

    def furthest_point_sample(xyz: torch.Tensor, npoint: int) -> torch.Tensor:
        assert xyz.is_contiguous()
        assert xyz.dtype == torch.float32
        called.append("furthest_point_sample")
        return torch_ops.farthest_point_sample(xyz, npoint).int()

    def ball_query(src: torch.Tensor, query: torch.Tensor, radius: float, k: int) -> torch.Tensor:
        assert src.is_contiguous()
        assert query.is_contiguous()
        called.append("ball_query")
        return torch_ops.ball_query(src, query, radius, k).int()

    module: Any = types.ModuleType("pointnext.ops")
    module.furthest_point_sample, module.ball_query = furthest_point_sample, ball_query
    monkeypatch.setitem(sys.modules, "pointnext", types.ModuleType("pointnext"))
    monkeypatch.setitem(sys.modules, "pointnext.ops", module)
    return called


def test_it_serves_where_it_was_chosen_and_gives_our_types(package: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    xyz = cloud(2, 40).transpose(0, 1).contiguous().transpose(0, 1)  # not contiguous
    centers = xyz[:, :5]
    expected = point_sets.farthest_point_sample(xyz, 7), point_sets.ball_query(xyz, centers, 0.5, 4)
    cuda_ops.choose("pointnext", GPU)
    assert not cuda_ops.serves(xyz)  # on the CPU
    monkeypatch.setattr(cuda_ops, "_DEVICE", "cpu")
    found = point_sets.farthest_point_sample(xyz, 7), point_sets.ball_query(xyz, centers, 0.5, 4)
    assert package == ["furthest_point_sample", "ball_query"]
    assert all(f.dtype == torch.int64 for f in found)
    assert all(torch.equal(f, e) for f, e in zip(found, expected, strict=True))
    point_sets.farthest_point_sample(xyz.double(), 7)
    cuda_ops.choose("own", GPU)
    point_sets.farthest_point_sample(xyz, 7)
    assert len(package) == 2


def test_what_is_missing_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpecError, match=r"^encoder\.operators: pointnext.* cpu"):
        cuda_ops.choose("pointnext", CPU)

    for error, named in (
        (OSError("_C.so: undefined symbol"), r"_C\.so: undefined symbol"),
        (ModuleNotFoundError("No module named 'einops'", name="einops"), r"'einops'"),
        (ModuleNotFoundError(name="pointnext"), r"pip install .*captionless\[pointnext\]"),
    ):
        monkeypatch.setattr(cuda_ops.importlib, "import_module", lambda name, error=error: raised(error))
        with pytest.raises(SpecError, match=rf"^encoder\.operators: pointnext.*{named}"):
            cuda_ops.choose("pointnext", GPU)


def raised(error: Exception) -> None:
    raise error


def test_a_run_asks_for_it_and_its_model_does_not(tmp_path: Path) -> None:
    synthetic.write(tmp_path)
    encoder = {"width": 4, "nsample": 4, "radius": 0.4, "operators": "pointnext"}
    job = synthetic.job(tmp_path, encoder=encoder).model_copy(update={"device": "cpu"})
    assert "operators" not in encoders.encoder_options(job.train.encoder, 8)
    assert job.train.encoder.model_dump()["operators"] == "pointnext"  # in the fingerprint
    assert "operators" not in EncoderSpec().model_dump()
    with pytest.raises(SpecError, match=r"encoder\.operators"):
        loop.TrainingRun(job)
