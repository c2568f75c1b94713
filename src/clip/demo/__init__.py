"""The embedded demo model: a folder in OpenCLIP's own format, see README.md in it for what it can do."""

import os.path

NAME = "captionless-demo"
"""What a spec calls it in `clip.model`."""


def remark(model: str) -> str:
    """What is added to the name of a CLIP model wherever its figures stand; empty for any but this one."""
    return " (the small embedded model: its figures are its own and no paper's)" if model == NAME else ""


FOLDER = os.path.dirname(__file__)
"""The folder, as `open_clip.create_model("local-dir:" + FOLDER)` takes it."""
