"""MTL: the materials that an OBJ file names (Wavefront, "Object Files", appendix B1 and the MTL specification)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from captionless.errors import DataError
from captionless.precompute.meshes.decimals import number_of
from captionless.precompute.meshes.lexing import name_of, plain, shown

Color = tuple[float, float, float]

_NUMBERS = {"-s": 3, "-o": 3, "-t": 3, "-mm": 2, "-bm": 1, "-boost": 1, "-texres": 1}
"""Options of a map, and the numbers that may follow: the first three have one to three, the others all."""
_WORDS = ("-blendu", "-blendv", "-cc", "-clamp", "-imfchan", "-type")
"""Options that a word follows."""
_TOLD_UNLESS = {"-blendu": "on", "-blendv": "on", "-cc": "off"}
_MAPS = {"map_kd": "diffuse", "map_d": "opacity", "map_opacity": "opacity", "map_ke": "emission"}


@dataclass(frozen=True)
class Map:
    """A picture: its name as it is written, and how it lies, at uv * scale + offset. ignored: other options."""

    name: str
    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)
    clamp: bool = False
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True)
class Material:
    """What of a material is seen. Colours are as written, sRGB in 0..1; None where it has none.

    opacity: `d`, or one less `Tr` where there is no `d`; but a `Tr` of 1 alone says nothing, since MeshLab, 3ds Max and
    others meant opaque by it.
    """

    name: str
    diffuse: Color | None = None
    emission: Color | None = None
    opacity: float = 1.0
    maps: dict[str, Map] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()


def materials(data: bytes, what: str) -> list[Material]:
    """The materials of a library in their order; of those with one name the last counts, in the place of the first.

    what: names the library in errors. DataError, with the line's number, when a colour or an opacity is no number.
    """
    found: dict[str, _Draft] = {}
    draft = _Draft()  # statements before the first material are of none
    for number, line in _statements(plain(data)):
        keyword, _, rest = line.replace(b"\t", b" ").partition(b" ")
        word = keyword.lower().decode("latin-1")
        if word == "newmtl":
            name = name_of(rest)
            draft = found[name] = _Draft()
        elif rest.strip() or word in ("kd", "ke", "d", "tr"):
            try:
                draft.take(word, name_of(rest))
            except ValueError as error:
                raise DataError(f"{what}, line {number}: {error}, not {shown(rest.strip())}") from None
    return [draft.material(name) for name, draft in found.items()]


def _statements(text: bytes) -> Iterator[tuple[int, bytes]]:
    """The lines, each with its number. A backslash after a blank continues one; others end the names of folders."""
    lines = iter(enumerate(text.splitlines(), 1))
    for number, line in lines:
        while line.endswith((b" \\", b"\t\\")):
            line = line[:-1] + next(lines, (0, b""))[1]
        yield number, line.strip()


class _Draft:
    """A material whose statements are being read."""

    def __init__(self) -> None:
        self._colors: dict[str, Color | None] = {}
        self._opacity: dict[str, float] = {}
        self._maps: dict[str, Map] = {}
        self._ignored: dict[str, None] = {}

    def take(self, word: str, rest: str) -> None:
        """ValueError, which says what was expected, when a statement is not as it should be."""
        if word in ("kd", "ke"):
            self._colors[word] = self._color(word, rest)
        elif word in ("d", "tr"):
            words = [w for w in rest.split() if w != "-halo"]
            self._opacity[word] = min(max(_number(words[0] if words else "", f"{word} expects a number"), 0.0), 1.0)
        elif word in _MAPS:
            self._maps[_MAPS[word]] = _map(rest)

    def _color(self, word: str, rest: str) -> Color | None:
        words = rest.split()
        expected = f"{word.capitalize()} expects three numbers"
        if words and words[0].lower() in ("spectral", "xyz"):
            self._ignored[f"{word.capitalize()} {words[0]}"] = None
            return None
        values = [_number(w, expected) for w in words[:3]]
        if len(values) == 1:  # as the format has it: green and blue are as red
            values *= 3
        if len(values) != 3:
            raise ValueError(expected)
        red, green, blue = (min(max(v, 0.0), 1.0) for v in values)
        return red, green, blue

    def material(self, name: str) -> Material:
        opacity = self._opacity.get("d", 1.0 - self._opacity.get("tr", 0.0))
        if opacity == 0.0 and "d" not in self._opacity:
            opacity = 1.0
            self._ignored["Tr 1, by which nothing would be seen,"] = None
        return Material(name, self._colors.get("kd"), self._colors.get("ke"), opacity, self._maps, tuple(self._ignored))


def _number(word: str, expected: str) -> float:
    try:
        value = number_of(word)
    except ValueError:
        raise ValueError(expected) from None
    if value != value:
        raise ValueError(expected)
    return value


def _map(rest: str) -> Map:
    """A map's options and its name, which is all that follows them."""
    scale, offset, clamp, ignored = [1.0, 1.0], [0.0, 0.0], False, []
    while True:
        option, _, after = rest.partition(" ")
        option, after = option.lower(), after.lstrip()
        if option in _WORDS:
            word, _, left = after.partition(" ")
            if option == "-clamp":
                clamp = word.lower() == "on"
            elif word.lower() != _TOLD_UNLESS.get(option, word.lower()):
                ignored.append(f"{option} {word}")
        elif option in _NUMBERS:
            values, left = _leading(after, _NUMBERS[option])
            if option in ("-s", "-o"):
                for i, value in enumerate(values[:2]):
                    (scale if option == "-s" else offset)[i] = value
            elif (option == "-mm" and values != [0.0, 1.0]) or (option == "-t" and any(values)):
                ignored.append(" ".join([option, *(f"{v:g}" for v in values)]))
        else:
            break
        if not left.strip():
            break  # a name like an option
        rest = left.lstrip()
    return Map(rest.strip(), (scale[0], scale[1]), (offset[0], offset[1]), clamp, tuple(ignored))


def _leading(text: str, most: int) -> tuple[list[float], str]:
    """Up to so many numbers that a text begins with, and what follows."""
    values: list[float] = []
    while len(values) < most:
        word, _, after = text.partition(" ")
        try:
            value = number_of(word)
        except ValueError:
            break
        if not abs(value) < float("inf"):
            raise ValueError("an option of a map expects finite numbers")
        values.append(value)
        text = after.lstrip()
    return values, text
