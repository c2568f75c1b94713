"""ModelNet40 (Wu et al., 2015), the official test split: 2,468 CAD models of 40 classes, as clouds.

Two editions are read, both y up:

    modelnet40_ply_hdf5_2048/      PointNet's: 2,048 points
      shape_names.txt              the classes by number, one a line
      test_files.txt               the h5 files, one a line (only the last part of the path counts)
      ply_data_test0.h5 ...        data (N, 2048, 3), label (N, 1)

    modelnet40_normal_resampled/   PointNet++'s: 10,000 points with normals; ULIP's copy: 8,192 of them
      modelnet40_shape_names.txt   the classes, one a line
      modelnet40_test.txt          the models, one a line, as night_stand_0201
      modelnet40_test_8192pts_fps.dat, or night_stand/night_stand_0201.txt ...

ULIP's .dat is a pickle of two lists, clouds (8192, 6) and labels (1,), in the order of modelnet40_test.txt. A .txt
holds a point a line, `x,y,z,nx,ny,nz`.
"""

from __future__ import annotations

import io
import posixpath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from captionless.errors import DataError
from captionless.precompute.object_files import beside
from captionless.precompute.sources.base import ObjectRef
from captionless.precompute.sources.points import Clouds, read_clouds
from captionless.precompute.testsets import pickles
from captionless.precompute.testsets.base import About, CloudSet, object_ref
from captionless.precompute.testsets.in_memory import in_memory
from captionless.store import objects

ABOUT = About(
    name="modelnet40",
    title="ModelNet40, test split",
    count=2468,
    home=(
        "https://shapenet.cs.stanford.edu/media/modelnet40_ply_hdf5_2048.zip, from .../modelnet40_normal_resampled.zip "
        "beside it, or from the folder modelnet40_normal_resampled of ULIP's data, https://github.com/salesforce/ULIP"
    ),
    terms="ModelNet's terms, https://modelnet.cs.princeton.edu: research",
    layout=(
        "modelnet40_ply_hdf5_2048/test_files.txt, shape_names.txt, ply_data_test0.h5, ply_data_test1.h5",
        "or modelnet40_normal_resampled/modelnet40_test.txt, modelnet40_shape_names.txt, and of these one:",
        "modelnet40_test_8192pts_fps.dat, or CLASS/CLASS_NUMBER.txt of every model",
        "(for another file of clouds use --data FILE.npz --up z)",
    ),
)

_H5, _NORMAL = "modelnet40_ply_hdf5_2048", "modelnet40_normal_resampled"
_FILES, _LIST, _DAT = "test_files.txt", "modelnet40_test.txt", "modelnet40_test_8192pts_fps.dat"


def read(url: str | None) -> CloudSet:
    """The test split below `url`, which is an edition's folder or holds it. SpecError for missing files."""
    index = ABOUT.find(url, f"{_H5}/{_FILES}", _FILES, f"{_NORMAL}/{_LIST}", _LIST)
    return _hdf5(index) if index.endswith(_FILES) else _resampled(index)


def _hdf5(index: str) -> CloudSet:
    names = beside(index, "shape_names.txt")
    classes = _lines(names)
    files = [beside(index, posixpath.basename(line)) for line in _lines(index)]
    for file in files:
        if not objects.exists(file):
            raise ABOUT.missing(f"{index} lists {file}, which does not exist")
    return in_memory(
        ABOUT, [(file, read_clouds(file, classes)) for file in files], up="y", files=[index, names, *files]
    )


def _resampled(index: str) -> CloudSet:
    names, dat = beside(index, "modelnet40_shape_names.txt"), beside(index, _DAT)
    classes, models = _lines(names), _lines(index)
    unknown = next((model for model in models if _class_of(model) not in classes), None)
    if unknown is not None:
        raise DataError(f'{index}: the class of "{unknown}" is not in {names}; expected lines such as night_stand_0201')
    if objects.exists(dat):
        return in_memory(ABOUT, [(dat, _pickled(dat, models, classes))], up="y", files=[index, names, dat])
    refs = [object_ref(ABOUT, m, _class_of(m), beside(index, f"{_class_of(m)}/{m}.txt")) for m in models]
    if not objects.exists(str(refs[0].url)):
        raise ABOUT.missing(f"neither {dat} nor {refs[0].url} exists")
    return CloudSet(ABOUT, refs, _text, up="y", files=[index, names])


def _pickled(dat: str, models: list[str], classes: list[str]) -> Clouds:
    try:
        points, labels = pickles.loads(objects.read_bytes(dat))
        clouds = np.stack([np.asarray(cloud, np.float64) for cloud in points])
        numbers = np.array([int(np.asarray(label).item()) for label in labels])
    except DataError as error:
        raise DataError(f"{dat}: {error}") from error
    except (TypeError, ValueError) as error:
        raise DataError(f"{dat}: expected a list of clouds and one of labels ({error})") from error
    if not len(clouds) == len(numbers) == len(models):
        raise DataError(f"{dat}: {len(clouds)} clouds and {len(numbers)} labels for {len(models)} lines of {_LIST}")
    for model, number in zip(models, numbers, strict=True):
        if not 0 <= number < len(classes) or classes[number] != _class_of(model):
            raise DataError(f"{dat}: {model} has label {number}, expected {classes.index(_class_of(model))}")
    return Clouds(clouds, [_class_of(model) for model in models], models, classes)


def _text(ref: ObjectRef) -> NDArray[Any]:
    try:
        text = objects.read_bytes(str(ref.url)).decode()
        return np.loadtxt(io.StringIO(text), delimiter=",", ndmin=2)
    except FileNotFoundError:
        raise DataError(f"{ref.url}: no such file") from None
    except ValueError as error:
        raise DataError(f"{ref.url}: expected lines of x,y,z,nx,ny,nz ({error})") from error


def _class_of(model: str) -> str:
    return model.rpartition("_")[0]


def _lines(url: str) -> list[str]:
    lines = [line.strip() for line in ABOUT.read(url).decode().splitlines() if line.strip()]
    if not lines:
        raise DataError(f"{url}: the file is empty")
    return lines
