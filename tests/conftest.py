"""What all tests share: one thread per library, so that results do not depend on the machine's load."""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("NO_COLOR", "1")
os.environ.setdefault("COLUMNS", "160")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
