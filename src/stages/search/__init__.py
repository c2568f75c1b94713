"""search: the shapes of a gallery nearest to words, a picture, a mesh, a cloud, or another of its shapes.

`build` makes the gallery from an embed stage's objects with a trained encoder. `query` parses and embeds queries: words
and pictures with the CLIP model that the encoder was trained against, shapes with the encoder. `service` combines the
two; `terminal` and `page` show the hits, with the objects' stored views.
"""

from __future__ import annotations

from collections.abc import Sequence

from captionless.mesh import Up
from captionless.runtime.encoding import json_text
from captionless.stages.search import terminal
from captionless.stages.search.query import AS_IT_IS, parse
from captionless.stages.search.service import Answer, Hit, Pictures, Search
from captionless.store import objects
from captionless.terminal import console as terminal_console

__all__ = ["Answer", "Hit", "Pictures", "Search", "run"]


def run(
    index: str,
    queries: Sequence[str],
    checkpoint: str | None = None,
    k: int = 10,
    within: str | None = None,
    prompt: str = AS_IT_IS,
    up: Up | None = None,
    out: str | None = None,
    pack: str | None = None,
    as_json: bool = False,
) -> None:
    """Prints a gallery's hits for the queries, as tables or JSON, and writes them to the HTML file `out`, a path or
    URL. Arguments and errors as for `service.Search`."""
    asked = [parse(text) for text in queries]
    search = Search(index, checkpoint, up, prompt)
    answers = [search.find(query, k, within) for query in asked]
    console = terminal_console.results_console()
    pictures = Pictures()
    if out is not None or (terminal.draws(console) and not as_json):
        pictures = search.pictures(answers, pack)
    if out is not None:
        from captionless.stages.search import page  # brings plotly

        objects.write_bytes(out, page.html(answers, pictures, search.described()).encode())
    if as_json:
        print(json_text(search.document(answers), sort_keys=True))
    else:
        terminal.show(console, answers, pictures, search.described(), out)
