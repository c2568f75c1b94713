"""ShapeNet's categories in words: its folders are called by the offsets of WordNet's noun synsets (`02691156`).

The table has the categories of ShapeNetCore, v1 and v2, each by the word that CLIP knows best. Other sets of the family
bring a `taxonomy.json` that names theirs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence

from captionless.clip.class_names import as_read
from captionless.store import objects

TAXONOMY = "taxonomy.json"
_LARGEST = 64 << 20  # bytes; ShapeNet's own has one megabyte

SYNSET = re.compile(r"n?(\d{8})")
"""A folder's name that is a synset's offset, as ShapeNet or as ImageNet writes it."""

NAMES = {
    "02691156": "airplane", "02747177": "trash bin", "02773838": "bag", "02801938": "basket", "02808440": "bathtub",
    "02818832": "bed", "02828884": "bench", "02834778": "bicycle", "02843684": "birdhouse", "02858304": "boat",
    "02871439": "bookshelf", "02876657": "bottle", "02880940": "bowl", "02924116": "bus", "02933112": "cabinet",
    "02942699": "camera", "02946921": "can", "02954340": "cap", "02958343": "car", "02992529": "cellphone",
    "03001627": "chair", "03046257": "clock", "03085013": "keyboard", "03207941": "dishwasher", "03211117": "display",
    "03261776": "earphone", "03325088": "faucet", "03337140": "file cabinet", "03467517": "guitar",
    "03513137": "helmet", "03593526": "jar", "03624134": "knife", "03636649": "lamp", "03642806": "laptop",
    "03691459": "loudspeaker", "03710193": "mailbox", "03759954": "microphone", "03761084": "microwave",
    "03790512": "motorcycle", "03797390": "mug", "03928116": "piano", "03938244": "pillow", "03948459": "pistol",
    "03991062": "flowerpot", "04004475": "printer", "04074963": "remote control", "04090263": "rifle",
    "04099429": "rocket", "04225987": "skateboard", "04256520": "sofa", "04330267": "stove", "04379243": "table",
    "04401088": "telephone", "04460130": "tower", "04468005": "train", "04530566": "watercraft",
    "04554684": "washing machine",
}  # fmt: skip


def named(categories: Collection[str], folder: str) -> dict[str, str]:
    """The names, in words, of those categories that are synsets and known, by the table or by the `taxonomy.json` in
    the folder at this URL. Each has the first of its names that no other category has; one without stays unnamed."""
    offsets = {category: found[1] for category in sorted(categories) if (found := SYNSET.fullmatch(category))}
    known: dict[str, Sequence[str]] = {offset: (name,) for offset, name in NAMES.items()}
    if set(offsets.values()) - known.keys():
        known |= taxonomy(objects.join(folder, TAXONOMY))
    taken = {as_read(category) for category in categories if category not in offsets}
    chosen: dict[str, str] = {}
    for category, offset in offsets.items():
        name = next((name for name in known.get(offset, ()) if as_read(name) not in taken), None)
        if name is not None:
            chosen[category] = name
            taken.add(as_read(name))
    return chosen


def taxonomy(url: str) -> Mapping[str, Sequence[str]]:
    """The names of each synset in a `taxonomy.json`; none if there is no such file, or another one."""
    size = objects.size(url)
    if size is None or size > _LARGEST:
        return {}
    try:
        entries = json.loads(objects.read_bytes(url))
        found = {str(each["synsetId"]): str(each["name"]).split(",") for each in entries}
    except (ValueError, TypeError, KeyError, RecursionError):
        return {}
    named = {offset: [name.strip() for name in names if name.strip()] for offset, names in found.items()}
    return {offset: names for offset, names in named.items() if names}
