"""Every rank computes on the GPU of its place, and every kernel is started on the device that its tensors are on.

On a machine without GPUs: which one a rank makes current, and when, with torch.cuda's answers made up; and by the
source, that each place where a kernel is started is within its tensors' `device_of`. What two GPUs find together is in
`test_gpu`.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import torch

import captionless
from captionless.errors import SpecError
from captionless.trainer import device, distributed, loop, worker
from captionless.trainer.elastic.heartbeat import Heartbeat
from tests.trainer import synthetic

GUARD = "torch.cuda.device_of"


@pytest.fixture
def eight(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A node of eight GPUs; the calls that matter, as they are made."""
    calls: list[str] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    monkeypatch.setattr(torch.cuda, "set_device", lambda where: calls.append(f"current: {where}"))
    return calls


@pytest.mark.parametrize("rank", [0, 5, 13])
def test_a_rank_makes_the_gpu_of_its_place_on_the_node_current(
    eight: list[str], monkeypatch: pytest.MonkeyPatch, rank: int
) -> None:
    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.setenv("LOCAL_RANK", str(rank % 8))
    assert device.select_device("auto") == torch.device("cuda", rank % 8)
    assert eight == [f"current: cuda:{rank % 8}"]
    assert device.select_device("cpu").type == "cpu"
    assert len(eight) == 1


def test_more_ranks_than_gpus_are_refused(eight: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "8")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "9")
    with pytest.raises(SpecError, match=r"resources\.processes: 9 processes run on this node, which has 8 GPUs"):
        device.select_device("cuda")
    assert not eight


def test_the_device_is_current_before_the_ranks_join(
    eight: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.setattr("captionless.trainer.determinism.compute_reproducibly", lambda *_: None)
    monkeypatch.setattr(distributed, "start", lambda backend, _: eight.append(backend))
    monkeypatch.setattr(loop, "train", lambda *_: eight.append("train"))
    job = synthetic.job(tmp_path, "run", "avg").model_copy(update={"device": "cuda"})
    worker._run(job, lambda: False, Heartbeat(), None)
    assert eight == ["current: cuda:3", "cpu:gloo,cuda:nccl", "train"]


def unguarded(tree: ast.AST, guarded: bool = False) -> list[int]:
    """The lines where a kernel is started outside a guard: `kernel[grid](...)`, or one of another package's."""
    found = []
    for node in ast.iter_child_nodes(tree):
        within = guarded
        if isinstance(node, ast.With):
            within = guarded or any(ast.unparse(item.context_expr).startswith(f"{GUARD}(") for item in node.items)
        if isinstance(node, ast.FunctionDef):
            within = False
        if is_start(node) and not within:
            found.append(node.lineno)
        found += unguarded(node, within)
    return found


def is_start(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    of_a_package = isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) == "_kernels"
    return isinstance(node.func, ast.Subscript) or of_a_package


def starting() -> dict[str, ast.Module]:
    """The modules that start kernels: those that import Triton, and that of the other package's operators."""
    folder = Path(captionless.__file__).parent
    sources = {path.stem: path.read_text() for path in folder.rglob("*.py")}
    return {n: ast.parse(s) for n, s in sources.items() if "import triton\n" in s or n == "cuda_ops"}


def test_every_kernel_is_started_on_its_tensors_device() -> None:
    modules = starting()
    assert {"triton_ops", "cuda_ops"} <= set(modules)
    for name, tree in modules.items():
        starts = [node for node in ast.walk(tree) if is_start(node)]
        assert starts, name
        assert unguarded(tree) == [], name
        guards = [node for node in ast.walk(tree) if isinstance(node, ast.With) and GUARD in ast.unparse(node.items[0])]
        for guard in guards:  # this test sees when any of them is taken away
            items: list[Any] = guard.items
            guard.items = [ast.withitem(ast.Name("nothing"))]
            assert unguarded(tree), f"{name}:{guard.lineno}"
            guard.items = items
