"""Everything that touches bytes at rest: object storage, shards, records and matrices.

All layouts are readable without this project; each module's docstring states its own.
"""
