"""glTF files that hold the same box in every way to store bytes, numbers and pictures."""

from __future__ import annotations

from collections.abc import Iterator

import DracoPy
import numpy as np

from tests.precompute.meshes import ktx2_samples
from tests.precompute.meshes.gltf_document import Document
from tests.precompute.meshes.gltf_shapes import (
    BOX,
    FACES,
    PLATE,
    SEEN,
    SIDE,
    SIDE_FACES,
    SIDES,
    UV,
    WHITE,
    Case,
    linear,
    moved,
    on_box,
    picture,
    picture_box,
    shown,
    srgb,
    textured,
)


def containers() -> Iterator[tuple[str, Case]]:
    chunk = b"\x04\0\0\0WHAT1234"
    yield "glb", Case(picture_box().glb(), colors=SEEN)
    yield "glb-called-gltf", Case(picture_box().glb("x.gltf"), colors=SEEN)
    yield "glb-more-chunks", Case(picture_box().glb(more=chunk), colors=SEEN)
    yield "glb-trailing-bytes", Case(picture_box().glb(trailing=b"\n\n"), colors=SEEN)
    yield "glb-padded-with-zeros", Case(picture_box().glb(padding=b"\0"), colors=SEEN)
    yield "gltf-file", Case(picture_box().gltf(), colors=SEEN)
    yield "gltf-file-of-two-words", Case(picture_box().gltf("two words & more.bin"), colors=SEEN)
    yield "gltf-file-below", Case(picture_box().gltf("data/x.bin"), colors=SEEN)
    yield "gltf-data-uri", Case(picture_box().gltf(""), colors=SEEN)
    yield "gltf-byte-order-mark", Case(picture_box().gltf(head=b"\xef\xbb\xbf"), colors=SEEN)
    for order, mark in (("le", b"\xff\xfe"), ("be", b"\xfe\xff")):
        wide = picture_box().gltf()
        wide["x.gltf"] = mark + wide["x.gltf"].decode().encode(f"utf-16-{order}")
        yield f"gltf-utf-16-{order}", Case(wide, colors=SEEN)
    yield "gltf-of-blank-lines", Case(picture_box().gltf(head=b"\n \r\n\t"), colors=SEEN)
    named = picture_box().gltf()
    named["x.gltf"] = named["x.gltf"].replace(b'{"asset"', b'{"extras": {"name": "M\xf6bel"}, "asset"', 1)
    yield "gltf-of-names-in-latin-1", Case(named, colors=SEEN)


def faces() -> Iterator[tuple[str, Case]]:
    for component in ("u1", "u2", "u4"):
        document = Document()
        yield f"indices-{component}", Case(shown(document, indices=document.indices(FACES, component)).glb())
    for how in ("offset", "sparse", "sparse-only", "meshopt"):
        document = Document()
        yield f"indices-{how}", Case(shown(document, indices=document.indices(FACES, how=how)).glb())
    document = Document()
    yield (
        "no-indices",
        Case(shown(document, positions=document.accessor(BOX[FACES].reshape(-1, 3)), indices=None).glb()),
    )
    strip, fan = [0, 1, 3, 2], [0, 1, 2, 3]
    turned = PLATE[[[0, 1, 3], [1, 2, 3]]]
    for how in ("indices", "none"):
        for mode, order, seen in ((5, strip, turned), (6, fan, PLATE[SIDE_FACES])):
            document = Document()
            positions = document.accessor(PLATE if how == "indices" else PLATE[order])
            indices = document.indices(order) if how == "indices" else None
            files = shown(document, positions=positions, indices=indices, mode=mode).glb()
            yield f"{'strip' if mode == 5 else 'fan'}-{how}", Case(files, seen, WHITE[:2])
    for mode, what in ((0, "points"), (1, "lines"), (2, "loop"), (3, "line-strip")):
        document = shown(Document(), mode=mode)
        shown(document)
        yield what, Case(document.glb(), losses=("points or lines not drawn",))
    document = Document()
    ragged = np.append(FACES.reshape(-1), [0, 1])
    yield "ragged-triangles", Case(shown(document, indices=document.indices(ragged)).glb(), losses=("faces dropped",))
    document = shown(shown(Document()), attributes={"POSITION": None})
    yield "no-positions", Case(document.glb(), losses=("faces dropped",))
    # six primitives that share their accessors, each a side of the box
    document = Document()
    attributes = {"POSITION": document.accessor(BOX), "TEXCOORD_0": document.accessor(UV)}
    look = document.add("materials", textured(document))
    sides = [
        {"attributes": attributes, "indices": document.indices(FACES[2 * k : 2 * k + 2]), "material": look}
        for k in range(6)
    ]
    document.node({"mesh": document.mesh(*sides)})
    yield "primitives-share-accessors", Case(document.glb(), colors=SEEN)


def positions() -> Iterator[tuple[str, Case]]:
    for how in ("offset", "strided", "sparse", "sparse-only", "meshopt"):
        document = Document()
        yield f"positions-{how}", Case(shown(document, positions=document.accessor(BOX, how=how)).glb())
    document = Document()
    document.uses("KHR_accessor_float64", required=True)
    yield "positions-f8", Case(shown(document, positions=document.accessor(BOX, "f8")).glb())
    for component in ("i1", "u1", "i2", "u2"):
        for normalized in (True, False):
            for how in ("plain", "strided", "meshopt"):
                document = Document()
                document.uses("KHR_mesh_quantization", required=True)
                most = np.iinfo(component).max
                low, size = BOX.min(axis=0), np.ptp(BOX, axis=0)
                levels = np.rint((BOX - low) / size * (most if component[0] == "u" or normalized else 100))
                values = levels / most if normalized else levels
                accessor = document.accessor(values, component, normalized, how)
                scale = size / (1 if normalized else levels.max())
                node = {"translation": low.tolist(), "scale": scale.tolist()}
                name = f"positions-{component}-{'normalized' if normalized else 'plain'}-{how}"
                yield name, Case(shown(document, positions=accessor, node=node).glb())
    # the smallest signed number is -1 too, not below it
    document = Document()
    values = np.where(BOX < 0, -128, 127)
    accessor = document.accessor(values / 127, "i1", True)
    yield "positions-smallest-number", Case(shown(document, positions=accessor).glb(), triangles=np.sign(BOX)[FACES])


def coordinates() -> Iterator[tuple[str, Case]]:
    for component, normalized in (("f4", False), ("u1", True), ("u2", True), ("i1", True), ("i2", True), ("f8", False)):
        for how in ("plain", "strided", "offset", "sparse", "meshopt"):
            document = Document()
            uv = document.accessor(UV, component, normalized, how)
            document = shown(document, uv=uv, material=textured(document))
            yield f"uv-{component}-{how}", Case(document.glb(), colors=SEEN)
    # whole numbers, which the transform makes fractions
    for component in ("u1", "u2", "i2"):
        document = Document()
        document.uses("KHR_texture_transform")
        document.uses("KHR_mesh_quantization", required=True)
        info = moved(scale=[1 / 100, 1 / 100])
        uv = document.accessor(UV * 100, component)
        document = shown(document, uv=uv, material=textured(document, info))
        yield f"uv-{component}-not-normalized", Case(document.glb(), colors=SEEN)
    for number in (1, 2, 3):
        document = Document()
        other = document.accessor(np.zeros_like(UV))
        attributes = {f"TEXCOORD_{k}": other for k in range(1, number)}
        attributes[f"TEXCOORD_{number}"] = document.accessor(UV)
        look = textured(document, {"texCoord": number})
        yield (
            f"texcoord-{number}",
            Case(shown(document, uv=other, attributes=attributes, material=look).glb(), colors=SEEN),
        )
    document = Document()
    document.uses("KHR_texture_transform")
    look = textured(document, moved(texCoord=1) | {"texCoord": 0})
    attributes = {"TEXCOORD_1": document.accessor(UV)}
    files = shown(document, uv=document.accessor(np.zeros_like(UV)), attributes=attributes, material=look).glb()
    yield "transform-texcoord", Case(files, colors=SEEN)
    document = Document()
    look = textured(document, {"texCoord": 3})
    files = shown(document, uv=document.accessor(UV), material=look).glb()
    yield "texcoord-missing", Case(files, colors=np.full((12, 3), 178.0), losses=("texture coordinates missing",))


def pictures() -> Iterator[tuple[str, Case]]:
    for how in ("view", "data", "tex.png", "two words.png", "maps/tex.png"):
        yield f"picture-{how}", Case(picture_box(how=how).glb(), colors=SEEN)
    for kind in ("JPEG", "BMP", "TIFF", "GIF", "WEBP", "TGA"):
        found = picture_box(data=picture(kind=kind)).glb()
        yield f"picture-{kind}", Case(found, colors=SEEN, tolerance=12 if kind == "JPEG" else 0.6)
    garbage = b"\xabKTX 20\xbb\r\n\x1a\n" + bytes(80)
    for name in ("EXT_texture_webp", "MSFT_texture_dds", "EXT_texture_avif", "KHR_texture_basisu"):
        for fallback in (True, False):
            document = Document()
            read = name == "EXT_texture_webp"
            index = document.texture(picture(kind="WEBP") if read else garbage)
            document.uses(name, required=not fallback)
            texture = document.json["textures"][index]
            texture["extensions"] = {name: {"source": texture.pop("source")}}
            if fallback:
                content = b"not asked for" if read else picture()
                texture["source"] = document.json["textures"][document.texture(content)]["source"]
            look = {"pbrMetallicRoughness": {"baseColorTexture": {"index": index}}}
            case = on_box(look, document, colors=SEEN)
            if read or fallback:
                yield f"{name}{'-fallback' if fallback else ''}", case
            else:
                yield name, Case(case.files, error=r"cannot read the texture images\[0\]")
    document = Document()
    document.uses("EXT_texture_avif", required=True)
    index = document.texture(picture(kind="AVIF"))
    texture = document.json["textures"][index]
    texture["extensions"] = {"EXT_texture_avif": {"source": texture.pop("source")}}
    document.json["images"][0]["mimeType"] = "image/avif"
    look = {"pbrMetallicRoughness": {"baseColorTexture": {"index": index}}}
    yield "EXT_texture_avif-picture", on_box(look, document, colors=SEEN, tolerance=4)
    for sample in ("quarters-etc1s", "quarters-uastc-zstd"):
        document = Document()
        document.uses("KHR_texture_basisu", required=True)
        index = document.texture(ktx2_samples.SAMPLES[sample].data)
        texture = document.json["textures"][index]
        texture["extensions"] = {"KHR_texture_basisu": {"source": texture.pop("source")}}
        document.json["images"][0]["mimeType"] = "image/ktx2"
        look = {"pbrMetallicRoughness": {"baseColorTexture": {"index": index}}}
        yield f"KHR_texture_basisu-{sample}", on_box(look, document, colors=SEEN, tolerance=4)
    document = Document()
    look = textured(document) | {"normalTexture": {"index": document.texture(b"no picture, but nobody asks")}}
    look["occlusionTexture"] = {"index": document.texture(b"", how="not there.png")}
    yield "other-maps-are-not-read", on_box(look, document, colors=SEEN)
    grey = np.full((12, 3), 178.0)
    yield "picture-missing", Case(picture_box(data=b"", how="tex.png").glb(), colors=grey, losses=("texture missing",))
    for name, extensions in (("picture-missing-not-named", {}), ("picture-missing-unknown-extension", {"ACME": {}})):
        document = Document()
        if extensions:
            document.uses("ACME")
        look = textured(document, sampler={})
        document.json["textures"][0] = {"sampler": 0, "extensions": extensions}
        losses = (*(["extension ignored"] if extensions else []), "texture missing")
        yield name, on_box(look, document, colors=grey, losses=losses)
    for name in ("EXT_texture_webp", "KHR_texture_basisu", "EXT_texture_avif"):
        document = Document()
        document.uses(name)
        there, gone = document.texture(picture()), document.texture(b"", how="gone")
        images = document.json["textures"][there]["source"], document.json["textures"][gone]["source"]
        first, second = images if name != "EXT_texture_webp" else images[::-1]
        document.json["textures"] = [{"source": second, "extensions": {name: {"source": first}}}]
        look = {"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}
        yield f"{name}-other-missing", on_box(look, document, colors=SEEN)
    document = Document()
    look = textured(document, data=b"", how="tex.png")
    look["pbrMetallicRoughness"]["baseColorFactor"] = [0.5, 0.5, 0.5, 1]
    yield "picture-missing-factor", on_box(look, document, colors=srgb(linear(grey) * 0.5), losses=("texture missing",))
    document = Document()
    look = {"emissiveTexture": {"index": document.texture(b"", how="tex.png")}, "emissiveFactor": [1, 1, 1]}
    yield "emissive-picture-missing", on_box(look, document, losses=("texture missing",))
    black = {"baseColorFactor": [0, 0, 0, 1]}
    document = Document()
    look = {
        "emissiveTexture": {"index": document.texture(b"", how="tex.png")}, "emissiveFactor": [1, 1, 1],
        "pbrMetallicRoughness": black,
    }  # fmt: skip
    yield "emissive-picture-missing-black", on_box(look, document, colors=grey, losses=("texture missing",))
    document = Document()
    look = {
        "emissiveTexture": {"index": document.texture(b"", how="tex.png")}, "emissiveFactor": [1, 1, 1],
        "pbrMetallicRoughness": black | {"baseColorTexture": {"index": document.texture(picture())}},
    }  # fmt: skip
    yield "emissive-picture-missing-textured", on_box(look, document, colors=SEEN, losses=("texture missing",))
    for name, data in (("garbage", b"this is no picture"), ("truncated", picture(64)[:150]), ("empty", b"")):
        for how in ("view", "data", "tex.png"):
            document = Document()
            look = textured(document, data=data, how=how)
            document.beside.update({how: data} if how == "tex.png" else {})
            named = "tex.png" if how == "tex.png" else r"images\[0\]"
            yield f"picture-{name}-{how}", Case(on_box(look, document).files, error=named)


def compressed() -> Iterator[tuple[str, Case]]:
    """Draco streams from DracoPy."""
    color = np.rint(np.column_stack([SIDES, np.ones(24)]) * 255).astype(np.uint8)
    for name, look in (("plain", ""), ("strip", ""), ("texture", "uv"), ("colors", "color"), ("all", "uv color")):
        for fallback in (True, False):
            document = Document()
            document.uses("KHR_draco_mesh_compression", required=not fallback)
            stream = DracoPy.encode(
                BOX.astype(np.float32),
                FACES.astype(np.uint32),
                quantization_bits=14,
                preserve_order=True,
                colors=color if "color" in look else None,
                tex_coord=UV if "uv" in look else None,
            )
            decoded = DracoPy.decode(stream)
            kinds = {0: "POSITION", 2: "COLOR_0", 3: "TEXCOORD_0"}  # of Draco's attributes
            names = {kinds[a["attribute_type"]]: a["unique_id"] for a in decoded.attributes}
            attributes = {}
            for attribute, values in (("POSITION", BOX), ("TEXCOORD_0", UV), ("COLOR_0", color / 255)):
                if attribute in names:
                    accessor = document.accessor(
                        values, "u1" if attribute == "COLOR_0" else "f4", attribute == "COLOR_0"
                    )
                    attributes[attribute] = accessor
            indices = document.indices(FACES)
            if not fallback:
                for entry in document.json["accessors"]:
                    del entry["bufferView"]
            extension = {"bufferView": document.view(stream), "attributes": names}
            shown(
                document,
                positions=attributes.pop("POSITION"),
                attributes=attributes,
                indices=indices,
                material=textured(document) if "uv" in look else None,
                extensions={"KHR_draco_mesh_compression": extension},
                mode=5 if name == "strip" else 4,
            )
            base = linear(SEEN) if "uv" in look else np.ones((12, 3))
            seen = srgb(base * (SIDE if "color" in look else 1))
            yield (
                f"draco-{name}{'-fallback' if fallback else ''}",
                Case(document.glb(), colors=seen, near=2e-3, tolerance=1.5),
            )
    document = shown(Document())
    document.uses("KHR_draco_mesh_compression")
    extension = {"bufferView": document.view(stream), "attributes": {}}
    shown(document, attributes={"POSITION": None}, extensions={"KHR_draco_mesh_compression": extension})
    yield "draco-no-positions", Case(document.glb(), losses=("faces dropped",))
