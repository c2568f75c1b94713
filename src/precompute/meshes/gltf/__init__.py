"""glTF 2.0 and GLB, read by their specification. Modules stand on each other in this order: `document` (values of the
JSON), `container` (the file's chunks), `extensions`, `meshopt` and `draco` (compressed streams), `buffers`,
`accessors`, `textures`, `materials`, `scene`, `primitives`, `skins`, `reader`."""

from captionless.precompute.meshes.gltf.reader import read

__all__ = ["read"]
