"""captionless: a 3D point-cloud encoder that sees as CLIP does, without captions.

Follow the flow by the folder names: `precompute` (pack, embed, landmarks,
similarity) -> `trainer` -> `eval`, all of them reading and writing through
`store`. `spec` describes a run, `plan` turns it into stages, and `local` (or the
Kubernetes controller) runs the plan.
"""

__version__ = "0.1.0"
