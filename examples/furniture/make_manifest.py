"""Writes a manifest of Sweet Home 3D's furniture: 820 textured OBJ models with names, makers and licences.

    python examples/furniture/make_manifest.py OUT [--furniture DIR]

The models are Debian's `sweethome3d-furniture`: .sh3f files, which are zips of OBJ
files, their textures and a catalogue. OUT receives the unpacked models and
`manifest.jsonl`, one line per object (key, category, mesh, source, licence, split), for
use in a spec as `data: {source: {kind: manifest, url: OUT/manifest.jsonl}}`.

The catalogue's own categories are mostly rooms, so classes are derived from the models'
names: the noun table next to this file (classes.csv) maps a noun to its class, and the
last noun of a name decides, as in an English compound (a "desk lamp" is a lamp); anything
after "with" or "on" is ignored. Excluded are names without a known noun, names whose noun
has no class in the table ("table fan"), and classes of fewer than eight objects; all of
these are counted and named.

Half of the objects, chosen by a hash of their catalogue id, are the training split, which
the demo CLIP model may have seen. It has not seen the others, which are the test split.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "sweethome3d-furniture"
INSTALLED = Path("/usr/share/sweethome3d/furniture")
CLASSES = Path(__file__).with_name("classes.csv")
MIN_OBJECTS = 8
_CATALOGUE = "PluginFurnitureCatalog.properties"
_ASIDE = re.compile(r"\b(with|on|for|under)\b")


@dataclass(frozen=True)
class Model:
    """An entry of a catalogue. path: of its OBJ file inside the zip."""

    key: str
    name: str
    path: str
    source: str
    licence: str
    archive: Path


def properties(text: str) -> dict[str, str]:
    """A Java properties file as a dict; its escapes (\\u00e9) resolved."""
    pairs: dict[str, str] = {}
    for line in re.sub(r"\\\r?\n\s*", "", text).splitlines():
        line = line.strip()
        if line and line[0] not in "#!" and "=" in line:
            key, value = line.split("=", 1)
            pairs[key.strip()] = re.sub(r"\\u([0-9a-fA-F]{4})", lambda m: chr(int(m[1], 16)), value.strip())
    return pairs


def models(archive: Path) -> list[Model]:
    """What the catalogue of one .sh3f file lists."""
    with zipfile.ZipFile(archive) as file:
        entries = properties(file.read(_CATALOGUE).decode("latin-1"))
    catalogue = entries.get("name", archive.stem)
    licence = " ".join(entries.get("license", "see the catalogue").split())
    found = []
    for field, value in entries.items():
        if field.startswith("model#"):
            number = field.removeprefix("model#")
            identity = entries.get(f"id#{number}", value)
            found.append(
                Model(
                    # A key names files of shards: letters, digits and dashes only.
                    key=re.sub(r"[^a-z0-9]+", "-", identity.lower()).strip("-"),
                    name=entries[f"name#{number}"],
                    path=value.lstrip("/"),
                    source=f"Sweet Home 3D {catalogue}, by {entries.get(f'creator#{number}', 'unknown')}",
                    licence=licence,
                    archive=archive,
                )
            )
    return found


def nouns(table: Path = CLASSES) -> dict[str, str]:
    """Noun -> category, from the committed table."""
    with table.open(newline="") as file:
        return {row["noun"]: row["category"] for row in csv.DictReader(file)}


def classify(name: str, table: dict[str, str]) -> str | None:
    """The category of a model's name, or None: of the nouns that end last in it, the longest decides."""
    text = _ASIDE.split(re.sub(r"[^a-z]+", " ", name.lower()))[0].strip()
    ends = [
        (match.end(), len(noun), category)
        for noun, category in table.items()
        for match in re.finditer(rf"\b{re.escape(noun)}\b", text)
    ]
    return max(ends)[2] or None if ends else None


def split_of(key: str) -> str:
    """The half of an object, by a hash of its catalogue id."""
    return "train" if hashlib.sha256(f"furniture {key}".encode()).digest()[0] % 2 else "test"


def located(folder: Path | None) -> list[Path]:
    """The .sh3f files; Debian's package is installed where they are missing and we may."""
    place = folder or INSTALLED
    archives = sorted(place.glob("*.sh3f"))
    if not archives and folder is None and os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"installing {PACKAGE} with apt-get", file=sys.stderr)
        for command in (["update"], ["install", "-y", "--no-install-recommends", PACKAGE]):
            subprocess.run(["apt-get", "-q", *command], check=False, stdout=subprocess.DEVNULL)
        archives = sorted(place.glob("*.sh3f"))
    if not archives:
        raise SystemExit(
            f"no .sh3f files in {place}: as root, apt-get install --no-install-recommends {PACKAGE}, "
            "or name a folder that holds them with --furniture"
        )
    return archives


def unpack(model: Model, archive: zipfile.ZipFile, out: Path) -> str:
    """Extracts the model's folder (OBJ, materials, textures); returns the OBJ's path relative to `out`."""
    folder = os.path.dirname(model.path)
    place = Path("models") / model.key
    for name in archive.namelist():
        # A model without a folder of its own is one file.
        if ((folder and name.startswith(folder + "/")) or name == model.path) and not name.endswith("/"):
            target = out / place / os.path.basename(name)
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.read(name))
    return str(place / os.path.basename(model.path))


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a manifest of Sweet Home 3D's furniture.")
    parser.add_argument("out", type=Path, help="folder to write to")
    parser.add_argument("--furniture", type=Path, help=f"folder of .sh3f files (default {INSTALLED})")
    arguments = parser.parse_args()
    table = nouns()
    catalogue = [model for archive in located(arguments.furniture) for model in models(archive)]
    classes = {model.key: classify(model.name, table) for model in catalogue}
    sizes = Counter(category for category in classes.values() if category)
    unnamed = [m.name for m in catalogue if classes[m.key] is None]
    small = {category: n for category, n in sorted(sizes.items()) if n < MIN_OBJECTS}
    kept = sorted((m for m in catalogue if sizes[classes[m.key] or ""] >= MIN_OBJECTS), key=lambda m: m.key)

    arguments.out.mkdir(parents=True, exist_ok=True)
    rows = []
    archives = {path: zipfile.ZipFile(path) for path in {m.archive for m in kept}}
    for model in kept:
        row = {
            "key": model.key,
            "category": classes[model.key],
            "mesh": unpack(model, archives[model.archive], arguments.out),
            "source": model.source,
            "licence": model.licence,
            "split": split_of(model.key),
            "text": model.name,
        }
        rows.append(json.dumps(row, ensure_ascii=False))
    (arguments.out / "manifest.jsonl").write_text("\n".join(rows) + "\n")

    kinds = sorted({str(classes[m.key]) for m in kept})
    print(f"{len(kept)} of {len(catalogue)} models in {len(kinds)} classes -> {arguments.out / 'manifest.jsonl'}")
    for kind in kinds:
        halves = Counter(split_of(m.key) for m in kept if classes[m.key] == kind)
        print(f"  {kind}: {halves['train']} train, {halves['test']} test")
    print(
        f"excluded, classes of fewer than {MIN_OBJECTS}: {sum(small.values())} models"
        f" ({', '.join(f'{c} {n}' for c, n in small.items())})"
    )
    print(f"excluded, no known noun in the name: {len(unnamed)} models ({', '.join(sorted(set(unnamed)))})")


if __name__ == "__main__":
    main()
