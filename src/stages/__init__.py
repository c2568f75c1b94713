"""The stages: each module here is one command of the flow, `run(spec, ...)`.

A stage finds its parts, skips those that are whole, makes the others with the
functions of `precompute`, `trainer` and `eval`, and records them; `parts.py` holds
what they have in common. Computation does not live here, and nothing below knows
about specs' outputs or resuming.
"""
