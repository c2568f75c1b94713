"""Similarity: speed beside its peers, memory, workers, lookup, scale, and what it says of structure."""
