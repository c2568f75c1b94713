"""Parts with vertices of their own, beside a plain loop over corners."""

from __future__ import annotations

import numpy as np
import pytest

from captionless.precompute.meshes.splitting import split


@pytest.mark.parametrize("mapped", [True, False])
@pytest.mark.parametrize("groups", [1, 5])
@pytest.mark.parametrize("seed", range(4))
def test_corners_that_name_the_same_share_a_vertex(seed: int, groups: int, mapped: bool) -> None:
    chance = np.random.default_rng(seed)
    of = chance.integers(0, groups, 60) * 3
    positions = chance.integers(0, 20, (60, 3)).astype(np.int32)
    coordinates = chance.integers(-1, 6, (60, 3)).astype(np.int32)
    pieces = split(of, positions, coordinates if mapped else None, 20)
    assert [piece.group for piece in pieces] == sorted(set(of.tolist()))
    for piece in pieces:
        assert piece.triangles.tolist() == np.flatnonzero(of == piece.group).tolist()
        named = list(zip(piece.positions.tolist(), piece.coordinates.tolist(), strict=True))
        assert len(set(named)) == len(named)
        found = [[named[v] for v in face] for face in piece.faces.tolist()]
        assert found == [
            [(int(positions[t, i]), int(coordinates[t, i]) if mapped else -1) for i in range(3)]
            for t in piece.triangles
        ]
        assert {v for face in piece.faces.tolist() for v in face} == set(range(len(named)))


def test_nothing() -> None:
    assert split(np.empty(0, np.int64), np.empty((0, 3), np.int32), None, 5) == []
