"""Landmark texts from a language model, requested until L of them are clean.

Each round requests the texts still missing, with the paper's rules (arXiv 2406.02202): one hypothetical
object per text, structural features and details only, a high variety of settings and types, no texture,
material or colour. The answer is filtered; rejected words and the latest texts go into the next prompt,
so that the model does not repeat either. Accepted texts are stored after every round, since they were
paid for: a run that is killed, or stopped by its budget, resumes from them.

A draft's name carries a digest of what its texts were asked with, `<category>-<16 digits>.json`: texts of another
model, temperature or hint are never taken for those of the present one, and are kept for the day when it is set again.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from captionless.errors import DataError, SpecError
from captionless.precompute.landmark_filter import named_words
from captionless.precompute.landmark_texts import LandmarkSet, flags, same_text
from captionless.precompute.llm import Chat
from captionless.runtime.redaction import redacted
from captionless.store import objects
from captionless.telemetry.progress import say

MAX_BARREN_ROUNDS = 5
"""Consecutive rounds without a new text after which the model is considered exhausted."""

WORDS = range(3, 51)
"""Words of an acceptable text: fewer are a name, more are not one object or exceed CLIP's 77 tokens."""

VERSION = 2
"""Of the questions and of what is accepted: increase it when texts so far are no longer what would be asked for."""

_SHOWN_TEXTS = 40
_SHOWN_WORDS = 20

_SYSTEM = "You describe the shape of objects, for a library of 3D models."


@dataclass
class _Draft:
    """A category's texts so far; stored as JSON at `url`."""

    url: str
    asked: Mapping[str, Any]
    texts: list[str] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)
    cost: float = 0.0

    @classmethod
    def load(cls, url: str, asked: Mapping[str, Any]) -> _Draft:
        """The stored draft of texts that were asked for in this way; an empty one if there is none."""
        try:
            stored: Any = objects.read_json(url)
            return cls(url, asked, list(stored["texts"]), Counter(stored["rejected"]), float(stored["cost"]))
        except FileNotFoundError:
            return cls(url, asked)
        except (KeyError, TypeError) as error:
            raise DataError(f"{url}: not a landmark draft (missing {error}); delete it and rerun") from error

    def save(self) -> None:
        objects.write_json(
            self.url,
            {
                "asked": self.asked,
                "texts": self.texts,
                "rejected": dict(self.rejected),
                "cost": self.cost,
            },
        )


def from_llm(
    chat: Chat,
    category: str,
    count: int,
    drafts: str,
    hint: str = "",
    texts_per_request: int = 32,
    on_round: Callable[[int], None] | None = None,
) -> LandmarkSet:
    """`count` clean, different texts of `category`.

    Args:
        chat: the endpoint, and the budget that all categories share. The cost of a resumed draft is
            charged to it first.
        drafts: the folder and beginning of the name of the file in which accepted texts are stored as they arrive;
            texts that were asked for in the same way and are found there are not requested again.
        hint: what the category is, for names that are not self-explanatory.
        on_round: called after each round with the number of accepted texts.

    Raises:
        SpecError: the budget is exhausted, the endpoint rejects the request, or the model has no new texts.
        Retryable: the endpoint gives no usable answer. Either way accepted texts are kept.
    """
    draft = _draft(chat, category, drafts, hint)
    chat.budget.spent += draft.cost
    known = {same_text(text) for text in draft.texts}
    words: dict[str, None] = {}  # rejected ones, latest last
    barren = 0
    while len(draft.texts) < count:
        if barren == MAX_BARREN_ROUNDS:
            raise SpecError(
                f'landmarks of category "{category}": {chat.endpoint.model} returned no new text in {barren} rounds '
                f"({len(draft.texts)} of {count} accepted; rejected: {_rejections(draft.rejected)}); "
                "lower landmarks.count, add a hint, or use another model"
            )
        spent = chat.budget.spent
        missing = min(texts_per_request, count - len(draft.texts))
        before = len(draft.texts)
        try:
            question = prompt(category, missing, hint, draft.texts[-_SHOWN_TEXTS:], list(words)[-_SHOWN_WORDS:])
            for text in chat.ask(_SYSTEM, question, parse_reply):
                reasons = flags(text, known)
                if len(text.split()) not in WORDS:
                    reasons.append("length")
                draft.rejected.update(reasons)
                for named in named_words(text):
                    words.pop(named.word, None)
                    words[named.word] = None
                if not reasons and len(draft.texts) < count:
                    draft.texts.append(text)
                    known.add(same_text(text))
        finally:
            draft.cost += chat.budget.spent - spent
            draft.save()
        barren = 0 if len(draft.texts) > before else barren + 1
        if on_round is not None:
            on_round(len(draft.texts))
    return LandmarkSet(category, tuple(draft.texts[:count]), dict(sorted(draft.rejected.items())), draft.cost)


def draft_url(drafts: str, asked: Mapping[str, Any]) -> str:
    """The file of the texts that were asked for in a certain way."""
    return f"{drafts}-{objects.digest(dict(asked))[:16]}.json"


def _draft(chat: Chat, category: str, drafts: str, hint: str) -> _Draft:
    """The draft to continue; those of the category that were asked for otherwise are named."""
    endpoint = chat.endpoint
    asked = {
        "version": VERSION,
        "endpoint": redacted(endpoint.url),
        "model": endpoint.model,
        "temperature": endpoint.temperature,
        "category": category,
        "hint": hint,
    }
    found = _Draft.load(draft_url(drafts, asked), asked)
    folder, _, name = drafts.rpartition("/")
    of_category = re.compile(re.escape(name) + r"(-[0-9a-f]{16})?\.json")
    others = [
        n for n in objects.list_names(folder) if of_category.fullmatch(n) and objects.join(folder, n) != found.url
    ]
    if others:
        say(f"landmarks {category}: not used, since asked for with other settings: {folder}/{{{', '.join(others)}}}")
    return found


def prompt(category: str, count: int, hint: str = "", taken: Sequence[str] = (), forbidden: Sequence[str] = ()) -> str:
    """The prompt for `count` texts. `taken` must not be repeated, `forbidden` words were rejected before."""
    lines = [
        f'Write {count} descriptions of different hypothetical objects of the category "{category}".',
        *([f"About the category: {hint}"] if hint else []),
        "Rules:",
        "- Each description is of one object, in one sentence of at most 30 words.",
        "- Describe structural features and details only: parts, their number, shape, proportions and arrangement.",
        "- High variety: cover as many settings and types of the category as you can.",
        "- Never mention texture, material or colour.",
        *([f"- Do not use these words: {', '.join(forbidden)}."] if forbidden else []),
        f"Answer with a JSON list of {count} strings and nothing else.",
    ]
    if taken:
        lines += ["", "These are written already; describe objects unlike them:", *(f"- {text}" for text in taken)]
    return "\n".join(lines)


_ITEM = re.compile(r"^[ \t]*(?:\(?\d+[ \t]*[.):]|[-*\u2022])[ \t]+(.*\S)", re.MULTILINE)


def parse_reply(reply: str) -> list[str]:
    """The texts of a reply: a JSON list, complete or truncated, or else numbered or bulleted lines.

    Raises:
        ValueError: the reply has neither.
    """
    texts = _json_strings(reply) or [item.group(1) for item in _ITEM.finditer(reply)]
    texts = [" ".join(text.strip().strip("\"'*`").split()) for text in texts]
    texts = [text for text in texts if text]
    if not texts:
        raise ValueError("the answer contains no list of texts")
    return texts


def _json_strings(reply: str) -> list[str]:
    """Strings of the reply's first JSON list; of a truncated list the complete items."""
    start = reply.find("[")
    if start < 0:
        return []
    decoder, at = json.JSONDecoder(strict=False), start + 1
    texts: list[str] = []
    while True:
        at += len(reply[at:]) - len(reply[at:].lstrip(" \t\r\n,"))
        try:
            item, at = decoder.raw_decode(reply, at)
        except ValueError:  # the closing bracket, or where the reply was cut off
            return texts
        if isinstance(item, dict):
            item = item.get("text") or item.get("description")
        if isinstance(item, str):
            texts.append(item)


def _rejections(rejected: Counter[str]) -> str:
    return ", ".join(f"{n} {reason}" for reason, n in rejected.most_common()) or "none"
