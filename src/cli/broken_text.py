"""What `captionless data broken` prints."""

from __future__ import annotations

import json
from collections.abc import Iterable

from captionless.stages.remedies import Broken, remedy


def show(found: Iterable[Broken], examples: int) -> None:
    """The objects by kind of failure, the most frequent first, `examples` of each by name."""
    kinds: dict[str, list[Broken]] = {}
    counts: dict[str, int] = {}
    for each in found:
        kind = remedy(each.reason).kind
        counts[kind] = counts.get(kind, 0) + 1
        named = kinds.setdefault(kind, [])
        if len(named) < examples:
            named.append(each)
    total = sum(counts.values())
    print(f"{total} broken object{'' if total == 1 else 's'}")
    for kind in sorted(kinds, key=lambda name: (-counts[name], name)):
        print(f"\n{kind} ({counts[kind]}): {remedy(kinds[kind][0].reason).text}")
        for each in kinds[kind]:
            print(f"  {each.key}: {each.reason}")
        if counts[kind] > len(kinds[kind]):
            print(f"  and {counts[kind] - len(kinds[kind])} more; --json lists all")


def show_json(found: Iterable[Broken]) -> None:
    """All objects, each with key, reason, kind and remedy."""
    listed = []
    for each in found:
        what = remedy(each.reason)
        listed.append({"key": each.key, "reason": each.reason, "kind": what.kind, "remedy": what.text})
    print(json.dumps({"count": len(listed), "broken": listed}, indent=1, ensure_ascii=False))
