"""What the judge is shown: every valid file of the shared generators, the field's cases, and real models."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

from tests.judge.three import PACKAGES, ROOT
from tests.precompute.meshes import gltf_files, text_files

Files = Mapping[str, bytes]

FIELD = ROOT / "tests" / "data" / "field"
FURNITURE = ROOT / "build" / "judge" / "furniture"
CONTROLLERS = PACKAGES / "@webxr-input-profiles" / "assets" / "dist" / "profiles"
EACH = 9
"""Of the furniture, each ninth model."""
SIZE = 384
"""Of views of real models: more than that of runs, since what is thinner than a pixel is seen or not by chance."""

_SUFFIXES = (".glb", ".gltf", ".obj", ".ply", ".stl", ".off")


@dataclass(frozen=True)
class Object:
    """files: by path below its folder, its own file first. Views from `angles` (azimuth, elevation), in degrees, are of
    `size` pixels a side."""

    files: Files
    angles: tuple[tuple[float, float], ...]
    size: int


def cases() -> dict[str, Object]:
    """Small files whose right looks are known: group/name."""
    files: dict[str, Files] = {}
    for name, found in gltf_files.cases().items():
        if not found.error:
            files[f"gltf/{name}"] = found.files
    for name, case in text_files.CASES.items():
        kind, _, rest = name.partition("-")
        files[f"{kind}/{rest}"] = case.files
    files |= {f"field/{path.name}": found for path in sorted(FIELD.iterdir()) if (found := _of_field(path))}
    # no side of a box, and no plate, is seen from its edge
    angles = ((25.0, 20.0), (115.0, -30.0), (205.0, 50.0), (295.0, 5.0))
    return {name: Object(of, angles, 112) for name, of in files.items()}


def _of_field(folder: Path) -> Files | None:
    """A case's mesh and the files beside it; None where it has no mesh, or many."""
    top = folder / "in" if (folder / "in").is_dir() else folder
    own = sorted(path for path in top.rglob("*") if path.suffix in _SUFFIXES)
    if not own or len(own) > 2:
        return None
    others = sorted(path for path in top.rglob("*") if path.is_file() and path != own[0])
    return {str(path.relative_to(top)): path.read_bytes() for path in (own[0], *others)}


@cache
def real() -> tuple[str, ...]:
    """The names of the real models, whose files `real_object` reads: furniture (OBJ) and controllers (GLB)."""
    furniture = [f"furniture/{row['key']}" for row in _furniture()[::EACH]]
    controllers = [
        f"controllers/{folder.name}" for folder in sorted(CONTROLLERS.iterdir()) if list(folder.glob("*.glb"))
    ]
    return (*furniture, *controllers)


def real_object(name: str) -> Object:
    group, _, key = name.partition("/")
    if group == "furniture":
        (row,) = (row for row in _furniture() if row["key"] == key)
        own = FURNITURE / row["mesh"]
    else:
        own = sorted((CONTROLLERS / key).glob("*.glb"))[0]
    others = [path for path in own.parent.rglob("*") if path.is_file() and path != own] if group == "furniture" else []
    files = {str(path.relative_to(own.parent)): path.read_bytes() for path in (own, *others)}
    angles = ((25.0, 20.0), (85.0, -20.0), (145.0, 50.0), (205.0, 20.0), (265.0, -10.0), (325.0, 5.0))
    return Object(files, angles, SIZE)


@cache
def _furniture() -> list[dict[str, str]]:
    manifest = FURNITURE / "manifest.jsonl"
    if not manifest.exists():
        script = ROOT / "examples" / "furniture" / "make_manifest.py"
        subprocess.run([sys.executable, script, FURNITURE], check=True, stdout=subprocess.DEVNULL)
    return [json.loads(line) for line in manifest.read_text().splitlines()]


def unread(name: str) -> str:
    """Why three.js does not read an object rightly; empty if nothing is known against it."""
    return next((why for pattern, why in UNREAD.items() if fnmatchcase(name, pattern)), "")


_NO_LOADER = "three.js has no loader of OFF"
_MISSING = "a picture is missing: three.js draws black or white, captionless grey, and tells"
_FINDING = "three.js takes a file's name as it is written, and looks nowhere else"
_LIBRARIES = "three.js takes one library, whose name it takes as it is written"
_WHICH = "which material such faces have is left open: three.js draws white, captionless as docs/meshes.md says"
_INSISTS = "three.js insists on the extension's picture, which is none in this file"
_COINCIDE = "faces of several colours coincide, and which of them is seen is chance"
_PAINTED = "three.js drops colours of vertices beside a material, or if some vertices have none"
_COMMENT = "three.js reads comments at the end of a line as part of it"
_MASK = "three.js takes the mask's green, captionless its opacity where it has one"
_OPACITY = "three.js reads no opacity of vertices"
_THIN = "about 100,000 leaves thinner than a pixel: the two become alike only as views grow"
_PLY_TEXTURE = "three.js does not read a PLY file's texture"

UNREAD: Mapping[str, str] = {
    "off/*": _NO_LOADER,
    "field/off-*": _NO_LOADER,
    "*/*-utf-16-?e": "three.js reads UTF-8 alone",
    # glTF
    "gltf/glb-padded-with-zeros": "three.js takes only blanks, which the specification demands, as padding",
    "gltf/*no-positions": "a primitive without positions; three.js reads nothing of such a file",
    "gltf/positions-f8": "three.js has no KHR_accessor_float64",
    "gltf/uv-f8-*": "three.js has no KHR_accessor_float64",
    "gltf/texcoord-missing": "coordinates are missing: three.js draws one texel, captionless the factor, and tells",
    "gltf/factor-out-of-range": "three.js does not clip factors, which the specification bounds",
    "gltf/null-is-absent": "null where the schema has an object; three.js reads nothing of such a file",
    "gltf/glossy-*": "three.js has dropped KHR_materials_pbrSpecularGlossiness",
    "gltf/picture-TIFF": "browsers decode no TIFF",
    "gltf/picture-TGA": "browsers decode no TGA",
    "gltf/EXT_texture_avif-fallback": _INSISTS,
    "gltf/EXT_texture_webp-other-missing": _INSISTS,
    "gltf/KHR_texture_basisu-other-missing": _INSISTS,
    "gltf/KHR_texture_basisu-fallback": _INSISTS,
    "gltf/picture-missing*": _MISSING,
    "gltf/emissive-picture-missing-*": _MISSING,
    "gltf/rotation-not-of-length-1": "three.js does not normalize quaternions, which the specification demands",
    "gltf/no-scene*": "three.js draws a scene only; captionless then draws all nodes",
    "gltf/no-nodes": "three.js draws a scene only; captionless then draws all meshes",
    "gltf/alpha-mask-factor": "all of it is cut out: nothing is seen on either side",
    "gltf/instances-turn": _COINCIDE,
    "gltf/instances-turn-i1": _COINCIDE,
    "gltf/instances-size": _COINCIDE,
    "gltf/morph-coordinates-and-colours": "three.js does not morph coordinates, and no colours here",
    "gltf/skin-of-eight-joints": "three.js reads four joints of a vertex",
    # OBJ
    "obj/*-cr": "three.js wants a line feed at the end of lines",
    "obj/textured-*tabs": "three.js wants a blank after mtllib",
    "obj/textured-tabs": "three.js wants a blank after mtllib",
    "obj/map-tab": "three.js wants a blank after map_Kd",
    "field/obj-map_Kd-tab": "three.js wants a blank after map_Kd",
    "field/obj-mtllib-tab": "three.js wants a blank after mtllib",
    "obj/map-quotes": _FINDING,
    "obj/map-apostrophes": _FINDING,
    "obj/map-windows*": _FINDING,
    "obj/map-un*": _FINDING,
    "obj/map-case": _FINDING,
    "obj/map-folder-*": _FINDING,
    "obj/map-images": _FINDING,
    "obj/map-scanned-objects": _FINDING,
    "field/obj-gso-layout": _FINDING,
    "field/obj-texture-case": _FINDING,
    "field/obj-texture-windows-path": _FINDING,
    "obj/map-options": "three.js knows few options of map_Kd",
    "obj/map-clamp": "three.js knows few options of map_Kd",
    "obj/map-one-number": "three.js wants three numbers after -s and -o",
    "obj/map-offset": "three.js wants three numbers after -s and -o",
    "obj/map-comment": _COMMENT,
    "obj/comments": _COMMENT,
    "obj/use-comment*": _COMMENT,
    "obj/map-missing-*": _MISSING,
    "obj/map-ke-missing-black*": _MISSING,
    "obj/map-ke-missing-no-kd": _MISSING,
    "obj/map-ke-without-vt": "coordinates are missing: three.js draws one texel, captionless grey, and tells",
    "obj/polypaint*": "three.js takes ZBrush's colours for comments",
    "obj/tr-of-1": "three.js draws nothing, unless it is told that such files mean opaque",
    "field/obj-texture-missing-Kd0": _MISSING,
    "field/gltf-image-missing": _MISSING,
    "obj/kd-one": "three.js wants three numbers after Kd",
    "obj/kd-none": _WHICH,
    "obj/d-halo": "three.js wants a number after d",
    "obj/map-d": _MASK,
    "obj/map-d-of-*": _MASK,
    "obj/map-ke-alone": "three.js multiplies the glow's picture by a Ke that is not there",
    "obj/library-tab": _LIBRARIES,
    "obj/library-upper": _LIBRARIES,
    "obj/library-quotes": _LIBRARIES,
    "obj/library-case": _LIBRARIES,
    "obj/library-windows": _LIBRARIES,
    "obj/library-two-*": _LIBRARIES,
    "obj/library-continued": _LIBRARIES,
    "obj/library-quoted-spaces": _LIBRARIES,
    "obj/library-folder": _LIBRARIES,
    "obj/library-missing": _LIBRARIES,
    "obj/first-of-two-libraries": _LIBRARIES,
    "field/obj-two-mtllib-lines": _LIBRARIES,
    "obj/use-none*": _WHICH,
    "obj/use-unknown": _WHICH,
    "obj/use-number": _WHICH,
    "obj/use-case": _WHICH,
    "field/obj-no-usemtl": _WHICH,
    "obj/colours-opacity": _OPACITY,
    "obj/colours-and-kd": _PAINTED,
    "obj/colours-of-some": _PAINTED,
    "obj/colours-of-*-numbers": "three.js takes the fourth to sixth of any more numbers of a vertex for a colour",
    "field/obj-colours-with-mtl": _PAINTED,
    "obj/face-without-vt": "three.js gives faces without coordinates the texture all the same",
    "field/obj-face-without-vt": "three.js gives faces without coordinates the texture all the same",
    "obj/fo": "three.js does not know the old name of f",
    "obj/lines": "three.js makes lines of the whole object, and drops its faces",
    "obj/statement-bevel": "three.js takes lod for l, makes lines of the whole object, and drops its faces",
    # PLY and STL
    "ply/*-tristrips*": "three.js reads no triangle strips",
    "field/ply-tristrips": "three.js reads no triangle strips",
    "ply/*-colours-*int": "three.js takes whole numbers of any type for 255 levels, or for 1",
    "ply/*-colours-of-255-ushort": "three.js takes 65535 for full light in ushort, also where no number is above 255",
    "ply/*-colours-of-capitals": "three.js knows the usual case of names alone",
    "ply/*-colours-*double": "three.js cannot draw colours in double precision",
    "ply/*-alpha": _OPACITY,
    "ply/*-alpha-float": _OPACITY,
    "ply/*-alpha-uchar": _OPACITY,
    "ply/*-uv-?": _PLY_TEXTURE,
    "ply/*-uv-texture_u": _PLY_TEXTURE,
    "ply/*-texcoord*": _PLY_TEXTURE,
    "ply/*-texnumber": _PLY_TEXTURE,
    "ply/*-texture-and-colours": _PLY_TEXTURE,
    "ply/*-concave": "three.js cuts polygons into fans, and drops those of more than four corners",
    "stl/binary-magics-of-meshlab": "three.js takes the object's colour where the top bit is set, as it is by MeshLab",
    "stl/binary-magics-zeros": "three.js takes attributes of 0 for black, also where all are",
    "stl/squares-*": "three.js reads three corners of a facet",
    "stl/text-no-solid": "three.js takes what does not begin with solid for binary",
    "stl/no-endsolid-*": "three.js reads nothing without endsolid",
    "field/stl-no-endsolid": "three.js reads nothing without endsolid",
    "stl/text-upper": "three.js reads lower-case words alone",
    "stl/text-name-facet": "three.js takes words of the name for statements",
    "stl/text-commas*": "three.js wants blanks between numbers",
    "stl/text-end-apart": "three.js wants endloop and endfacet in one word",
    "stl/binary-solid-trailing": "three.js takes it for text",
    # real models
    "furniture/blend-swap-cc-0-technicaltable1": _FINDING,
    "furniture/scopia-bar-chair": _MISSING,
    "furniture/scopia-coconuttreebended": _THIN,
    "furniture/scopia-peachblossom": _THIN,
    "furniture/scopia-beige-sofa": _MISSING,
    "furniture/scopia-calla-lily-with-roses": "it names a file elsewhere, which captionless refuses to open",
    "furniture/scopia-kids-shelves": "its library is missing: three.js reads nothing, captionless tells",
    "furniture/kator-legaz-exterior-door-03": "its panes lie twice in one place, of which peeling sees one",
}
"""Patterns of names of what three.js does not read rightly, or what the format leaves open, and why. What is right
there is held by the tests in tests/precompute/meshes, case by case."""
