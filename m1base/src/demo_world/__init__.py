"""The embedded demo world: parametric objects that know their structure in words.

Sixteen categories, told apart by shape alone; each has named attributes that change its
geometry visibly, proportions drawn per object, and colours and textures that depend on
neither. The grammar that builds an object also says what it is, so that landmarks need no
language model, structural likeness has a ground truth (`attribute_distance`), and the
test split can hold out combinations that training never shows (`is_held_out`).
"""

from captionless.demo_world.objects import (
    CLASSES,
    VERSION,
    WorldObject,
    attribute_distance,
    attributes,
    build,
    combinations,
    describe,
    draw,
    is_held_out,
    sentences,
)

__all__ = [
    "CLASSES",
    "VERSION",
    "WorldObject",
    "attribute_distance",
    "attributes",
    "build",
    "combinations",
    "describe",
    "draw",
    "is_held_out",
    "sentences",
]
