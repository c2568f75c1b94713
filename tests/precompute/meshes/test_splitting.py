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
        triangles = np.arange(60)[piece.triangles].tolist()
        assert triangles == np.flatnonzero(of == piece.group).tolist()
        named = list(zip(np.arange(20)[piece.positions].tolist(), piece.coordinates.tolist(), strict=True))
        assert len(set(named)) == len(named)
        found = [[named[v] for v in face] for face in piece.faces.tolist()]
        assert found == [
            [(int(positions[t, i]), int(coordinates[t, i]) if mapped else -1) for i in range(3)] for t in triangles
        ]
        assert {v for face in piece.faces.tolist() for v in face} == set(range(len(named)))


def test_nothing() -> None:
    assert split(np.empty(0, np.int64), np.empty((0, 3), np.int32), None, 5) == []


def test_what_has_everything_is_taken_without_a_copy() -> None:
    positions = np.array([[0, 1, 2], [2, 1, 3]], np.int32)
    (piece,) = split(np.zeros(2, np.int32), positions, None, 4)
    assert piece.faces is positions
    assert np.shares_memory(positions[piece.triangles], positions)
    (piece,) = split(np.zeros(2, np.int32), positions, None, 5)
    assert isinstance(piece.positions, np.ndarray)  # one is used by no face
