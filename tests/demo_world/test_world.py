from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from captionless import demo_world
from captionless.demo_world import shapes
from captionless.errors import SpecError
from captionless.mesh import Mesh

APPEARANCE_WORDS = set(
    """
    black white grey gray red green blue yellow orange purple pink brown beige golden gold silver bronze copper
    colour coloured color colored dark bright pale wood wooden oak pine walnut metal metallic steel iron brass
    chrome aluminium glass plastic leather fabric cloth velvet cotton linen stone marble ceramic porcelain clay
    paper bamboo rattan wicker striped checked dotted textured texture material shiny matte glossy polished
    painted upholstered
    """.split()  # noqa: SIM905 - a list of words is read best as words
)


def triangles(mesh: Mesh) -> NDArray[np.float64]:
    return np.concatenate([p.vertices[p.faces] for p in mesh.parts]).astype(np.float64)


def areas(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    return 0.5 * np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)


def surface(mesh: Mesh, count: int) -> NDArray[np.float64]:
    return sampled(triangles(mesh), count, 0)


def sampled(corners: NDArray[np.float64], count: int, seed: int) -> NDArray[np.float64]:
    random = np.random.default_rng(seed)
    weight = areas(corners)
    chosen = corners[random.choice(len(corners), count, p=weight / weight.sum())]
    u = random.random((count, 2))
    u = np.where(u.sum(1, keepdims=True) > 1, 1 - u, u)
    return chosen[:, 0] + u[:, :1] * (chosen[:, 1] - chosen[:, 0]) + u[:, 1:] * (chosen[:, 2] - chosen[:, 0])


def unmatched_edges(solid: shapes.Solid) -> int:
    """Directed edges without their reverse, once vertices at one place are taken as one."""
    _, same = np.unique(np.round(solid.vertices, 6), axis=0, return_inverse=True)
    faces = same.ravel()[solid.faces]
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    count = Counter(map(tuple, edges[edges[:, 0] != edges[:, 1]].tolist()))
    return sum(count[b, a] != n for (a, b), n in count.items())


def volume(solid: shapes.Solid) -> float:
    a, b, c = solid.vertices[solid.faces].transpose(1, 0, 2)
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


SOLIDS: dict[str, tuple[shapes.Solid, float, float]] = {  # the solid, its volume, relative tolerance
    "box": (shapes.box((1, 2, 3), (4, 5, 6), bevel=1e-6), 6.0, 1e-4),
    "leg": (shapes.leg((0.3, 1, 0.2), (0, 0, 0), 0.1, 0.1), 0.01, 0.1),
    "cylinder": (shapes.cylinder(0.5, 2, segments=200), np.pi / 2, 1e-3),
    "frustum": (shapes.cylinder(1.0, 3, 0.5, segments=200), np.pi * (1 + 0.5 + 0.25), 1e-3),
    "ball": (shapes.ball(1.0, 60), 4 / 3 * np.pi, 0.03),
    "cushion": (shapes.cushion((1, 1, 1), roundness=1.0), np.pi / 6, 0.05),
    "tube": (shapes.rod((0, 0, 0), (1, 1, 0), 0.1, 60), np.pi * 0.01 * np.sqrt(2), 0.01),
    "hoop": (shapes.hoop(1.0, 0.1, 60), 2 * np.pi**2 * 0.01 * 0.9, 0.02),
    "extrude": (shapes.extrude(shapes.rectangle(2, 3)[::-1], 0.5), 3.0, 1e-9),
    "slab": (shapes.slab(shapes.ellipse(2, 4, points=200), 0.5), np.pi, 1e-3),
    "side plate": (shapes.side_plate([(0, 0), (1, 0), (0, 1)], 0.2), 0.1, 1e-9),
    "arch": (shapes.extrude(shapes.arch(2, 1, 1, 200), 1.0), 2 + np.pi / 2, 1e-3),
    "square hole": (shapes.holed_plate(shapes.rectangle(2, 3), shapes.rectangle(1, 1, 0.2, 0.3), 1.0), 5.0, 1e-4),
    "round hole": (shapes.holed_plate(shapes.arch(2, 3, 1), shapes.ellipse(1, 1, 0, 2), 1.0), 0, np.inf),
    "vessel": (
        shapes.revolve(shapes.hollow(np.array([(1.0, 0.0), (1.0, 1.0), (1.0, 2.0)]), 0.1, 0.1), 200),
        np.pi * (2 - 0.81 * 1.9),
        0.03,
    ),
    "fluted": (
        shapes.revolve([(0, 0), (1, 0), (1, 1), (0, 1)], 120, shapes.flutes(10, 0.1, 120)),
        np.pi * (1 + 0.1**2 / 2),
        0.01,
    ),
}


@pytest.mark.parametrize("name", SOLIDS)
def test_solids_are_closed_outward_and_of_the_right_size(name: str) -> None:
    solid, expected, tolerance = SOLIDS[name]
    assert unmatched_edges(solid) == 0
    assert volume(solid) > 0
    assert solid.uv.shape == (len(solid.vertices), 2)
    if np.isfinite(tolerance):
        assert volume(solid) == pytest.approx(expected, rel=tolerance)


def test_rotations_are_right_handed() -> None:
    for axis, before, after in (("x", "y", "z"), ("y", "z", "x"), ("z", "x", "y")):
        index = {"x": 0, "y": 1, "z": 2}
        point = np.eye(3)[[index[before]] * 3]
        solid = shapes.Solid(point, np.array([[0, 1, 2]], np.int32), np.zeros((3, 2)))
        assert np.allclose(solid.turned(axis, 90).vertices, np.eye(3)[index[after]])  # type: ignore[arg-type]


def test_there_are_enough_categories_and_attributes() -> None:
    assert len(demo_world.CLASSES) == len(set(demo_world.CLASSES)) >= 16
    for category in demo_world.CLASSES:
        values = demo_world.attributes(category)
        assert 5 <= len(values) <= 8
        assert all(2 <= len(v) <= 4 and len(set(v)) == len(v) for v in values.values())


@pytest.mark.parametrize("category", demo_world.CLASSES)
def test_every_combination_builds_a_sound_mesh(category: str) -> None:
    combinations = demo_world.combinations(category)
    assert len({tuple(c.items()) for c in combinations}) == len(combinations)
    used = {(name, value) for c in combinations for name, value in c.items()}
    assert used == {(n, v) for n, values in demo_world.attributes(category).items() for v in values}
    for i, attributes in enumerate(combinations):
        mesh = demo_world.build(f"k{i}", category, attributes, seed=3).mesh
        assert mesh.face_count < 8000
        for part in mesh.parts:
            assert part.vertices.dtype == np.float64
            assert part.faces.dtype == np.int32
            assert part.faces.min() >= 0
            assert part.faces.max() < len(part.vertices)
            assert (part.uv is None) == (part.texture is None)
            assert part.uv is None or part.uv.shape == (len(part.vertices), 2)
        vertices = mesh.vertices
        assert np.isfinite(vertices).all()
        assert vertices[:, 1].min() == pytest.approx(0, abs=1e-6)
        assert 0.4 < np.ptp(vertices, axis=0).max() < 3.0
        assert (areas(triangles(mesh)) < 1e-10).mean() <= 0.01


@pytest.mark.parametrize("category", demo_world.CLASSES)
def test_no_solid_is_inside_out(category: str) -> None:
    # Each finish of an object joins closed solids, so that its volume must be positive.
    for i in range(12):
        attributes = demo_world.draw(category, i, 5, held_out=False)
        for part in demo_world.build(f"v{i}", category, attributes, 5).mesh.parts:
            solid = shapes.Solid(part.vertices.astype(np.float64), part.faces, np.zeros((len(part.vertices), 2)))
            assert unmatched_edges(solid) <= 0.002 * len(part.faces)  # solids that touch may share float32 places
            assert volume(solid) > 0


def fingerprint(category: str) -> bytes:
    attributes = demo_world.draw(category, 7, 1, held_out=False)
    parts = demo_world.build("k", category, attributes, 1).mesh.parts
    textures = b"".join(b"" if p.texture is None else p.texture.texels.tobytes() for p in parts)
    return b"".join(p.vertices.tobytes() + p.faces.tobytes() + bytes(p.color) for p in parts) + textures


def test_building_is_deterministic_across_processes() -> None:
    code = (
        f"import hashlib, sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import test_world as t;"
        "print(hashlib.sha256(b''.join(map(t.fingerprint, t.demo_world.CLASSES))).hexdigest())"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1]


@pytest.mark.parametrize("category", demo_world.CLASSES)
def test_appearance_changes_colours_and_nothing_else(category: str) -> None:
    attributes = demo_world.draw(category, 3, 0, held_out=False)
    one, other = (demo_world.build("k", category, attributes, 0, appearance) for appearance in (0, 1))
    assert one.text == other.text
    for p, q in zip(one.mesh.parts, other.mesh.parts, strict=True):
        assert p.vertices.tobytes() == q.vertices.tobytes()
        assert p.faces.tobytes() == q.faces.tobytes()
    assert [p.color for p in one.mesh.parts] != [q.color for q in other.mesh.parts]


def test_keys_and_seeds_change_proportions() -> None:
    attributes = demo_world.combinations("chair")[0]
    built = {
        demo_world.build(key, "chair", attributes, seed).mesh.vertices.tobytes() for key in "ab" for seed in (0, 1)
    }
    assert len(built) == 4


def test_about_half_of_the_finishes_have_a_texture() -> None:
    parts = [
        p
        for c in demo_world.CLASSES
        for i in range(6)
        for p in demo_world.build(f"t{i}", c, demo_world.draw(c, i, 0, held_out=False), 0).mesh.parts
    ]
    assert 0.4 < np.mean([p.texture is not None for p in parts]) < 0.6


def distance_of_new(mesh: Mesh, other: Mesh) -> NDArray[np.float64]:
    """How far points on those triangles of `mesh` that `other` does not have lie from its surface."""
    corners = triangles(mesh)
    known = {t.tobytes() for t in np.round(triangles(other), 4)}
    new = np.array([t.tobytes() not in known for t in np.round(corners, 4)])
    if not new.any():
        return np.zeros(0)
    points = sampled(corners[new], 300, 0)
    return np.asarray(cKDTree(surface(other, 15_000)).query(points)[0])


@pytest.mark.parametrize("category", demo_world.CLASSES)
def test_every_attribute_value_changes_the_surface(category: str) -> None:
    combinations = demo_world.combinations(category)
    for name, values in demo_world.attributes(category).items():
        for a, b in itertools.combinations(values, 2):
            pair = next((c, {**c, name: b}) for c in combinations if c[name] == a and {**c, name: b} in combinations)
            one, other = (demo_world.build("k", category, c, 0).mesh for c in pair)
            size = np.ptp(one.vertices, axis=0).max()
            # Somewhere, and not at one point alone, what is new is clearly off the other's surface.
            apart = np.concatenate([distance_of_new(one, other), distance_of_new(other, one)])
            assert np.sort(apart)[-6] > 0.015 * size, (name, a, b)


def test_held_out_combinations_are_a_quarter_and_never_train() -> None:
    shares = []
    for category in demo_world.CLASSES:
        combinations = demo_world.combinations(category)
        shares.append(np.mean([demo_world.is_held_out(category, c) for c in combinations]))
        train = [demo_world.draw(category, i, 0, held_out=False) for i in range(len(combinations))]
        test = [demo_world.draw(category, i, 0, held_out=True) for i in range(len(combinations))]
        assert not any(demo_world.is_held_out(category, c) for c in train)
        assert all(demo_world.is_held_out(category, c) for c in test)
        # Each once before any comes again; together they are everything.
        held = sum(demo_world.is_held_out(category, c) for c in combinations)
        assert len({tuple(c.items()) for c in test[:held]}) == held
        assert len({tuple(c.items()) for c in train}) == len(combinations) - held
        # Every value is seen in training.
        seen = {item for c in train for item in c.items()}
        assert seen == {item for c in combinations for item in c.items()}
    assert 0.2 < np.mean(shares) < 0.3
    assert min(shares) > 0.15


@pytest.mark.parametrize("seed", [0, 9])
def test_held_out_objects_come_in_siblings(seed: int) -> None:
    for category in demo_world.CLASSES:
        for k in range(10):
            pair = [demo_world.draw(category, 2 * k + i, seed, held_out=True) for i in (0, 1)]
            assert demo_world.attribute_distance(*pair) == 1


def test_draw_depends_on_the_seed() -> None:
    orders = [[demo_world.draw("mug", i, seed, held_out=False) for i in range(20)] for seed in (0, 1, 0)]
    assert orders[0] == orders[2] != orders[1]


@pytest.mark.parametrize("category", demo_world.CLASSES)
def test_landmarks_are_many_different_and_about_structure_alone(category: str) -> None:
    texts = demo_world.sentences(category)
    assert len(texts) == len(set(texts)) == 128
    assert texts == demo_world.sentences(category)
    assert demo_world.sentences(category, 40) == texts[:40]
    assert demo_world.sentences(category, seed=1) != texts
    for text in texts:
        assert category in text.split()
        assert not set(re.findall(r"[a-z]+", text.lower())) & APPEARANCE_WORDS
        assert not re.search(r"\ba [aeiou]|\ba L-|\ban [^aeiouL]|  |\bno no\b| and,|,,", text)
        assert not re.search(r"\band\b[^,]*\band [^n]", text.replace("and no ", "")), text
        assert len(text.split()) <= 36


def test_describe_tells_more_with_more_detail() -> None:
    for category in demo_world.CLASSES:
        combinations = demo_world.combinations(category)
        for attributes in combinations[:: max(1, len(combinations) // 40)]:
            texts = [demo_world.describe(category, attributes, detail) for detail in (0, 1, 2)]
            assert texts[0] in (f"a {category}", f"an {category}")
            assert len(texts[0]) < len(texts[1]) < len(texts[2])
    by_text = Counter(demo_world.describe("bench", c, 2) for c in demo_world.combinations("bench"))
    assert set(by_text.values()) == {1}  # the full text tells every combination from every other
    assert len({demo_world.describe("chair", demo_world.combinations("chair")[9], 1, v) for v in range(12)}) > 3


def test_an_attribute_without_a_choice_is_left_unsaid() -> None:
    runners = {**demo_world.combinations("chair")[0], "legs": "runners", "crossbars": "no"}
    assert "crossbars" not in demo_world.describe("chair", runners, 2)
    assert "crossbars" in demo_world.describe("chair", {**runners, "legs": "straight"}, 2)


def test_attribute_distance_counts_differences() -> None:
    first = demo_world.combinations("table")[0]
    assert demo_world.attribute_distance(first, first) == 0
    assert demo_world.attribute_distance(first, {**first, "height": "tall", "top": "oval"}) == 2


@pytest.mark.parametrize(
    ("category", "change", "named"),
    [
        ("chiar", {}, '"chiar".*"chair"'),
        ("chair", {"legs": "five"}, 'chair: .*"legs".*straight, splayed, post, runners'),
        ("chair", {"wheels": "yes"}, 'chair .*"wheels"'),
        ("chair", {"legs": "post", "crossbars": "yes"}, "chair: .*'post'.*'crossbars': 'yes'"),
    ],
    ids=["category", "value", "attribute", "combination"],
)
def test_bad_input_is_reported_in_one_line(category: str, change: dict[str, str], named: str) -> None:
    with pytest.raises(SpecError, match=named) as error:
        demo_world.build("k", category, {**demo_world.combinations("chair")[0], **change}, 0)
    assert "\n" not in str(error.value)


def test_more_sentences_than_there_are_is_reported() -> None:
    with pytest.raises(SpecError, match=r"table .*\b100000\b"):
        demo_world.sentences("table", 100_000)


def test_shape_alone_tells_the_categories_apart() -> None:
    """Nearest neighbours on crude histograms of 256 points: held-out objects far above chance (6 %)."""

    def histogram(mesh: Mesh) -> NDArray[np.float64]:
        points = surface(mesh, 256)
        points -= points.mean(0)
        points /= np.linalg.norm(points, axis=1).max()
        apart = np.linalg.norm(points[:, None] - points[None], axis=2)
        height, radius = points[:, 1], np.hypot(points[:, 0], points[:, 2])
        plane = np.histogram2d(height, radius, (8, 6), ((-1, 1), (0, 1)))[0].ravel() / 256
        return np.sqrt(np.concatenate([3 * np.histogram(apart, 24, (0, 2))[0] / apart.size, plane]))

    rows: dict[bool, list[NDArray[np.float64]]] = {False: [], True: []}
    labels: dict[bool, list[int]] = {False: [], True: []}
    for held_out, count in ((False, 20), (True, 8)):
        for label, category in enumerate(demo_world.CLASSES):
            for i in range(count):
                key = f"{category}-{held_out}-{i}"
                built = demo_world.build(key, category, demo_world.draw(category, i, 0, held_out), 0)
                rows[held_out].append(histogram(built.mesh))
                labels[held_out].append(label)
    nearest = cKDTree(np.stack(rows[False])).query(np.stack(rows[True]))[1]
    assert np.mean(np.array(labels[False])[nearest] == np.array(labels[True])) > 0.6
