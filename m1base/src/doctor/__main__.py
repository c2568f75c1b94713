"""One check: `python -m captionless.doctor NAME`, the subject as JSON on stdin, the finding as stdout's last line."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

from captionless.doctor.checkup import run_here
from captionless.doctor.finding import Subject

if __name__ == "__main__":
    print(json.dumps(asdict(run_here(sys.argv[1], Subject(**json.load(sys.stdin))))))
