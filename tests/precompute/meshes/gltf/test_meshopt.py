"""Streams of meshoptimizer's own encoder (both versions of its codec, every filter) decode to what its own decoder
makes of them, byte for byte; damaged ones are refused."""

from __future__ import annotations

import base64
import json
import random
from pathlib import Path
from typing import Any

import pytest

from captionless.precompute.meshes.gltf import meshopt
from captionless.precompute.meshes.gltf.meshopt_filters import Damaged

STREAMS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "data" / "meshopt_streams.json").read_text())


def decoded(case: dict[str, Any], stream: bytes) -> bytes:
    found = meshopt.decode(memoryview(stream), case["count"], case["stride"], case["mode"], case["filter"])
    return found.tobytes()


@pytest.mark.parametrize("case", STREAMS, ids=lambda case: case["name"])
def test_stream_is_decoded_byte_for_byte(case: dict[str, Any]) -> None:
    assert decoded(case, base64.b64decode(case["stream"])) == base64.b64decode(case["expected"])


@pytest.mark.parametrize("case", STREAMS, ids=lambda case: case["name"])
def test_stream_that_ends_early_is_refused(case: dict[str, Any]) -> None:
    stream = base64.b64decode(case["stream"])
    for length in sorted({0, 1, len(stream) // 2, len(stream) - 1}):
        with pytest.raises(Damaged):
            decoded(case, stream[:length])


def test_damaged_streams_do_no_harm() -> None:
    chance = random.Random(0)
    refused = 0
    for _ in range(2000):
        case = chance.choice(STREAMS)
        stream = bytearray(base64.b64decode(case["stream"]))
        for _ in range(chance.choice((1, 3, 30))):
            stream[chance.randrange(len(stream))] = chance.randrange(256)
        try:
            assert len(decoded(case, bytes(stream))) == case["count"] * case["stride"]
        except Damaged:
            refused += 1
    assert 200 < refused < 2000


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"mode": "WORDS"}, "mode"),
        ({"filter": "SEPIA"}, "filter"),
        ({"stride": 0}, "0 bytes"),
        ({"stride": 260}, "260 bytes"),
        ({"count": 1 << 50}, "ends early"),
    ],
)
def test_settings_that_are_none_are_refused(change: dict[str, Any], reason: str) -> None:
    case = next(c for c in STREAMS if c["mode"] == "ATTRIBUTES")
    with pytest.raises(Damaged, match=reason):
        decoded({**case, **change}, base64.b64decode(case["stream"]))
