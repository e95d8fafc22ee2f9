"""A session once more: from its start, or as a fork that goes on from one of its checkpoints."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db import connection, transaction

from registry.files import fsync_folder
from registry.models import Dataset
from training.bodies import Body
from training.engine.checkpoint import MANIFEST, STATE, Checkpoint, find_newest
from training.fields import option
from training.ingest import ingest
from training.initial_weights import link_or_copy
from training.models import TrainingSession
from training.models.sessions import new_session_id
from training.recovery import being_made
from training.repetition import configuration_like
from training.spec import InvalidConfig, TrainingConfig

NEWEST = "newest"
CHECKPOINT_NAME = "step-[0-9]{8,19}"
# A session that runs replaces its checkpoints while they are looked for.
TRIES = 3

# What a training can go on with when it has changed: no state in a checkpoint was made from it.
CHANGEABLE = (
    "epochs",
    "max_steps",
    "max_seconds",
    "early_stopping",
    "checkpoint_every_seconds",
    "keep_checkpoints",
    "log_every_steps",
    "priority",
    "tags",
    "notes",
    "model_name",
)

COPY_METRICS = """
    INSERT INTO metrics (session_id, epoch, timestamp, loss, accuracy, val_loss, val_accuracy)
    SELECT %s, epoch, timestamp, loss, accuracy, val_loss, val_accuracy
    FROM metrics WHERE session_id = %s AND epoch <= %s
"""
COPY_POINTS = """
    INSERT INTO points (session_id, name, step, value, timestamp)
    SELECT %s, name, step, value, timestamp FROM points WHERE session_id = %s AND step <= %s
"""


class NoCheckpoint(Exception):
    """There is no good checkpoint to go on from. The message says what was found, and what to do."""

    def __init__(self, session: TrainingSession, wanted: str, damaged: list[str]) -> None:
        name = "checkpoint" if wanted == NEWEST else f"checkpoint {wanted}"
        fault = f"is damaged ({', '.join(damaged)})" if damaged else "is not there"
        hint = "leave from_checkpoint out" if wanted == NEWEST else 'ask for "newest", or leave from_checkpoint out'
        super().__init__(f"The {name} of session {session} {fault}: {hint} to train from the beginning.")


@dataclass(frozen=True, kw_only=True)
class Restart(Body):
    """How a session is to be restarted."""

    SHAPE = "a JSON object, or empty"

    from_checkpoint: str | None = option(
        None,
        pattern=f"{NEWEST}|{CHECKPOINT_NAME}",
        pattern_hint="newest, or a checkpoint's name such as step-00001500",
        help="Where to go on: the newest good checkpoint, or one by its name. Null starts from the beginning.",
    )
    changes: dict[str, Any] = option(
        {},
        length=100,
        help=f"Fields of the configuration that are to differ. From a checkpoint on: {', '.join(CHANGEABLE)}.",
    )


def restart(session: TrainingSession, wanted: Restart, by: str) -> TrainingSession:
    """As restarting(), with nothing to do beside it."""
    with restarting(session, wanted, by) as new:
        return new


@contextmanager
def restarting(session: TrainingSession, wanted: Restart, by: str) -> Iterator[TrainingSession]:
    """Queue a new session with the spec of this one, as it was resolved; it remembers where it comes from.

    What the block does is in the same transaction. Raises CannotRepeat, NoCheckpoint or InvalidConfig; nothing is left
    behind then.
    """
    if wanted.from_checkpoint is not None:
        _require_changeable(wanted.changes)
    earlier = configuration_like(session)
    config, dataset = TrainingSession.objects.accept(earlier | wanted.changes)
    if wanted.from_checkpoint is None:
        reason = f"restarted from {session}"
        with transaction.atomic():
            yield TrainingSession.objects.enqueue(
                new_session_id(), config, dataset, by=by, reason=reason, parent=session
            )
        return
    _require_same_rule(TrainingConfig.from_json(earlier), config)
    with _fork(session, wanted.from_checkpoint, wanted.changes, config, dataset, by) as fork:
        yield fork


@contextmanager
def _fork(
    session: TrainingSession, name: str, changes: Mapping[str, Any], config: TrainingConfig, dataset: Dataset, by: str
) -> Iterator[TrainingSession]:
    """Queue a session that has the checkpoint already, and the history up to it."""
    session_id = new_session_id()
    directory = TrainingSession(session_id=session_id).directory
    with being_made(directory):
        checkpoint = _keep_checkpoint(session, name, directory.checkpoints)
        _require_more(changes, checkpoint)
        for folder in (checkpoint.folder, directory.checkpoints, directory.root, directory.root.parent):
            fsync_folder(folder)
        # The trainer told of all that is in a checkpoint before it wrote it, and perhaps nobody has read that yet.
        while ingest(session):
            pass
        with transaction.atomic():
            fork = TrainingSession.objects.enqueue(
                session_id,
                config,
                dataset,
                by=by,
                reason=f"goes on from {checkpoint.name} of {session}",
                parent=session,
                parent_checkpoint=checkpoint.name,
                current_epoch=checkpoint.epoch or None,
                steps_done=checkpoint.step,
            )
            with connection.cursor() as cursor:
                cursor.execute(COPY_METRICS, [fork.pk, session.pk, checkpoint.epoch])
                cursor.execute(COPY_POINTS, [fork.pk, session.pk, checkpoint.step])
            yield fork


def _keep_checkpoint(session: TrainingSession, name: str, place: Path) -> Checkpoint:
    """Give a checkpoint a second name in the folder `place`, where nobody takes it away. Raises NoCheckpoint."""
    pattern = "step-*" if name == NEWEST else name
    for _ in range(TRIES):
        for folder in session.directory.checkpoints.glob(pattern):
            copy = place / folder.name
            copy.mkdir()
            with suppress(FileNotFoundError):  # another has taken its place; what is half here counts as damaged
                for file in (STATE, MANIFEST):
                    link_or_copy(folder / file, copy / file)
        # Checked where it lies now: what was good a moment ago may not be what was linked.
        checkpoint, _ = find_newest(place)
        found = sorted(folder.name for folder in place.iterdir())
        for folder in place.iterdir():
            if checkpoint is None or folder != checkpoint.folder:
                shutil.rmtree(folder)
        if checkpoint is not None:
            return checkpoint
    raise NoCheckpoint(session, name, found)


def _require_changeable(changes: Mapping[str, Any]) -> None:
    known = ", ".join(CHANGEABLE)
    errors = {
        name: [f"{name} cannot change where a session goes on from a checkpoint; what can: {known}"]
        for name in changes
        if name not in CHANGEABLE
    }
    if errors:
        raise InvalidConfig(errors)


def _require_same_rule(earlier: TrainingConfig, config: TrainingConfig) -> None:
    """The checkpoint knows the best epoch by the rule that there was, and may hold its weights."""
    before, after = earlier.early_stopping, config.early_stopping
    if before and (after is None or (after.metric, after.keep_best) != (before.metric, before.keep_best)):
        problem = "early_stopping can change its patience and min_delta where a session goes on from a checkpoint"
        raise InvalidConfig({"early_stopping": [f"{problem}, not its metric and keep_best"]})


def _require_more(changes: Mapping[str, Any], checkpoint: Checkpoint) -> None:
    """A new limit must lie behind the checkpoint: no epoch and no step is undone."""
    errors = {}
    for name, done in (("epochs", checkpoint.epoch), ("max_steps", checkpoint.step)):
        limit = changes.get(name)
        if limit is not None and limit <= done:
            errors[name] = [f"{name} must be more than {done}, which {checkpoint.name} has complete"]
    if errors:
        raise InvalidConfig(errors)
