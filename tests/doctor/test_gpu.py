"""`captionless doctor --gpu`: measured on CPU devices, judged by made-up figures, and refused without a GPU."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from captionless.cli.app import app
from captionless.doctor import gpu_figures, gpu_together
from captionless.doctor.finding import Verdict
from captionless.doctor.gpu_figures import Clocks, Figures
from captionless.doctor.gpu_findings import findings
from captionless.errors import CaptionlessError, Retryable
from tests import pace

CPU = torch.device("cpu")
CLOCKS = Clocks(1900, 1980, 60, 500, 700)
ONE = Figures("H200", 600.0, 3000.0, 0.1, 0.1, [], 200.0, CLOCKS)
SHARED = 4 << 30


def judged(figures: list[Figures], shared: int | None = SHARED, cores: int = 64) -> dict[str, tuple[Verdict, str]]:
    return {name: (f.state, f"{f.found} -> {f.remedy}") for name, f in findings(figures, shared, cores)}


def test_a_device_is_measured() -> None:
    assert gpu_figures.matmul_rate(CPU, 32) > 0
    assert gpu_figures.memory_rate(CPU, 1 << 12) > 0
    assert gpu_figures.step_seconds(CPU, 2, 64) > 0
    assert gpu_figures.reduce_rate(CPU, 1 << 12) is None
    assert gpu_figures.unreached(CPU) == []
    assert gpu_figures.clocks(CPU) is None


def test_rates_follow_from_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_figures, "timed", lambda *given: [2.0, 0.5, 1.0])
    assert gpu_figures.matmul_rate(CPU, 10) == pytest.approx(2 * 10**3 / 0.5 / 1e12)
    assert gpu_figures.memory_rate(CPU, 1000) == pytest.approx(2 * 1000 / 0.5 / 1e9)
    assert gpu_figures.step_seconds(CPU, 1, 16) == 1.0
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 8)
    assert gpu_figures.reduce_rate(CPU, 4000) == pytest.approx(2 * 7 / 8 * 4000 / 0.5 / 1e9)


def test_devices_are_measured_together() -> None:
    one, two = gpu_together.measure(["cpu", "cpu"], pace.seconds(120), small=True)
    assert one.name == "CPU"
    assert one.alone is not None
    assert two.alone is None
    assert min(one.reduce or 0, two.reduce or 0, one.step, two.step, one.matmul, two.memory) > 0


def test_a_process_that_fails_is_reported_with_its_device() -> None:
    with pytest.raises(Retryable, match=r"^doctor --gpu: nothing:0: .*"):
        gpu_together.measure(["nothing:0"], pace.seconds(120), small=True)


def test_clocks_are_read_from_nvidia_smi() -> None:
    assert gpu_figures.parsed_clocks(" 1900, 1980, 60, 500.0, 700.0\n") == CLOCKS
    assert gpu_figures.parsed_clocks("1900, 1980, 60, [N/A], 700\n") is None


@pytest.mark.parametrize("count", [1, 2, 8])
def test_even_gpus_are_well(count: int) -> None:
    found = judged([ONE] * count)
    assert {state for state, _ in found.values()} == {Verdict.ok}
    assert ("peers" in found) == (count > 1)


@pytest.mark.parametrize(
    ("change", "name", "said"),
    [
        ({"step": 0.13}, "step", "GPU 5 is slower than the others: 130 ms beside 100 ms"),
        ({"matmul": 300.0}, "products", "GPU 5 is slower than the others: 300 TFLOP/s beside 600 TFLOP/s"),
        ({"memory": 1000.0}, "memory", "1e+03 GB/s beside 3e+03 GB/s"),
        ({"clocks": replace(CLOCKS, now=1200, power=699)}, "clocks", "1200 of 1980 MHz, at its power limit of 700 W"),
        ({"clocks": replace(CLOCKS, now=900, temperature=92)}, "clocks", "900 of 1980 MHz, at 92 degrees"),
        ({"unreached": [0, 1]}, "peers", "2 pairs of GPUs cannot copy directly (P2P), 5 and 0"),
        ({"reduce": 3.0}, "reduce", "an all-reduce moves 3 GB/s"),
    ],
)
def test_one_gpu_of_eight_that_is_slow_is_named_with_the_way_out(change: dict[str, Any], name: str, said: str) -> None:
    gpus = [ONE] * 8
    gpus[5] = replace(ONE, **change)
    found = judged(gpus)
    assert {each for each, (state, _) in found.items() if state is not Verdict.ok} == {name}
    assert said in found[name][1]
    assert not found[name][1].endswith("-> ")


def test_what_the_node_lacks_is_told() -> None:
    slow = replace(ONE, step=0.2)
    assert "16 cores for 8 GPUs" not in judged([slow] * 8, cores=16)["together"][1]
    assert "8 cores for 8 GPUs are too few" in judged([slow] * 8, cores=8)["together"][1]
    assert "2.00 times as long while all 8 GPUs work" in judged([slow] * 8)["together"][1]
    assert "/dev/shm has 64 MiB; NCCL needs up to 2048 MiB" in judged([ONE] * 8, 64 << 20)["shm"][1]
    assert "/dev/shm is missing" in judged([ONE] * 2, None)["shm"][1]
    assert judged([replace(ONE, clocks=None)])["clocks"][0] is Verdict.absent


def test_without_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    result = CliRunner().invoke(app, ["doctor", "--gpu"])
    assert isinstance(result.exception, CaptionlessError)
    assert result.exception.exit_code == 1
    assert "no GPU" in str(result.exception)


def test_the_findings_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_together, "gpus", lambda: ["cuda:0", "cuda:1"])
    monkeypatch.setattr(gpu_together, "measure", lambda devices, seconds: [ONE, replace(ONE, unreached=[0])])
    result = CliRunner().invoke(app, ["doctor", "--gpu"])
    assert result.exit_code == 0, result.exception
    assert "1 pairs of GPUs cannot copy directly" in result.output
    assert "nvidia-smi topo -m" in result.output
