"""inspect: what a store of similarities says of one object, and what its similarities weigh as negatives of the loss.

`measure` reads the store, `terminal` prints what it found, `page` makes one HTML file of it with the objects' stored
views. Nothing is rendered or embedded again.
"""

from __future__ import annotations

from captionless.stages.inspect import measure, page, terminal
from captionless.store import objects
from captionless.store.similarity_store import open_similarity


def run(url: str, key: str, sharpen: float = 1.0, out: str | None = None, pack: str | None = None) -> None:
    """Prints what the store `url` says of the object `key`, and writes it to the HTML file `out`, a path or URL.

    sharpen: show it with this `train.sharpen` beside what is stored; 1 is off. pack: the pack stage's folder, for the
    pictures; None for the one beside the store.

    Raises:
        DataError: no store there, an object that it does not hold, or a `pack` that is not one.
    """
    found = measure.measure(open_similarity(url), key, sharpen)
    if out is not None:
        objects.write_bytes(out, page.html(found, page.find_pictures(found, pack)).encode())
    terminal.show(found, out)
