"""Starting a session again as it was: the same configuration, resolved as it was resolved, on the same files."""

from typing import Any

from registry.files import sha256_of
from training.initial_weights import WeightsGone, weights_sha256
from training.models import TrainingSession
from training.spec import SessionSpec


class CannotRepeat(Exception):
    """Something that the session was trained on is not there any more. The message says what."""


def configuration_like(session: TrainingSession) -> dict[str, Any]:
    """A configuration that trains the same once more. Before a session has started, that is its own.

    Raises CannotRepeat when a file of it is gone or has changed.
    """
    record = session.record or {}
    config = dict(session.config)
    dataset_sha256, weights_hash = session.dataset.sha256, None
    if "spec" in record:
        spec = SessionSpec.from_json(record["spec"])
        config = spec.config.as_dict()
        dataset_sha256 = spec.dataset.sha256
        weights_hash = spec.initial_weights.sha256 if spec.initial_weights else None
        if spec.config.gpus == 1:
            config["device"] = record["device"]  # auto might find another one today
    _require_dataset(session, dataset_sha256)
    if weights_hash:
        _require_weights(config["initial_weights"], weights_hash)
    return config | {"model_name": None}  # which is taken


def _require_dataset(session: TrainingSession, sha256: str) -> None:
    dataset = session.dataset
    try:
        same = sha256_of(dataset.path) == sha256
    except FileNotFoundError:
        raise CannotRepeat(f"The file of dataset {dataset.name} is gone, so {session} cannot be repeated.") from None
    if not same:
        raise CannotRepeat(f"The dataset {dataset.name} is not what it was, so {session} cannot be repeated.")


def _require_weights(reference: str, sha256: str) -> None:
    try:
        same = weights_sha256(reference) == sha256
    except WeightsGone as error:
        raise CannotRepeat(str(error)) from None
    if not same:
        raise CannotRepeat(f"The initial weights {reference} are not what they were; name others to start from.")
