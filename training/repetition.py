"""Starting a session again as it was: the same configuration, resolved as it was resolved, on the same files."""

from typing import Any

from registry.files import sha256_of
from training.initial_weights import WeightsGone, weights_sha256
from training.models import TrainingSession
from training.spec import SessionSpec


class CannotRepeat(Exception):
    """Something that the session was trained on is not there any more. The message says what."""


def configuration_like(session: TrainingSession) -> dict[str, Any]:
    """A configuration that trains the same once more. Raises CannotRepeat when a file of it is gone or has changed."""
    spec = _spec_of(session)
    _require_dataset(session, spec.dataset.sha256 if spec else session.dataset.sha256)
    if spec and spec.initial_weights:
        _require_weights(spec.initial_weights.name, spec.initial_weights.sha256)
    return resolved_configuration(session)


def resolved_configuration(session: TrainingSession) -> dict[str, Any]:
    """The configuration as it was resolved when the session started; before that, its own."""
    spec = _spec_of(session)
    config = spec.config.as_dict() if spec else dict(session.config)
    if spec and spec.config.gpus == 1:
        config["device"] = (session.record or {})["device"]  # auto might find another one today
    return config | {"model_name": None}  # which is taken


def _spec_of(session: TrainingSession) -> SessionSpec | None:
    record = session.record or {}
    return SessionSpec.from_json(record["spec"]) if "spec" in record else None


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
