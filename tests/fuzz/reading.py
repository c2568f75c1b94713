"""What a child process does: reads inputs of a format, one after the other."""

from __future__ import annotations

import importlib
import resource
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from captionless.errors import DataError
from captionless.mesh import Mesh
from captionless.precompute.object_files import ObjectFiles, Scope
from captionless.spec.data import ReadingLimits
from tests.fuzz import lines
from tests.fuzz.formats import FORMATS, Format


def limits(of: Format) -> ReadingLimits:
    return ReadingLimits(bytes=1 << 26, faces=200_000, vertices=600_000, pixels=of.pixels, depth=50)


@dataclass
class Batch:
    """refused: the reasons of the inputs that ended with a DataError. wrong: by input, what else came out. memory:
    bytes that the process had at most."""

    read: int = 0
    refused: list[str] = field(default_factory=list)
    wrong: dict[int, str] = field(default_factory=dict)
    slowest: float = 0.0
    memory: int = 0
    reached: lines.Lines = field(default_factory=dict)


def batch(note: Callable[[int], None], name: str, numbers: Sequence[int], traced: bool) -> Batch:
    """Reads inputs of the format of that name; `note` gets the number of each before it is read."""
    found = Batch()
    of = FORMATS[name]
    with lines.reached(of.counted) if traced else nullcontext({}) as reached:
        _warm(name)
        for number in numbers:
            note(number)
            began = time.process_time()
            one(name, number, found)
            found.slowest = max(found.slowest, time.process_time() - began)
    found.reached = reached
    found.memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return found


@cache
def _warm(name: str) -> None:
    """Lets numba compile what it will, which takes longer than an input may."""
    for number in range(len(FORMATS[name].whole())):
        one(name, number, Batch())


def one(name: str, number: int, found: Batch) -> None:
    of = FORMATS[name]
    read = importlib.import_module(of.module).read
    files = of.files(number)
    with tempfile.TemporaryDirectory() as folder:
        for path, content in files.items():
            (Path(folder) / path).parent.mkdir(parents=True, exist_ok=True)
            (Path(folder) / path).write_bytes(content)
        opened = ObjectFiles(str(Path(folder) / next(iter(files))), Scope((folder,)))
        try:
            fault = _fault(read(opened.own(), opened, limits(of)).mesh)
            found.read += 1
            if fault:
                found.wrong[number] = fault
        except DataError as error:
            found.refused.append(str(error))
            if not str(error) or "\n" in str(error):
                found.wrong[number] = f"not one line: {error!r}"
        except MemoryError:
            raise
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            found.wrong[number] = f"{type(error).__name__} in {Path(place.filename).name}:{place.lineno}: {error}"


def _fault(mesh: Mesh) -> str:
    """What of a mesh contradicts itself."""
    for part in mesh.parts:
        count = len(part.vertices)
        if len(part.faces) and not 0 <= part.faces.min() <= part.faces.max() < count:
            return "a face names a vertex that is not there"
        for values in (part.uv, part.vertex_colors, part.glow.uv if part.glow else None):
            if values is not None and (len(values) != count or not np.isfinite(values).all()):
                return "an attribute of other vertices, or not finite"
        if (part.texture is not None and part.uv is None) or part.vertices.dtype != np.float64:
            return "a part that is none"
    return ""
