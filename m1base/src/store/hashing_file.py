"""A file that knows, when it has been written, what was written: so nothing is read again for its checksum."""

from __future__ import annotations

import hashlib
import io
from typing import IO, Any


class HashingFile(io.RawIOBase):
    """A write-only file around another one. hash: the sha256 of all that has passed through; position: its bytes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.hash, self.position = file, hashlib.sha256(), 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._file.write(data)
        self.hash.update(data)
        self.position += len(data)
        return len(data)

    def tell(self) -> int:
        return self.position
