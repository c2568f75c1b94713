"""The embedded demo model: a folder in OpenCLIP's own format, see README.md in it for what it can do."""

from importlib.resources import files

NAME = "captionless-demo"
"""What a spec calls it in `clip.model`."""

FOLDER = str(files(__package__))
"""The folder, as `open_clip.create_model("local-dir:" + FOLDER)` takes it."""
