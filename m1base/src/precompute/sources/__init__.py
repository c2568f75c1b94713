"""Sources of objects: the embedded demo world, folders and lists of mesh files, files of point clouds."""

from collections.abc import Sequence

from captionless.precompute.object_files import BrokenObject, FileSeen
from captionless.precompute.sources.base import Loaded, Loader, MeshLoader, ObjectRef, Source, Split, split_of
from captionless.spec.data import DataSpec, SourceKind

__all__ = [
    "BrokenObject", "FileSeen", "Loaded", "Loader", "MeshLoader", "ObjectRef", "Source", "Split", "open_source",
    "split_of",
]  # fmt: skip


def open_source(data: DataSpec, numbering: Sequence[str] = ()) -> Source:
    """The source that `data.source` describes. Each brings its own readers, so only the one is imported.

    `numbering`: the classes by number, for `points` files of numbered labels that do not name them.
    """
    match data.source.kind:
        case SourceKind.parametric:
            from captionless.precompute.sources.parametric import ParametricSource

            return ParametricSource(data)
        case SourceKind.folder:
            from captionless.precompute.sources.folder import FolderSource

            return FolderSource(data)
        case SourceKind.manifest:
            from captionless.precompute.sources.manifest import ManifestSource

            return ManifestSource(data)
        case SourceKind.points:
            from captionless.precompute.sources.points import PointsSource

            return PointsSource(data, numbering)
