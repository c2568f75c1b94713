"""Models that were trained with other settings: moved aside when another takes their place, and brought back.

The file that says what a run's model is has one name, `model.pt` in the run's folder, whatever it was trained with. So
the one that is there is copied before it is replaced, and a run that has been finished before is not repeated.
"""

from __future__ import annotations

from captionless.errors import DataError
from captionless.store import objects
from captionless.trainer import model_file
from captionless.trainer.run_folder import HISTORY, MODEL, earlier_url


def set_aside(run: str, fingerprint: str) -> None:
    """Copies the model in the folder `run`, and its history, before that of the run with this fingerprint replaces it.
    A file that is no model has nothing to lose."""
    if not objects.exists(objects.join(run, MODEL)):
        return
    try:
        found = str(model_file.read_model(run).get("fingerprint", ""))
    except DataError:
        return
    if found and found != fingerprint:
        _copy(run, earlier_url(run, found))


def is_finished(run: str, fingerprint: str) -> bool:
    """Whether the run with this fingerprint is finished, or has been before; its model is then that of the folder."""
    if model_file.is_finished(run, fingerprint):
        return True
    earlier = earlier_url(run, fingerprint)
    if not model_file.is_finished(earlier, fingerprint):
        return False
    set_aside(run, fingerprint)
    _copy(earlier, run)
    return True


def _copy(folder: str, to: str) -> None:
    """Copies the history, and then the model, whose presence says that both are there."""
    for name in (HISTORY, MODEL):
        data = objects.read_if_any(objects.join(folder, name))
        if data is not None:
            objects.write_bytes(objects.join(to, name), data)
