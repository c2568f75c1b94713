"""KTX 2.0 textures, read by their specification: plain ones, and those that Basis Universal has compressed.

Modules stand on each other in this order: `container` (header, levels and what supercompression hides), `codes` (bits
and Huffman codes), `etc1s` (BasisLZ), `astc` (tables), `uastc`, `reader`.
"""

from captionless.precompute.meshes.ktx2.container import MAGIC, Damaged, size_of
from captionless.precompute.meshes.ktx2.reader import read

__all__ = ["MAGIC", "Damaged", "read", "size_of"]
