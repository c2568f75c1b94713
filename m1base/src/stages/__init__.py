"""The stages: each module here is one command of the flow, `run(spec, ...)`.

A stage lists its work items, skips the complete ones, makes the others with the
functions of `precompute`, `trainer` and `eval`, and records them; `work_items` is what
they share. No computation lives here, and nothing below knows about a spec's outputs
or resuming.
"""
