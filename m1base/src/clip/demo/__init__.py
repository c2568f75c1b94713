"""The embedded demo model: a folder in OpenCLIP's own format, see README.md in it for what it can do."""

import os.path

NAME = "captionless-demo"
"""What a spec calls it in `clip.model`."""


def remark(model: str) -> str:
    """A note to add to the name of a CLIP model wherever its figures are shown; empty for other models."""
    return " (the small embedded model; not comparable with published figures)" if model == NAME else ""


FOLDER = os.path.dirname(__file__)
"""The folder, as `open_clip.create_model("local-dir:" + FOLDER)` takes it."""
