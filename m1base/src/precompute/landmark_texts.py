"""Landmarks: L texts per category, each describing the structure of one hypothetical object of it.

They come from the grammar of the demo world, a JSONL file, or a language model. A model's texts are
filtered, and more are requested until L are clean, see `landmark_writer`; those of a file are counted
against the same filter and kept unless `drop` is set, since published sets contain such texts as well
and should reproduce the published figures.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from captionless import demo_world
from captionless.errors import DataError, SpecError, did_you_mean
from captionless.precompute.landmark_filter import named_words
from captionless.store import objects


@dataclass(frozen=True)
class LandmarkSet:
    """The landmarks of a category.

    Attributes:
        texts: the L texts, in the order of the descriptors' last axis.
        flagged: reason ("colour", "material", "texture", "duplicate", from a model also "length") -> how
            many texts have it: of those kept, or, where such texts are turned away (file with
            `drop=True`, language model), of all that were considered. A text may have several.
        cost: what a language model charged for them, in the currency of the prices.
    """

    category: str
    texts: tuple[str, ...]
    flagged: Mapping[str, int] = field(default_factory=dict)
    cost: float = 0.0


def same_text(text: str) -> str:
    """A normal form: equal for texts that differ only in case, punctuation, spacing or a leading article."""
    words = "".join(c if c.isalnum() else " " for c in text.casefold()).split()
    return " ".join(words[1:] if words[:1] in (["a"], ["an"], ["the"]) else words)


def flags(text: str, known: Container[str]) -> list[str]:
    """Why `text` is rejected as a landmark: the kinds of appearance it names, "duplicate" if `same_text` is `known`."""
    reasons: list[str] = list(dict.fromkeys(named.kind for named in named_words(text)))
    return [*reasons, "duplicate"] if same_text(text) in known else reasons


def count_flags(texts: Iterable[str]) -> dict[str, int]:
    """Reason -> how many of `texts` have it, see `flags`."""
    known: set[str] = set()
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(flags(text, known))
        known.add(same_text(text))
    return dict(sorted(counts.items()))


def from_grammar(category: str, count: int, seed: int = 0) -> LandmarkSet:
    """`count` sentences of the demo world's grammar; SpecError if it has fewer."""
    texts = demo_world.sentences(category, count, seed)
    return LandmarkSet(category, tuple(texts), count_flags(texts))


def from_file(url: str, categories: Sequence[str], count: int, drop: bool = False) -> dict[str, LandmarkSet]:
    """The first `count` texts of each category of a landmark file.

    Args:
        url: JSONL with `category` and `text`; other fields are ignored.
        categories: the dataset's; matched without regard to case, underscores and hyphens.
        drop: leave out duplicates and texts that name a colour, material or texture.

    Raises:
        SpecError: no such file, categories without texts, or with fewer than `count`; all are named.
        DataError: a line that is not such an object.
    """
    held: dict[str, list[str]] = {}
    for category, texts in read_file(url).items():
        held.setdefault(_plain(category), []).extend(texts)
    missing = [category for category in categories if _plain(category) not in held]
    if missing:
        names = ", ".join(f'"{category}"{_nearest(category, held)}' for category in missing)
        known = ", ".join(f"{category} ({len(texts)})" for category, texts in sorted(held.items()))
        raise SpecError(f"{url}: no landmarks for category {names}; the file has {known}")
    select = _clean if drop else list
    chosen = {category: select(held[_plain(category)]) for category in categories}
    short = [f'"{category}" has {len(texts)}' for category, texts in chosen.items() if len(texts) < count]
    if short:
        kept = " clean texts" if drop else " texts"
        raise SpecError(
            f"{url}: {', '.join(short)}{kept}; expected at least {count}: add texts or lower landmarks.count"
        )
    return {
        category: LandmarkSet(
            category, tuple(texts[:count]), count_flags(held[_plain(category)] if drop else texts[:count])
        )
        for category, texts in chosen.items()
    }


def read_file(url: str) -> dict[str, list[str]]:
    """Category -> texts of a JSONL landmark file, in the order of its lines; errors as in `from_file`."""
    try:
        content = objects.read_bytes(url).decode()
    except FileNotFoundError:
        raise SpecError(f"{url}: no such file; check landmarks.file") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{url}: not UTF-8 text ({error}); expected JSONL") from None
    texts: dict[str, list[str]] = {}
    for number, line in enumerate(content.split("\n"), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            category, text = entry["category"], entry["text"]
        except (ValueError, KeyError, TypeError):
            raise DataError(f'{url}: line {number} is not a JSON object with "category" and "text"') from None
        if not (isinstance(category, str) and isinstance(text, str) and category.strip() and text.strip()):
            raise DataError(f'{url}: line {number}: "category" and "text" must be non-empty strings')
        texts.setdefault(category.strip(), []).append(" ".join(text.split()))
    if not texts:
        raise DataError(f"{url}: the file has no landmarks; expected one JSON object per line")
    return texts


def _plain(category: str) -> str:
    return " ".join(category.casefold().replace("_", " ").replace("-", " ").split())


def _nearest(category: str, held: Iterable[str]) -> str:
    advice = did_you_mean(_plain(category), held).removeprefix("; ")
    return f" ({advice})" if advice else ""


def _clean(texts: Sequence[str]) -> list[str]:
    kept: dict[str, str] = {}
    for text in texts:
        if not flags(text, kept):
            kept[same_text(text)] = text
    return list(kept.values())
