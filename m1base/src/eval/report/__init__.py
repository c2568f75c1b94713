"""`report.html`: data, training and results of a run, in one file that needs no network."""

from captionless.eval.report.context import (
    EmbeddingMap,
    Example,
    History,
    Neighbour,
    NeighbourLists,
    ReportContext,
    RetrievalHit,
    RetrievalQuery,
    neighbours_of,
    retrieval_queries,
)
from captionless.eval.report.html import render_report

__all__ = [
    "EmbeddingMap",
    "Example",
    "History",
    "Neighbour",
    "NeighbourLists",
    "ReportContext",
    "RetrievalHit",
    "RetrievalQuery",
    "neighbours_of",
    "render_report",
    "retrieval_queries",
]
