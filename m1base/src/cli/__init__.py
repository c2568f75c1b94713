"""The command line: the application, one module per command group, and what is printed before and after a run.

Modules that define commands do without `from __future__ import annotations`: typer would evaluate every annotation
string three times, which takes longer than all the imports of this package.
"""
