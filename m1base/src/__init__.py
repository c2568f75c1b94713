"""captionless: train a 3D point-cloud encoder to match CLIP, without captions.

The packages follow the data: `precompute` (pack, embed, landmarks, similarity) -> `trainer` -> `eval`, all of them
reading and writing through `store`. `spec` describes a run, `spec.plan` turns it into stages, and `local` or, on
Kubernetes, `controller` runs the plan. docs/architecture.md has the layers and where to find what.
"""

__version__ = "0.1.0"
