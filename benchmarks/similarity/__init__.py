"""Similarity: speed compared with its peers, memory, workers, lookup, scale, and how well it ranks structure."""
