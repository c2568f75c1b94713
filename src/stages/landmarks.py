"""landmarks: L texts per category and their CLIP embeddings.

    landmarks/<category>.jsonl, <category>.npy    see store.landmark_store
    landmarks/drafts/<category>.json              origin llm: texts as they are accepted

The texts come from the demo world's grammar, a file or a language model. Texts from a
model are stored as they arrive, so that nothing paid for is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from captionless import demo_world
from captionless.clip import openclip
from captionless.precompute import landmark_texts
from captionless.precompute.landmark_texts import LandmarkSet
from captionless.precompute.sources import open_source
from captionless.spec.alignment import AlignmentSpec
from captionless.spec.landmarks import LandmarkOrigin
from captionless.spec.plan import LANDMARKS
from captionless.stages.clip_model import clip_identity, load_clip
from captionless.stages.work_items import Outcome, Shard, WorkItem, WorkOutput, work
from captionless.store import objects
from captionless.store.landmark_store import file_stem, write_landmarks
from captionless.store.ledger import Ledger

if TYPE_CHECKING:
    from captionless.precompute.llm import Chat

VERSION = 1


def run(spec: AlignmentSpec, shard: Shard = Shard()) -> Outcome:
    """Gets and embeds the landmarks of this worker's categories."""
    url = objects.join(spec.root, LANDMARKS)
    objects.check(url)
    categories = sorted({r.category for r in open_source(spec.data).refs()})
    stage = _Landmarks(spec, url, categories)
    items = [stage.work_item(c) for c in categories]
    return work("landmarks", "text", Ledger(url), items, shard.of(items))


class _Landmarks:
    def __init__(self, spec: AlignmentSpec, url: str, categories: list[str]):
        self.spec, self.own, self.url, self.categories = spec, spec.landmarks, url, categories

    def work_item(self, category: str) -> WorkItem:
        name = file_stem(category)
        fingerprint = objects.digest(
            VERSION, category, self.own.count, clip_identity(self.spec.clip), self._origin(category)
        )

        def make(advance: Callable[[int], None]) -> WorkOutput:
            texts = self._texts(category, advance)
            files, digest = write_landmarks(self.url, category, texts.texts, self.clip.texts(texts.texts))
            facts = {
                "category": category, "digest": digest, "count": len(texts.texts),
                "flagged": dict(texts.flagged), "cost": texts.cost,
            }  # fmt: skip
            return WorkOutput(dict.fromkeys(files, ""), facts)

        return WorkItem(name, fingerprint, self.own.count, make)

    def _origin(self, category: str) -> list[Any]:
        """What a category's texts depend on."""
        match self.own.origin:
            case LandmarkOrigin.grammar:
                return ["grammar", demo_world.VERSION]
            case LandmarkOrigin.file:
                return ["file", self._of_file[category].texts]
            case LandmarkOrigin.llm:
                return ["llm", self.own.endpoint, self.own.model, self.own.temperature, self._hints.get(category, "")]

    def _texts(self, category: str, advance: Callable[[int], None]) -> LandmarkSet:
        match self.own.origin:
            case LandmarkOrigin.grammar:
                return landmark_texts.from_grammar(category, self.own.count)
            case LandmarkOrigin.file:
                return self._of_file[category]
            case LandmarkOrigin.llm:
                from captionless.precompute.landmark_writer import from_llm  # openai takes seconds to import

                draft = objects.join(self.url, "drafts", f"{file_stem(category)}.json")
                reported = 0

                def on_round(accepted: int) -> None:
                    nonlocal reported
                    advance(min(accepted, self.own.count) - reported)
                    reported = min(accepted, self.own.count)

                hint = self._hints.get(category, "")
                return from_llm(self._chat, category, self.own.count, draft, hint, self.own.texts_per_request, on_round)

    @cached_property
    def clip(self) -> openclip.Clip:
        return load_clip(self.spec.clip)

    @cached_property
    def _of_file(self) -> dict[str, LandmarkSet]:
        return landmark_texts.from_file(self.own.file, self.categories, self.own.count, self.own.filter == "drop")

    @cached_property
    def _chat(self) -> Chat:
        from captionless.precompute.llm import Budget, Chat, Endpoint

        own, ledger = self.own, Ledger(self.url)
        records = (ledger.record(file_stem(c)) for c in self.categories)
        spent = sum(float(r.facts["cost"]) for r in records if r is not None)
        endpoint = Endpoint(own.endpoint, own.model, own.api_key_env, own.temperature, own.timeout_seconds)
        return Chat(endpoint, Budget(own.max_cost, own.input_price, own.output_price, spent))

    @cached_property
    def _hints(self) -> dict[str, str]:
        pairs = (h.partition(":") for h in self.own.hints)
        return {category.strip(): text.strip() for category, _, text in pairs}
