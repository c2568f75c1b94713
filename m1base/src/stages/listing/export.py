"""The listing as a Parquet file for others: every object, left-out ones included, without what only `list` needs."""

from __future__ import annotations

from captionless.spec.alignment import AlignmentSpec
from captionless.spec.plan import LIST
from captionless.store import objects
from captionless.store.listing import listing_rows, open_listing
from captionless.store.table import TableInfo, write_table

_OWN = ("token", "files")


def export(spec: AlignmentSpec, out: str) -> TableInfo:
    """Writes the listing of a run to the URL or path `out`. DataError when nothing is listed."""
    listing = open_listing(objects.join(spec.root, LIST))
    schema = listing_rows()
    for name in _OWN:
        schema = schema.remove(schema.get_field_index(name))
    return write_table(out, (batch.cast(schema) for batch in listing.batches(schema.names)), schema)
