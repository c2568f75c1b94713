"""What `captionless data broken` prints: objects that could not be read, and what others lack."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from captionless.runtime.encoding import json_text
from captionless.stages.remedies import Broken, Lossy, loss_remedy, remedy


@dataclass
class _Kinds:
    """Objects by kind, all of them counted and some named, each with what to say of it."""

    examples: int
    counts: dict[str, int] = field(default_factory=dict)
    named: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    def add(self, kind: str, key: str, text: str) -> None:
        self.counts[kind] = self.counts.get(kind, 0) + 1
        named = self.named.setdefault(kind, [])
        if len(named) < self.examples:
            named.append((key, text))

    def show(self, what_to_do: Callable[[str], str]) -> None:
        """The kinds, the most frequent first, each with `what_to_do` and its examples."""
        for kind in sorted(self.named, key=lambda name: (-self.counts[name], name)):
            print(f"\n{kind} ({self.counts[kind]}): {what_to_do(kind)}")
            for key, text in self.named[kind]:
                print(f"  {key}: {text}")
            if self.counts[kind] > len(self.named[kind]):
                print(f"  and {self.counts[kind] - len(self.named[kind])} more; --json lists all")


def show(found: Iterable[Broken], examples: int, lossy: Iterable[Lossy] = ()) -> None:
    """The objects by kind of failure or loss, the most frequent first, `examples` of each by name."""
    broken, texts = _Kinds(examples), dict[str, str]()
    for each in found:
        what = remedy(each.reason)
        texts[what.kind] = what.text
        broken.add(what.kind, each.key, each.reason)
    total = sum(broken.counts.values())
    print(f"{total} broken object{'' if total == 1 else 's'}")
    broken.show(texts.__getitem__)
    lost, count = _Kinds(examples), 0
    for of_object in lossy:
        count += 1
        for kind in dict.fromkeys(loss.kind for loss in of_object.losses):
            details = [loss.detail for loss in of_object.losses if loss.kind == kind and loss.detail]
            lost.add(kind, of_object.key, "; ".join(details))
    if count:
        print(f"\n{count} object{' lacks' if count == 1 else 's lack'} something that the files have")
        lost.show(loss_remedy)


def show_json(found: Iterable[Broken], lossy: Iterable[Lossy] = ()) -> None:
    """All objects, each with key, reason, kind and remedy; and all losses, each with key, kind, detail and remedy."""
    listed = []
    for each in found:
        what = remedy(each.reason)
        listed.append({"key": each.key, "reason": each.reason, "kind": what.kind, "remedy": what.text})
    lost = [
        {"key": each.key, "kind": loss.kind, "detail": loss.detail, "remedy": loss_remedy(loss.kind)}
        for each in lossy
        for loss in each.losses
    ]
    print(json_text({"count": len(listed), "broken": listed, "losses": lost}))
