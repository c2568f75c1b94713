"""Checks of the machine: packages, processors, memory, disk space, GPU."""

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

_REPORTED = ("torch", "open_clip_torch", "numba", "numpy")
_LEAST_MEMORY, _LEAST_ROOM = 4.0, 5.0  # GiB: what the demo needs, with a margin
_CGROUP = Path("/sys/fs/cgroup")


def packages(_: Subject) -> Finding:
    """All required packages, in compatible versions."""
    if wrong := _wrong(""):
        found = ", ".join(f"{need.name} {have or 'is missing'}" for need, have in wrong)
        wanted = " ".join(f"'{need.name}{need.specifier}'" for need, _ in wrong)
        return Finding(Verdict.failed, found, f"pip install {wanted}")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _REPORTED)
    return Finding(Verdict.ok, f"captionless {__version__}, Python {platform.python_version()}, {versions}")


def extras(_: Subject) -> Finding:
    """The optional dependencies."""
    names = importlib.metadata.metadata("captionless").get_all("Provides-Extra") or []
    missing = [name for name in names if _wrong(name)]
    there = [name for name in names if name not in missing]
    found = ", ".join([*there, *(f"{name} is not installed" for name in missing)]) or "none defined"
    remedy = f"optional: pip install 'captionless[{','.join(missing)}]'" if missing else ""
    return Finding(Verdict.absent if missing else Verdict.ok, found, remedy)


def processor(_: Subject) -> Finding:
    """The cores that this process may use, the limit for `resources`."""
    cores, quota = env.cores(), _quota()
    if quota is not None and quota < cores:
        return Finding(
            Verdict.warning,
            f"{cores} cores are visible, but the container's limit is {quota:g}",
            f"set resources.threads x resources.workers to at most {max(1, int(quota))}",
        )
    return Finding(Verdict.ok, f"{cores} core{'s' if cores != 1 else ''}, {platform.machine()}")


def memory(_: Subject) -> Finding:
    """The available memory, within the container's limit if there is one."""
    try:
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) / 1024**2
    except (OSError, KeyError, ValueError):
        return Finding(Verdict.absent, "unknown on this system")
    limit = _number("memory.max")
    if limit is not None:
        free = min(free, (limit - (_number("memory.current") or 0)) / 1024**3)
    enough = free >= _LEAST_MEMORY
    remedy = "" if enough else "close other programs; lower resources.workers and train.batchSize"
    return Finding(Verdict.ok if enough else Verdict.warning, f"{free:.1f} GiB free", remedy)


def disk(subject: Subject) -> Finding:
    """Free space for temporary files, and in the output folder if that is local."""
    folders = [tempfile.gettempdir()]
    if subject.storage and objects.is_local(subject.storage):
        folders.append(_existing(objects.local_path(subject.storage)))
    rooms = {folder: shutil.disk_usage(folder).free / 1024**3 for folder in dict.fromkeys(folders)}
    found = ", ".join(f"{room:.1f} GiB free in {folder}" for folder, room in rooms.items())
    if min(rooms.values()) >= _LEAST_ROOM:
        return Finding(Verdict.ok, found)
    return Finding(Verdict.warning, found, "free up space, or set TMPDIR and `output` to a larger disk")


def gpu(subject: Subject) -> Finding:
    """Multiplies on the GPU, and reports what training would use."""
    import torch

    needed = Verdict.failed if subject.device == "cuda" else Verdict.absent
    if not torch.cuda.is_available():
        if torch.version.cuda is None and shutil.which("nvidia-smi"):
            return Finding(
                Verdict.failed if subject.device == "cuda" else Verdict.warning,
                f"a driver is installed, but torch {torch.__version__} is a CPU-only build",
                "install torch with CUDA: https://pytorch.org/get-started/locally/",
            )
        remedy = "set resources.device to auto or cpu" if needed is Verdict.failed else ""
        return Finding(needed, "none; CLIP and training run on the CPU", remedy)
    ones = torch.ones(64, 64, device="cuda")
    if float((ones @ ones).sum()) != 64.0**3:
        return Finding(Verdict.failed, "matrix products are wrong", "check its driver and temperature")
    devices = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    found = ", ".join(f"{each.name} ({each.total_memory / 1024**3:.0f} GiB)" for each in devices)
    if not any(map(shutil.which, ("cc", "gcc", "clang"))):
        return Finding(
            Verdict.warning,
            f"{found}; no C compiler: farthest point sampling falls back to plain torch, many times slower",
            "apt-get install gcc",
        )
    return Finding(Verdict.ok, found)


def _wrong(extra: str) -> list[tuple[Requirement, str]]:
    """Unsatisfied requirements of this package, with an extra: the requirement, and the installed version."""
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
    """The container's CPU limit in cores (cgroup v2)."""
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
    """The nearest existing parent folder of a path."""
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path
