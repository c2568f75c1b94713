"""glTF files of every kind of material, vertex colours and textures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tests.precompute.meshes.gltf_document import Document
from tests.precompute.meshes.gltf_shapes import (
    FACES,
    QUARTERS,
    SEEN,
    SIDE,
    SIDES,
    UV,
    Case,
    flat,
    linear,
    moved,
    on_box,
    picture,
    pictured,
    shown,
    srgb,
    textured,
)


def transforms() -> Iterator[tuple[str, Case]]:
    """What is seen of the picture is worked out from where its corners go: the extension's own example says which way
    it turns."""
    quarter = np.pi / 2
    cases: dict[str, tuple[dict[str, Any], Callable[[Any, Any], tuple[Any, Any]]]] = {
        "offset": ({"offset": [0.5, 0]}, lambda u, v: (u + 0.5, v)),
        "offset-down": ({"offset": [0, 0.5]}, lambda u, v: (u, v + 0.5)),
        "scale": ({"scale": [0.5, 0.25]}, lambda u, v: (u / 2, v / 4)),
        "scale-negative": ({"scale": [1, -1], "offset": [0, 1]}, lambda u, v: (u, 1 - v)),
        "rotation": ({"rotation": quarter, "offset": [0, 1]}, lambda u, v: (v, 1 - u)),
        "rotation-back": ({"rotation": -quarter, "offset": [1, 0]}, lambda u, v: (1 - v, u)),
        "half-turn": ({"rotation": 2 * quarter, "offset": [1, 1]}, lambda u, v: (1 - u, 1 - v)),
        "example": (
            {"offset": [0, 1], "rotation": quarter, "scale": [0.5, 0.5]}, lambda u, v: (v / 2, 1 - u / 2)
        ),
        # it is scaled before it is turned
        "rotation-and-scale": (
            {"rotation": quarter, "scale": [0.5, 1], "offset": [0, 1]}, lambda u, v: (v, 1 - u / 2)
        ),
        "nothing": ({}, lambda u, v: (u, v)),
    }  # fmt: skip
    for name, (transform, where) in cases.items():
        for component in ("f4", "u2"):
            document = Document()
            document.uses("KHR_texture_transform", required=True)
            uv = document.accessor(UV, component, component != "f4")
            document = shown(document, uv=uv, material=textured(document, moved(**transform)))
            seen = pictured(np.stack(where(UV[:, 0], UV[:, 1]), 1))
            yield f"transform-{name}-{component}", Case(document.glb(), colors=seen)


def wraps() -> Iterator[tuple[str, Case]]:
    """Coordinates beyond the picture, the middle of a face at (7/6, 1/3) or (4/3, 2/3), and the other way round."""
    codes = {"repeat": 10497, "mirror": 33648, "clamp": 33071}
    beyond = UV * (0.5, 1) + (1, 0)
    middles = beyond[FACES].mean(axis=1)
    columns = {"repeat": 0, "mirror": 1, "clamp": 1}
    for name, code in codes.items():
        seen = np.array([QUARTERS[columns[name], int(v >= 0.5)] for _, v in middles], np.float64)
        document = Document()
        look = textured(document, sampler={"wrapS": code, "magFilter": 9728})
        document = shown(document, uv=document.accessor(beyond), material=look)
        yield f"wrap-{name}-u", Case(document.glb(), colors=seen)
        document = Document()
        look = textured(document, sampler={"wrapT": code})
        document = shown(document, uv=document.accessor(beyond[:, ::-1]), material=look)
        seen = np.array([QUARTERS[int(v >= 0.5), columns[name]] for _, v in middles], np.float64)
        yield f"wrap-{name}-v", Case(document.glb(), colors=seen)


def colors() -> Iterator[tuple[str, Case]]:
    factor = np.array([0.5, 0.25, 1.0])
    for component in ("f4", "u1", "u2"):
        for width in (3, 4):
            values = np.column_stack([SIDES, np.full(24, 0.6)])[:, :width]
            for look in ("none", "white", "factor", "texture", "texture-factor"):
                document = Document()
                base = linear(SEEN) if "texture" in look else np.ones(3)
                material = textured(document) if "texture" in look else {}
                if "factor" in look:
                    material.setdefault("pbrMetallicRoughness", {})["baseColorFactor"] = [*factor, 0.5]
                    base = base * factor
                color = document.accessor(values, component, component != "f4")
                document = shown(
                    document,
                    uv=document.accessor(UV),
                    colors=color,
                    material=None if look == "none" else material,
                )
                name = f"color-{component}x{width}-{look}"
                opacity = (0.5 if "factor" in look else 1) * (0.6 if width == 4 else 1)
                yield name, Case(document.glb(), colors=srgb(base * SIDE), opacity=opacity)
    for how in ("strided", "sparse", "meshopt"):
        document = Document()
        color = document.accessor(np.column_stack([SIDES, np.ones(24)]), "u1", True, how)
        yield f"color-{how}", Case(shown(document, colors=color).glb(), colors=srgb(SIDE))
    document = Document()
    document = shown(document, colors=document.accessor(SIDES * 3))
    yield "color-out-of-range", Case(document.glb(), colors=srgb(np.minimum(SIDE * 3, 1)))
    document = Document()
    document = shown(document, attributes={"COLOR_1": document.accessor(SIDES)})
    yield "color-1-has-no-meaning", Case(document.glb())


def materials() -> Iterator[tuple[str, Case]]:
    color = [0.2, 0.4, 0.6]
    yield "factor", on_box({"pbrMetallicRoughness": {"baseColorFactor": [*color, 1]}}, colors=flat(color))
    metal = {"baseColorFactor": [0.9, 0.7, 0.1, 1], "metallicFactor": 1, "roughnessFactor": 0.1}
    yield "metal", on_box({"pbrMetallicRoughness": metal}, colors=flat([0.9, 0.7, 0.1]))
    document = Document()
    look = textured(document)
    look["pbrMetallicRoughness"]["baseColorFactor"] = [*color, 1]
    yield "factor-times-texture", on_box(look, document, colors=srgb(linear(SEEN) * color))
    yield "empty-material", on_box({})
    look = {"pbrMetallicRoughness": {"baseColorFactor": [2, -1, 0.5, 7]}}
    yield "factor-out-of-range", on_box(look, colors=flat([1, 0, 0.5]))
    yield "null-is-absent", on_box({"pbrMetallicRoughness": None, "alphaMode": None, "emissiveTexture": None})
    for name, cutoff in (("mask", 0.25), ("blend", 0.5), ("opaque", 0.5)):
        document = Document()
        look = textured(document, data=picture(alpha=64)) | {"alphaMode": name.upper(), "alphaCutoff": cutoff}
        opacity = np.where(SEEN[:, 1] > 100, 64 / 255, 1.0)  # green and yellow are on the right
        expected = {"alpha": name, "cutoff": cutoff}
        yield f"alpha-{name}", on_box(look, document, colors=SEEN, opacity=opacity, expected=expected)
        look = {"alphaMode": name.upper(), "pbrMetallicRoughness": {"baseColorFactor": [1, 1, 1, 0.3]}}
        expected = {"alpha": name, "cutoff": 0.5}
        yield f"alpha-{name}-factor", on_box(look, opacity=0.3, expected=expected)
    document = Document()
    look = textured(document) | {"extensions": {"KHR_materials_unlit": {}}, "emissiveFactor": [1, 1, 1]}
    yield "unlit", on_box(look, document, "KHR_materials_unlit", colors=SEEN, expected={"unlit": True})
    yield from _glossy()
    yield from _emissive()


def _glossy() -> Iterator[tuple[str, Case]]:
    name = "KHR_materials_pbrSpecularGlossiness"
    base, dark = [0.2, 0.4, 0.6], [0.1, 0.1, 0.1]
    for case, glossy, seen in (
        ("diffuse", {"diffuseFactor": [*base, 1]}, base),
        ("diffuse-and-specular", {"diffuseFactor": [*base, 1], "specularFactor": dark}, base),
        ("metal", {"diffuseFactor": [0, 0, 0, 1], "specularFactor": [0.9, 0.6, 0.2]}, [0.9, 0.6, 0.2]),
        ("black", {"diffuseFactor": [0, 0, 0, 1], "specularFactor": [0, 0, 0]}, [0, 0, 0]),
    ):
        yield f"glossy-{case}", on_box({"extensions": {name: glossy}}, uses=name, colors=flat(seen))
    document = Document()
    document.uses(name, required=True)
    glossy = {"diffuseTexture": {"index": document.texture(picture())}, "diffuseFactor": [0.5, 1, 1, 1]}
    look = {"extensions": {name: glossy}, "pbrMetallicRoughness": {"baseColorFactor": [0, 0, 0, 1]}}
    yield from _glossy_pictures(name)
    yield "glossy-texture", on_box(look, document, colors=srgb(linear(SEEN) * (0.5, 1, 1)))


def _glossy_pictures(name: str) -> Iterator[tuple[str, Case]]:
    """Metals have their colour in the specular picture."""
    right, all_of_it = [(1, 0), (1, 1)], [(0, 0), (0, 1), (1, 0), (1, 1)]
    left = np.where(SEEN[:, 1:2] > 100, 0, SEEN)  # green and yellow are on the right
    grey, half = np.full((12, 3), 178.0), np.array([0.5, 1, 1])
    black = {"diffuseFactor": [0, 0, 0, 1]}
    dull, tinted = {"specularFactor": [0.04] * 3}, {"specularFactor": [0.5, 1, 1]}
    missing, other = ("texture missing",), ("texture not read",)
    cases: dict[str, tuple[dict[str, Any], list[tuple[int, int]] | None, Any, Any, tuple[str, ...]]] = {
        # other properties, the black quarters of the diffuse picture, that of gloss, what is seen, losses
        "specular-texture": (black | tinted, None, {}, srgb(linear(SEEN) * half), ()),
        "specular-texture-missing": (black, None, None, grey, missing),
        "atlas-of-metal": ({}, all_of_it, {}, SEEN, ()),
        "atlas": (tinted, right, {}, np.where(SEEN[:, 1:2] > 100, srgb(linear(SEEN) * half), SEEN), ()),
        "atlas-of-no-metal": (dull, right, {}, left, ()),
        "atlas-tinted": (
            {"diffuseFactor": [0.5, 1, 1, 1]}, right, {},
            np.where(SEEN[:, 1:2] > 100, SEEN, srgb(linear(SEEN) * half)), (),
        ),
        "atlas-specular-missing": ({}, right, None, left, missing),
        "atlas-that-lies-otherwise": ({}, right, {"texCoord": 1}, left, other),
        "atlas-without-black": ({}, [], None, SEEN, ()),
    }  # fmt: skip
    for case, (glossy, dark, info, seen, losses) in cases.items():
        document = Document()
        gloss = document.texture(picture(32) if info is not None else b"", how="view" if info is not None else "no.png")
        glossy = {**glossy, "specularGlossinessTexture": {"index": gloss, **(info or {})}}
        if dark is not None:
            glossy["diffuseTexture"] = {"index": document.texture(picture(black=dark))}
        document.uses(name)
        yield f"glossy-{case}", on_box({"extensions": {name: glossy}}, document, colors=seen, losses=losses)


def _emissive() -> Iterator[tuple[str, Case]]:
    black = {"pbrMetallicRoughness": {"baseColorFactor": [0, 0, 0, 1]}}
    glow = np.array([0.4, 0.2, 0.1])
    yield "emissive-factor", on_box(black | {"emissiveFactor": glow.tolist()}, colors=flat(glow))
    name = "KHR_materials_emissive_strength"
    for strength in (0.5, 2.0):
        look = black | {"emissiveFactor": glow.tolist(), "extensions": {name: {"emissiveStrength": strength}}}
        yield f"emissive-strength-{strength}", on_box(look, uses=name, colors=flat(glow * strength))
    for case, factor, base, info in (
        ("texture", [1, 1, 1], [0, 0, 0], {}),
        ("texture-times-factor", [0.5, 1, 0.2], [0, 0, 0], {}),
        ("texture-added", [0.25, 0.25, 0.25], [0.1, 0.2, 0.3], {}),
        ("texture-transformed", [1, 1, 1], [0, 0, 0], moved(offset=[0.5, 0])),
        ("texture-of-set-1", [1, 1, 1], [0, 0, 0], {"texCoord": 1}),
        ("texture-without-factor", [0, 0, 0], [0.1, 0.2, 0.3], {}),
    ):
        document = Document()
        if "extensions" in info:
            document.uses("KHR_texture_transform")
        look = {
            "pbrMetallicRoughness": {"baseColorFactor": [*base, 1]},
            "emissiveFactor": factor,
            "emissiveTexture": {"index": document.texture(picture()), **info},
        }
        shift = np.array([0.5, 0]) if "transformed" in case else np.zeros(2)
        uv = document.accessor(np.zeros_like(UV) if info.get("texCoord") else UV)
        shown(document, uv=uv, attributes={"TEXCOORD_1": document.accessor(UV)}, material=look)
        seen = srgb(np.array(base) + linear(pictured(UV + shift)) * factor)
        yield f"emissive-{case}", Case(document.glb(), colors=seen)
