"""Names of files that are about something with a name of its own: a category, a group of objects.

Such a name may be anything: hidden (`.22 rifle`), longer than a file name may be once it is encoded, reserved (`CON`),
a path (`a/b`), or another one's but for the case of its letters, which some file systems do not tell apart. A name that
is none of this is its own stem. Of all others the stem is what can be read of them and a hash of the name. No plain
name ends like a hash, so that different names have different stems, on every file system.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
import urllib.parse

_PLAIN = re.compile(r"[a-z0-9_]([a-z0-9_ -]{0,62}[a-z0-9_])?")
_HASHED = re.compile(r"(.*-)?[0-9a-f]{16}")
_RESERVED = re.compile(r"con|prn|aux|nul|(com|lpt)[0-9]")
_READABLE = 40  # characters of a name that its stem shows


def file_stem(name: str) -> str:
    """The beginning of the names of the files about `name`: 1 to 64 of `a-z`, `0-9`, `_`, `-` and inner spaces."""
    if _PLAIN.fullmatch(name) and not _HASHED.fullmatch(name) and not _RESERVED.fullmatch(name):
        return name
    letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", letters)[:_READABLE].strip("-")
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{slug}-{digest}" if slug else digest


def earlier_stem(name: str) -> str:
    """What earlier releases began file names with: the name, percent-encoded."""
    return urllib.parse.quote(name, safe=" ", errors="surrogatepass")
