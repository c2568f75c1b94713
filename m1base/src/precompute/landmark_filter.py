"""Finds words that name a colour, a material or a texture, which landmark texts must not contain.

Landmarks must describe structure alone (arXiv 2406.02202): with "red" or "wooden" in a text, objects of different
structure would count as similar. Whole words are matched, and hyphens split words ("glass-topped" names glass);
phrases in which such a word denotes a thing or a kind ("wine glass", "paper tray") are removed first.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple, TypeAlias

Kind: TypeAlias = Literal["colour", "material", "texture"]


class Named(NamedTuple):
    kind: Kind
    word: str


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


COLOURS = _words(
    """
    amber azure beige black blackened blonde blue bluish brown brownish burgundy charcoal color colored colorful colors
    colour coloured colourful colours crimson cyan ebony fuchsia gold golden gray grayish green greenish grey greyish
    hued ivory khaki lilac magenta maroon mauve monochrome multicolor multicolored multicolour multicoloured orange
    pink pinkish purple purplish red reddish scarlet sepia silver silvery tan taupe teal turquoise vermilion violet
    white whitewashed whitish yellow yellowish
    """
)

MATERIALS = _words(
    """
    acrylic alloy aluminium aluminum bamboo birch brass brick bronze burlap canvas cardboard cashmere cedar cement
    ceramic chenille clay cloth concrete copper corduroy cork cotton crystal denim earthenware enamel fabric faux
    felt fiberglass fibreglass flannel foam fur glass granite hardwood hemp iron jute lacquer laminate latex leather
    leatherette linen linoleum mahogany maple marble melamine metal metallic metals microfiber microfibre nylon
    oak paper pewter pine plaster plastic plastics plexiglass plush plywood polycarbonate polyester polypropylene
    polystyrene polyurethane porcelain pvc quartz rattan resin rosewood rubber rubberised rubberized satin seagrass
    silicone silk sisal slate softwood stainless steel stone stoneware styrofoam suede teak terracotta terrazzo textile
    thermoplastic timber tin titanium tungsten tweed velour velvet vinyl walnut wicker wood wooden woods wool woolen
    woollen wrought zinc
    """
)

TEXTURES = _words(
    """
    anodised anodized burnished camouflage checkered chequered chrome chromed distressed embossed enameled
    enamelled floral frosted fuzzy galvanised galvanized gilded gilt glossy grained iridescent lacquered laminated
    marbled matte metallised metallized mottled opaque paisley painted patina plaid polished rusted rusty
    sandblasted satiny shiny silky speckled stained striped tarnished texture textured textures translucent
    transparent varnished veined velvety weathered
    """
)

_FALSE_FRIENDS = re.compile(
    r"""\b(?:
      (?:wine|magnifying|looking|spy|field|opera|shot|cocktail|drinking|champagne|measuring|martini|pint|beer|sherry)
          [ -]glass
    | liquid[ -]crystal | quartz[ -](?:clock|movement|watch|mechanism)
    | (?:clothes|steam|waffle|soldering|curling|branding|tyre|tire|climbing)[ -]iron | iron[ -]on
    | (?:biscuit|cookie|cake|baking|muffin|tea|loaf|sardine)[ -]tin | tin[ -](?:opener|can|whistle)
    | paper[ -](?:trays?|feeds?|feeders?|rolls?|towels?|holders?|jams?|clips?|cutters?|slots?|paths?|cassettes?
          |dispensers?|shredders?|sizes?|sheets?|guides?|input|output|handling|capacity|loading|napkins?|bail|support)
    | (?:toilet|printer|printing|photo|continuous|roll|sheet)[ -]paper
    | wood[ -](?:burning|fired|stoves?|burners?|chipper) | (?:rolling|stepping|curling|grinding)[ -]stones?
    | stone[ -](?:fruit|age) | brick[ -]oven | toy[ -]brick | (?:heavy|death)[ -]metal | metal[ -]detectors?
    | steel[ -](?:drums?|guitars?|pan) | (?:lap|pedal)[ -]steel | brass[ -](?:instruments?|section|band|knuckles)
    | cement[ -](?:mixer|truck) | concrete[ -](?:mixer|truck|example) | cotton[ -](?:swabs?|buds?|candy|gin|balls?)
    | felt[ -]tips? | foam[ -]roller | rubber[ -](?:bands?|ducks?) | clay[ -](?:pigeons?|court) | cork[ -]?screw
    | pine[ -](?:cones?|apples?) | (?:table|dish|wash|face)[ -]cloths? | blank[ -]canvas
    | gold[ -]standard | golden[ -](?:ratio|section|rectangle|spiral|hour|gate|age) | silver[ -](?:screen|service)
    | black[ -](?:box|holes?|hawk) | white[ -](?:noise|goods) | red[ -](?:carpet|cross) | green[ -]?(?:screen|house)
    | infra[ -]red | orange[ -](?:juice|squeezer|press|slices?|peel|juicer) | charcoal[ -](?:grills?|drawing)
    | green[ -](?:technology|energy|power) | (?:red|white)(?:[ ]and[ ](?:red|white))?[ ]wines?
    | tin[ ](?:with|that|for|of|designed|used) | (?:shooting|folding)[ -]iron | iron[ -]sights?
    | felt[ ]recoil | brick[ -]shaped | floral[ -](?:arrangements?|displays?|presentations?|foam)
    | distressed[ ](?:vessels?|ships?|boats?)
    )\b""",
    re.VERBOSE,
)

_WORD = re.compile(r"[^\W\d_]+")


def named_words(text: str) -> tuple[Named, ...]:
    """The colours, materials and textures that a text names, in the order of the text; empty when it is clean."""
    plain = _FALSE_FRIENDS.sub(" ", text.casefold())
    found = []
    for word in _WORD.findall(plain):
        if word in COLOURS:
            found.append(Named("colour", word))
        elif word in MATERIALS:
            found.append(Named("material", word))
        elif word in TEXTURES:
            found.append(Named("texture", word))
    return tuple(found)
