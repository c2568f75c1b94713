"""inspect: one object's stored similarities, and its weights as negatives of the loss.

`measure` reads the store, `terminal` prints the findings, `page` writes them to one HTML file with the objects' stored
views. Nothing is rendered or embedded again.
"""

from __future__ import annotations

from captionless.stages.inspect import measure, page, terminal
from captionless.store import objects
from captionless.store.similarity_store import open_similarity


def run(url: str, key: str, sharpen: float = 1.0, out: str | None = None, pack: str | None = None) -> None:
    """Prints the similarities of the object `key` in the store `url`, and writes them to the HTML file `out`, if given.

    sharpen: also show the values with this `train.sharpen`; 1 is off. pack: the pack stage's folder, for the pictures;
    None for the one of the store's run.

    Raises:
        DataError: no store at `url`, an unknown object, or an invalid `pack`.
    """
    found = measure.measure(open_similarity(url), key, sharpen)
    if out is not None:
        objects.write_bytes(out, page.html(found, page.find_pictures(found, pack)).encode())
    terminal.show(found, out)
