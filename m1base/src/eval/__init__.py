"""Figures that can be trusted: zero-shot, retrieval, results and the report."""
