"""TensorBoard's event files: `tensorboard --logdir runs/demo/train` shows every run below it.

    <run>/tensorboard/<run name>/events.out.tfevents.<first step>.captionless

Object storage cannot append, so every checkpoint brings a file with the steps since the one before, as it does with the
curve; TensorBoard reads all files of a folder, in the order of their names. A run that resumes removes those of steps
that it makes again.

The format has not changed since 2015, and writing it takes less than a dependency: records of TFRecord (length, its
checksum, data, its checksum), each a message Event of TensorFlow's event.proto: wall_time = 1 (double), step = 2
(int64), file_version = 3 (string), summary = 5, whose value = 1 are of tag = 1 (string) and simple_value = 2 (float).
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterable, Mapping

from captionless.store import objects
from captionless.trainer.run_folder import event_file_name, event_file_names
from captionless.trainer.training_job import TrainingJob

_CASTAGNOLI = 0x82F63B78  # the polynomial of CRC-32C, reversed
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types


class EventFiles:
    """A `Log`; see `logs`."""

    def __init__(self, job: TrainingJob, fingerprint: str, done: int) -> None:
        self._fingerprint = fingerprint
        self._told: list[tuple[int, float, Mapping[str, float]]] = []
        for name, first in event_file_names(job.run, fingerprint).items():
            if first >= done:
                objects.remove_file(objects.join(job.run, name))

    def tell(self, step: int, values: Mapping[str, float]) -> None:
        self._told.append((step, time.time(), values))

    def files(self) -> dict[str, bytes]:
        told, self._told = self._told, []
        return {event_file_name(self._fingerprint, told[0][0]): encoded(told)} if told else {}

    def close(self) -> None:
        pass


def encoded(told: Iterable[tuple[int, float, Mapping[str, float]]]) -> bytes:
    """An event file of the figures of some steps: the step, the time in seconds since the epoch, and values by tag."""
    found, version = [], False
    for step, when, values in told:
        if not version:
            found.append(_record(_field(1, _FIXED64, when) + _field(3, _BYTES, b"brain.Event:2")))
            version = True
        each = (_field(1, _BYTES, tag.encode()) + _field(2, _FIXED32, value) for tag, value in values.items())
        summary = b"".join(_field(1, _BYTES, value) for value in each)
        event = _field(1, _FIXED64, when) + (_field(2, _VARINT, step) if step else b"") + _field(5, _BYTES, summary)
        found.append(_record(event))
    return b"".join(found)


def _field(number: int, kind: int, value: float | bytes) -> bytes:
    """A field of a protobuf message."""
    key = _varint(number << 3 | kind)
    if isinstance(value, bytes):
        return key + _varint(len(value)) + value
    if kind == _VARINT:
        return key + _varint(int(value))
    return key + struct.pack("<d" if kind == _FIXED64 else "<f", value)


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def _record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", _masked(length)) + data + struct.pack("<I", _masked(data))


def _masked(data: bytes) -> int:
    """The CRC-32C of data, as TFRecord stores it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _of_byte(value: int) -> int:
    for _ in range(8):
        value = value >> 1 ^ (_CASTAGNOLI if value & 1 else 0)
    return value


_TABLE = [_of_byte(byte) for byte in range(256)]
