"""look: one object as it is read: its views, cloud and textures, its bounds and faces, and what was lost; or the clouds
that a step of the training gets.

`measure` reads the object, as `pack` does, in a process of its own, `samples` the clouds, as the trainer does. Either
is a `sheet`, of which `page` makes an HTML file and `picture` a PNG.
"""

from __future__ import annotations

import posixpath

from captionless.errors import DataError, SpecError
from captionless.mesh import Up
from captionless.stages.look import measure, page, picture
from captionless.stages.look.measure import Seen
from captionless.stages.look.sheet import Sheet
from captionless.store import objects

SUFFIXES = (".html", ".png")


def run(what: str, key: str | None, out: str, up: Up | None, overrides: tuple[str, ...] = (), views: int = 8) -> Seen:
    """Writes the contact sheet of a mesh file or, with a `key`, of an object of the spec `what`, to the path or URL
    `out`, HTML or PNG by its suffix.

    Raises:
        SpecError: another suffix; no such spec or key; no up axis.
        DataError: the object cannot be read.
    """
    _check_suffix(out)
    try:
        seen = measure.of_file(what, up, views) if key is None else measure.of_spec(what, key, overrides, views)
    except DataError as error:
        raise DataError(f"{key or what}: {str(error).removeprefix(f'{what}: ')}") from error
    _write(out, picture.of_object(seen))
    return seen


def augmented(spec: str, count: int, step: int, out: str, overrides: tuple[str, ...] = ()) -> None:
    """Writes the sheet of `count` clouds of a step of a spec's training, which `embed` has stored.

    Raises:
        SpecError: another suffix; no such spec or step.
        DataError: `embed` has not run on this spec; a damaged object.
    """
    from captionless.stages.look import samples  # brings torch, for which an object has no use

    _check_suffix(out)
    _write(out, samples.of_training(spec, overrides, count, step))


def _check_suffix(out: str) -> None:
    if posixpath.splitext(out)[1].lower() not in SUFFIXES:
        raise SpecError(f"--out {out}: expected a file ending in {' or '.join(SUFFIXES)}")


def _write(out: str, sheet: Sheet) -> None:
    objects.write_bytes(out, page.html(sheet).encode() if out.lower().endswith(".html") else picture.png(sheet))
