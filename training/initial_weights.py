"""The weights that a session starts from: found by the name in its configuration, kept where it lives."""

import os
import shutil
from pathlib import Path

from registry.files import sha256_of
from registry.models import Model
from training.engine.checkpoint import STATE, find_newest
from training.models import TrainingSession
from training.spec import WeightsFile

# Beside the spec of the session that starts from them.
KEPT_AS = "initial_weights.pt"
# A session that runs replaces its checkpoints while they are looked for.
TRIES = 3


class WeightsGone(Exception):
    """What a session is to start from is not there any more. The message says what to do."""

    def __init__(self, reference: str) -> None:
        super().__init__(
            f"The initial weights {reference} are not there any more: start the session again with the name of a "
            "registered model, or with the id of a session that has weights or a checkpoint."
        )


def keep_initial_weights(reference: str, folder: Path) -> WeightsFile:
    """Keep the weights in a folder of the session, where no later delete takes them away. Raises WeightsGone."""
    place = folder / KEPT_AS
    for _ in range(TRIES):
        path, sha256 = _find(reference)
        place.unlink(missing_ok=True)
        try:
            link_or_copy(path, place)
        except FileNotFoundError:
            continue
        return WeightsFile(name=reference, path=str(place), sha256=sha256 or sha256_of(place))
    raise WeightsGone(reference)


def weights_sha256(reference: str) -> str:
    """The hash of what a session would start from now. Raises WeightsGone."""
    path, sha256 = _find(reference)
    return sha256 or sha256_of(path)


def _find(reference: str) -> tuple[Path, str | None]:
    """The file that a name stands for, and its hash where that is known already."""
    model = Model.objects.filter(name=reference).first()
    if model is not None:
        return model.path, model.sha256
    session = TrainingSession.objects.filter(session_id=reference).first()
    if session is not None:
        if session.has_ended and (final := session.final_weights()):
            return final, None
        checkpoint, _ = find_newest(session.directory.checkpoints)
        if checkpoint is not None:
            return checkpoint.folder / STATE, checkpoint.sha256
    raise WeightsGone(reference)


def link_or_copy(path: Path, place: Path) -> None:
    """Files of ours are never written to again, so that a second name is as good as a copy."""
    try:
        os.link(path, place)
    except FileNotFoundError:
        raise
    except OSError:  # the folders lie on different disks, or on one without links
        shutil.copyfile(path, place)
