"""Members of an embedded data set by their offsets: right in any order and from any storage, verified once, damage
named."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from captionless.errors import DataError
from captionless.store import object_table, objects, ranged_reads, urls
from captionless.store.embeddings import Embeddings, open_embeddings
from captionless.store.members import Members
from captionless.store.packed import embedded_rows
from captionless.store.shards import ShardReader, encode_array
from tests.embedded import members, publish, record_embedded, write_embedded
from tests.store.faulty_s3 import reached_by_environment
from tests.trainer import synthetic

OBJECTS, SHARDS, POINTS = 23, 4, 40


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("members")
    synthetic.write(root, train=OBJECTS, points=POINTS, shards=SHARDS)
    return root / "embed"


@pytest.fixture(scope="module")
def arrays(written: Path) -> dict[str, np.ndarray]:
    return members(written / "train")


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(written, tmp_path / "embed"))


@pytest.fixture(params=["local", "memory", "s3"])
def url(request: pytest.FixtureRequest, written: Path) -> Iterator[str]:
    if request.param == "local":
        yield str(written)
        return
    if request.param == "memory":
        yield copy(written, f"memory://{uuid.uuid4()}")
        return
    with reached_by_environment("members"):
        yield copy(written, "s3://members/embed")


def copy(folder: Path, url: str) -> str:
    for path in folder.rglob("*"):
        if path.is_file():
            objects.write_bytes(objects.join(url, str(path.relative_to(folder))), path.read_bytes())
    return url


def opened(folder: Path | str) -> Embeddings:
    return open_embeddings(str(folder), "train")


def stacked(arrays: dict[str, np.ndarray], data: Embeddings, indices: Any, extension: str) -> np.ndarray:
    return np.stack([arrays[f"{data.keys[i]}.{extension}"] for i in indices])


def test_any_objects_in_any_order_again_and_again(url: str, arrays: dict[str, np.ndarray]) -> None:
    data, rng = opened(url), np.random.default_rng(0)
    assert data.views_layout.shape == (synthetic.VIEWS, synthetic.FEATURES)
    assert data.points_layout.shape == (POINTS, 6)
    views, points = (np.empty((9, *layout.shape), layout.dtype) for layout in (data.views_layout, data.points_layout))
    for _ in range(4):  # what was read before is read without being verified
        indices = rng.integers(OBJECTS, size=9)
        data.read(indices, views, points)
        np.testing.assert_array_equal(views, stacked(arrays, data, indices, "views.npy"))
        np.testing.assert_array_equal(points, stacked(arrays, data, indices, "points.npy"))
        view = rng.integers(synthetic.VIEWS, size=9)
        rows = np.empty((9, synthetic.FEATURES), np.float16)
        others = rng.integers(OBJECTS, size=9)
        data.read(others, rows, points, view)
        np.testing.assert_array_equal(rows, stacked(arrays, data, others, "views.npy")[np.arange(9), view])
        np.testing.assert_array_equal(points, stacked(arrays, data, others, "points.npy"))
    np.testing.assert_array_equal(data.views(indices), stacked(arrays, data, indices, "views.npy"))
    np.testing.assert_array_equal(data.points(indices), stacked(arrays, data, indices, "points.npy"))
    assert data.views([]).shape == data.points([]).shape == (0, 0, 0)


def test_an_object_is_verified_once_and_then_only_the_row_that_is_wanted_is_read(
    written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, verified, asked = opened(written), [], []
    verify, read_into, fill = Members.verify, ranged_reads.read_into, ranged_reads.fill

    def verifying(self: Members, index: int, array: Any, *raw: Any) -> None:
        verified.append((self.extension, index))
        verify(self, index, array, *raw)

    def reading(url: str, places: Any) -> list[int]:
        asked.extend(sum(map(len, memory)) for _, memory in places)
        return read_into(url, places)

    def filling(url: str, wanted: Any) -> bool:
        asked.extend(len(piece) for _, pieces, _ in wanted for piece in pieces)
        return fill(url, wanted)

    row = np.empty((1, synthetic.FEATURES), np.float16)
    whole = np.empty((1, *data.points_layout.shape), np.float16)
    data.read([5], row, whole, [2])
    monkeypatch.setattr(Members, "verify", verifying)
    monkeypatch.setattr(ranged_reads, "read_into", reading)
    monkeypatch.setattr(ranged_reads, "fill", filling)
    data.read([5], row, whole, [3])
    assert verified == []
    of_row, between, of_points = asked
    assert [of_row, of_points] == [2 * synthetic.FEATURES, data.points_layout.nbytes]
    assert between <= 2048  # cheaper to read than to leave out
    asked.clear()
    data.read([6], row, whole, [3])
    assert sorted(verified) == [("points.npy", 6), ("views.npy", 6)]
    assert sorted(asked) == sorted([data.views_layout.size, data.points_layout.size])


def test_view_and_points_of_an_object_are_one_request(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = opened(copy(written, f"memory://{uuid.uuid4()}"))
    row = np.empty((6, synthetic.FEATURES), np.float16)
    points = np.empty((6, *data.points_layout.shape), np.float16)
    chosen = range(0, 6 * SHARDS, SHARDS)
    data.read(chosen, row, points, [0] * 6)
    filesystem = urls.filesystem(data.url)[0]
    asked: list[int] = []
    real = type(filesystem).cat_file

    def cat_file(self: Any, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        asked.append(path)
        return bytes(real(self, path, start, end, **kwargs))

    monkeypatch.setattr(type(filesystem), "cat_file", cat_file)
    monkeypatch.setattr(ranged_reads, "_MERGE_GAP", 800)  # members of an object are nearer, objects are not
    data.read(chosen, row, points, [3] * 6)
    assert len(asked) == 6


def flip(folder: Path, key: str, extension: str, at: int = -1) -> None:
    """Flip the lowest bit of a member's byte."""
    path = next(p for p in (folder / "train").glob("*.tar") if key in ShardReader(str(p)).index)
    offset, length = ShardReader(str(path)).index[key][extension]
    raw = bytearray(path.read_bytes())
    raw[offset + at % length] ^= 1
    path.write_bytes(raw)


def member(folder: Path, key: str, extension: str, data: bytes) -> None:
    """Put other bytes in the place of a member's, as many."""
    path = next(p for p in (folder / "train").glob("*.tar") if key in ShardReader(str(p)).index)
    offset, length = ShardReader(str(path)).index[key][extension]
    raw = bytearray(path.read_bytes())
    raw[offset : offset + length] = data.ljust(length, b"\0")
    path.write_bytes(raw)


def test_damage_is_named_and_what_is_whole_is_read(folder: Path, arrays: dict[str, np.ndarray]) -> None:
    keys = opened(folder).keys
    flip(folder, keys[3], "points.npy")
    flip(folder, keys[7], "views.npy", at=1)  # of the magic
    views = arrays[f"{keys[11]}.views.npy"].copy()
    views[2, 5] = np.nan
    member(folder, keys[11], "views.npy", encode_array(views))
    member(folder, keys[12], "points.npy", encode_array(arrays[f"{keys[12]}.points.npy"][:-1]))
    data = opened(folder)
    for index, named in ((3, r"\.points\.npy"), (7, r"\.views\.npy"), (11, "view 2"), (12, "sha256")):
        with pytest.raises(DataError, match=named) as caught:
            data.read([index], *buffers(data, 1))
        assert repr(keys[index]) in str(caught.value)
    indices = np.random.default_rng(0).permutation(OBJECTS)
    for _ in range(2):  # it is never trusted
        damaged: dict[int, DataError] = {}
        read = buffers(data, OBJECTS)
        data.read(indices, *read, damaged=damaged)
        assert sorted(indices[list(damaged)]) == [3, 7, 11, 12]
        whole = np.delete(np.arange(OBJECTS), list(damaged))
        for array, extension in zip(read, ("views.npy", "points.npy"), strict=True):
            np.testing.assert_array_equal(array[whole], stacked(arrays, data, indices[whole], extension))


@pytest.mark.parametrize("size", [0, 700, 5000], ids=lambda size: f"{size} bytes")
def test_what_lies_between_members_need_not_be_alike(tmp_path: Path, size: int) -> None:
    """Members that follow one another at the same small distance are read at once, others are not."""
    written = write_embedded(str(tmp_path), {"a": 6}, shards=2, points=POINTS)
    tar = tmp_path / "train" / "00001.tar"
    held = {key: dict(sample) for key, sample in ShardReader(str(tar)).samples()}
    last = max(held)
    more = encode_array(np.zeros(size, np.uint8))
    held[last] = {"views.npy": held[last]["views.npy"], "more.npy": more, "points.npy": held[last]["points.npy"]}
    record_embedded(str(tmp_path), "train", 1, [(key, "a", sample) for key, sample in held.items()])
    publish(str(tmp_path), embedded_rows, earlier=True)
    data = open_embeddings(str(tmp_path), "train")
    order = np.random.default_rng(size).permutation(6)
    expected = members(tmp_path / "train")
    for _ in range(3):  # the first time they are verified
        views, points = buffers(data, 6)
        data.read(order, views, points)
        np.testing.assert_array_equal(views, np.stack([written[data.keys[i]] for i in order]))
        np.testing.assert_array_equal(points, stacked(expected, data, order, "points.npy"))


def buffers(data: Embeddings, n: int) -> tuple[np.ndarray, np.ndarray]:
    views, points = data.views_layout, data.points_layout
    return np.empty((n, *views.shape), views.dtype), np.empty((n, *points.shape), points.dtype)


@pytest.mark.parametrize("verified", [False, True], ids=["first read", "verified before"])
def test_a_truncated_shard_names_the_objects_that_are_cut_off(url: str, verified: bool) -> None:
    whole = objects.read_bytes(objects.join(url, "train/00001.tar"))
    index = ShardReader(objects.join(url, "train/00001.tar")).index
    cut = sorted(index, key=lambda key: index[key]["views.npy"])[2]
    data = opened(url)
    data.views(range(2))  # the layout is known
    if verified:  # before the file is cut off, so that nothing would be looked at again
        data.read(range(OBJECTS), *buffers(data, OBJECTS))
    try:
        objects.write_bytes(objects.join(url, "train/00001.tar"), whole[: index[cut]["points.npy"][0] + 300])
        damaged: dict[int, DataError] = {}
        views, points = buffers(data, OBJECTS)
        data.read(range(OBJECTS), views, points, damaged=damaged)
        lost = {data.keys[place] for place in damaged}
        assert lost == {key for key in index if index[key]["points.npy"] >= index[cut]["points.npy"]}
        error = str(damaged[data.keys.index(cut)])
        assert repr(cut) in error
        assert ".points.npy" in error
        last = max(index, key=lambda key: index[key]["views.npy"])
        with pytest.raises(DataError, match=repr(last)):  # nothing of it is left
            data.views([data.keys.index(last)])
    finally:
        objects.write_bytes(objects.join(url, "train/00001.tar"), whole)


def test_an_object_of_another_shape_is_named(folder: Path, tmp_path: Path) -> None:
    synthetic.write(tmp_path / "other", train=OBJECTS, points=POINTS + 1, shards=SHARDS)
    one, other = (open_embeddings(str(path), "train") for path in (folder, tmp_path / "other" / "embed"))
    one.views(range(OBJECTS))
    shutil.copy(tmp_path / "other" / "embed" / "train" / "00002.tar", folder / "train")
    shutil.copy(tmp_path / "other" / "embed" / "train" / "00002.index", folder / "train")
    mixed = [b if b.shard == "train/00002.tar" else a for a, b in zip(one.objects, other.objects, strict=True)]
    listed = [(o.key, o.category, "train", o.shard, o.views_digest, o.points_digest) for o in mixed]
    rows = pa.table(dict(zip(object_table.COLUMNS, zip(*listed, strict=True), strict=True)))
    data = Embeddings(str(folder), "train", object_table.of_rows(rows, "train", str(folder)))
    with pytest.raises(DataError, match=rf"\({POINTS + 1}, 6\).*\({POINTS}, 6\)"):
        data.points(range(OBJECTS))


def test_a_layout_is_found_beside_damaged_objects(folder: Path) -> None:
    keys = opened(folder).keys
    flip(folder, keys[0], "views.npy")
    flip(folder, keys[1], "views.npy", at=1)
    data = opened(folder)
    assert data.views_layout.shape == (synthetic.VIEWS, synthetic.FEATURES)
    with pytest.raises(DataError, match=repr(keys[0])):
        data.views([0])


def test_a_missing_shard_is_no_damage_of_objects(folder: Path) -> None:
    data = opened(folder)
    data.views([0, 1, 2, 3])
    (folder / "train" / "00001.tar").unlink()
    with pytest.raises(DataError, match=r"00001\.tar"):
        data.read(range(OBJECTS), *buffers(data, OBJECTS), damaged={})
