"""What is generated and committed is what the code generates today."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_generated_files_are_fresh() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "hack" / "generate.py"), "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, f"run `python hack/generate.py`: {done.stdout}{done.stderr}"
