"""Sources of objects: the embedded demo world, folders and lists of mesh files, files of point clouds."""

from captionless.precompute.sources.base import Loaded, ObjectRef, Source, Split, split_of
from captionless.precompute.sources.folder import FolderSource
from captionless.precompute.sources.manifest import ManifestSource
from captionless.precompute.sources.parametric import ParametricSource
from captionless.precompute.sources.points import PointsSource
from captionless.spec import DataSpec, SourceKind

__all__ = ["Loaded", "ObjectRef", "Source", "Split", "open_source", "split_of"]


def open_source(data: DataSpec) -> Source:
    """The source that `data.source` describes."""
    kinds: dict[SourceKind, type[ParametricSource | FolderSource | ManifestSource | PointsSource]] = {
        SourceKind.parametric: ParametricSource,
        SourceKind.folder: FolderSource,
        SourceKind.manifest: ManifestSource,
        SourceKind.points: PointsSource,
    }
    return kinds[data.source.kind](data)
