"""look: one object as it is read: its views, cloud and textures, its bounds and faces, and what was lost.

`measure` reads the object, as `pack` does, in a process of its own; `page` makes an HTML file of it, `picture` a PNG.
"""

from __future__ import annotations

import posixpath

from captionless.errors import DataError, SpecError
from captionless.mesh import Up
from captionless.stages.look import measure, page, picture
from captionless.stages.look.measure import Seen
from captionless.store import objects

SUFFIXES = (".html", ".png")


def run(what: str, key: str | None, out: str, up: Up | None, overrides: tuple[str, ...] = (), views: int = 8) -> Seen:
    """Writes the contact sheet of a mesh file or, with a `key`, of an object of the spec `what`, to the path or URL
    `out`, HTML or PNG by its suffix.

    Raises:
        SpecError: another suffix; no such spec or key; no up axis.
        DataError: the object cannot be read.
    """
    if posixpath.splitext(out)[1].lower() not in SUFFIXES:
        raise SpecError(f"--out {out}: expected a file ending in {' or '.join(SUFFIXES)}")
    try:
        seen = measure.of_file(what, up, views) if key is None else measure.of_spec(what, key, overrides, views)
    except DataError as error:
        raise DataError(f"{key or what}: {str(error).removeprefix(f'{what}: ')}") from error
    objects.write_bytes(out, page.html(seen).encode() if out.lower().endswith(".html") else picture.png(seen))
    return seen
