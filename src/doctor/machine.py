"""What the machine has: packages, processors, memory, room on disk, a GPU."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import tempfile
from pathlib import Path

from packaging.requirements import Requirement

from captionless import __version__
from captionless.doctor.finding import Finding, Subject, Verdict
from captionless.runtime import env
from captionless.store import objects

_REPORTED = ("torch", "open_clip_torch", "vtk", "numpy")
_LEAST_MEMORY, _LEAST_ROOM = 4.0, 5.0  # GiB: what the demo takes, and then some
_CGROUP = Path("/sys/fs/cgroup")


def packages(_: Subject) -> Finding:
    """Every package that this one asks for, in a version that it asks for."""
    if wrong := _wrong(""):
        found = ", ".join(f"{need.name} {have or 'is missing'}" for need, have in wrong)
        wanted = " ".join(f"'{need.name}{need.specifier}'" for need, _ in wrong)
        return Finding(Verdict.failed, found, f"pip install {wanted}")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _REPORTED)
    return Finding(Verdict.ok, f"captionless {__version__}, Python {platform.python_version()}, {versions}")


def extras(_: Subject) -> Finding:
    """The parts that are installed only where they are wanted."""
    names = importlib.metadata.metadata("captionless").get_all("Provides-Extra") or []
    missing = [name for name in names if _wrong(name)]
    there = [name for name in names if name not in missing]
    found = ", ".join([*there, *(f"{name} is not installed" for name in missing)]) or "there are none"
    remedy = f"where wanted: pip install 'captionless[{','.join(missing)}]'" if missing else ""
    return Finding(Verdict.absent if missing else Verdict.ok, found, remedy)


def processor(_: Subject) -> Finding:
    """The cores that this process may use, which is what `resources` may be given."""
    cores, quota = env.cores(), _quota()
    if quota is not None and quota < cores:
        return Finding(
            Verdict.warning,
            f"{cores} cores are seen, but the container may use {quota:g}",
            f"set resources.threads x resources.workers to at most {max(1, int(quota))}",
        )
    return Finding(Verdict.ok, f"{cores} core{'s' if cores != 1 else ''}, {platform.machine()}")


def memory(_: Subject) -> Finding:
    """What is free, within the container's limit where there is one."""
    try:
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) / 1024**2
    except (OSError, KeyError, ValueError):
        return Finding(Verdict.absent, "this system does not tell")
    limit = _number("memory.max")
    if limit is not None:
        free = min(free, (limit - (_number("memory.current") or 0)) / 1024**3)
    enough = free >= _LEAST_MEMORY
    remedy = "" if enough else "close other programs; lower resources.workers and train.batchSize"
    return Finding(Verdict.ok if enough else Verdict.warning, f"{free:.1f} GiB free", remedy)


def disk(subject: Subject) -> Finding:
    """Room where temporary files are written, and in the output's folder where that is local."""
    folders = [tempfile.gettempdir()]
    if subject.storage and objects.is_local(subject.storage):
        folders.append(_existing(objects.local_path(subject.storage)))
    rooms = {folder: shutil.disk_usage(folder).free / 1024**3 for folder in dict.fromkeys(folders)}
    found = ", ".join(f"{room:.1f} GiB free in {folder}" for folder, room in rooms.items())
    if min(rooms.values()) >= _LEAST_ROOM:
        return Finding(Verdict.ok, found)
    return Finding(Verdict.warning, found, "make room, or set TMPDIR and `output` to where there is more")


def gpu(subject: Subject) -> Finding:
    """Multiplies on the GPU, and says what of it training would use."""
    import torch

    needed = Verdict.failed if subject.device == "cuda" else Verdict.absent
    if not torch.cuda.is_available():
        if torch.version.cuda is None and shutil.which("nvidia-smi"):
            return Finding(
                Verdict.failed if subject.device == "cuda" else Verdict.warning,
                f"there is a driver, but torch {torch.__version__} is built for CPUs",
                "install torch for CUDA: https://pytorch.org/get-started/locally/",
            )
        remedy = "set resources.device to auto or cpu" if needed is Verdict.failed else ""
        return Finding(needed, "none; CLIP and training run on the processor", remedy)
    ones = torch.ones(64, 64, device="cuda")
    if float((ones @ ones).sum()) != 64.0**3:
        return Finding(Verdict.failed, "its products are wrong", "look at its driver and its temperature")
    devices = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    found = ", ".join(f"{each.name} ({each.total_memory / 1024**3:.0f} GiB)" for each in devices)
    if not any(map(shutil.which, ("cc", "gcc", "clang"))):
        return Finding(
            Verdict.warning,
            f"{found}; no C compiler, so farthest point sampling runs in plain torch, many times slower",
            "apt-get install gcc",
        )
    return Finding(Verdict.ok, found)


def _wrong(extra: str) -> list[tuple[Requirement, str]]:
    """What this package asks for, with an extra, and does not get: the requirement, and the version that is there."""
    found = []
    for line in importlib.metadata.requires("captionless") or ():
        need = Requirement(line)
        if need.marker is None:
            asked = not extra
        else:
            asked = need.marker.evaluate({"extra": extra}) and (not extra or not need.marker.evaluate({"extra": ""}))
        if not asked:
            continue
        try:
            have = importlib.metadata.version(need.name)
        except importlib.metadata.PackageNotFoundError:
            have = ""
        if not have or not need.specifier.contains(have, prereleases=True):
            found.append((need, have))
    return found


def _quota() -> float | None:
    """How many cores a container may use (cgroup v2)."""
    try:
        most, period = (_CGROUP / "cpu.max").read_text().split()
        return None if most == "max" else int(most) / int(period)
    except (OSError, ValueError):
        return None


def _number(name: str) -> int | None:
    try:
        return int((_CGROUP / name).read_text())
    except (OSError, ValueError):
        return None


def _existing(path: str) -> str:
    """The nearest folder above a path that is there."""
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path
