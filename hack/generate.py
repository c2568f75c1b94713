"""Writes what is generated from the code and committed.

`python hack/generate.py` writes; `--check` fails when what is committed differs (CI does that).
"""

from __future__ import annotations

import sys
from pathlib import Path

from generators import charts, crd, dashboards, manifests, metrics, reference

ROOT = Path(__file__).parent.parent
GENERATORS = (reference, metrics, crd, manifests, dashboards, charts)


def main() -> int:
    check, stale = "--check" in sys.argv, []
    for path, text in ((ROOT / p, t) for g in GENERATORS for p, t in g.files().items()):
        if not path.exists() or path.read_text() != text:
            stale.append(path)
            if not check:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
    for path in stale:
        print(f"{'stale' if check else 'wrote'}: {path.relative_to(ROOT)}")
    return 1 if stale and check else 0


if __name__ == "__main__":
    sys.exit(main())
