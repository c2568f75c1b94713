"""`report.html`: what was trained on what and how well, in one file that needs no network."""

from captionless.eval.report.context import (
    EmbeddingMap,
    Example,
    History,
    Hit,
    Neighbour,
    Neighbours,
    Query,
    ReportContext,
    neighbours_of,
    retrieval_queries,
)
from captionless.eval.report.html import render

__all__ = [
    "EmbeddingMap",
    "Example",
    "History",
    "Hit",
    "Neighbour",
    "Neighbours",
    "Query",
    "ReportContext",
    "neighbours_of",
    "render",
    "retrieval_queries",
]
