"""The provenance of results: versions of the libraries they depend on, and the machine."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Sequence
from typing import Any

from captionless import __version__


def versions(packages: Sequence[str]) -> dict[str, str]:
    """This package's version and those of others."""
    return {"captionless": __version__, **{name: importlib.metadata.version(name) for name in packages}}


def host() -> dict[str, Any]:
    """Machine, operating system and Python."""
    return {"machine": platform.machine(), "system": platform.system(), "python": platform.python_version()}
