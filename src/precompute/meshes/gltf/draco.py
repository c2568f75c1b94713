"""KHR_draco_mesh_compression: faces and attributes of a primitive in one stream, decoded by Draco itself (DracoPy)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import DracoPy
import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError, one_line

NAME = "KHR_draco_mesh_compression"


@dataclass(frozen=True)
class Decoded:
    """faces: (F, 3) into the vertices. attributes: (V, C) of their own types, by the number that the stream gives."""

    faces: NDArray[np.uint32]
    attributes: Mapping[int, NDArray[Any]]


def decode(stream: memoryview, at: str) -> Decoded:
    """What a stream holds. DataError, which names `at`, the stream's place in the document, if it is damaged."""
    try:
        found = DracoPy.decode(bytes(stream))
        faces = getattr(found, "faces", None)
        if faces is None:
            raise ValueError("it holds points without faces")
        attributes = {int(one["unique_id"]): _columns(one["data"]) for one in found.attributes}
        return Decoded(np.ascontiguousarray(faces, np.uint32).reshape(-1, 3), attributes)
    except Exception as error:  # whatever the decoder makes of a damaged stream, its memory for made-up counts included
        raise DataError(f"{at}: its {NAME} stream is damaged: {one_line(error, 100)}") from error


def _columns(data: Any) -> NDArray[Any]:
    values = np.asarray(data)
    if values.dtype.kind not in "iuf":
        raise ValueError("an attribute that is not of numbers")
    return values.reshape(len(values), -1)
