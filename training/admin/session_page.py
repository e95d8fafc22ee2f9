"""What the page of a session shows of it, as it is when the page is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.urls import reverse

from training.admission import Overview
from training.comparison import as_text, rows_of
from training.engine.checkpoint import Checkpoint, written
from training.fields import default_of, fields_of
from training.models import TrainingSession
from training.spec import TrainingConfig
from training.state import Action, Health, State

# How a state looks: the variants of unfold's labels.
STATE_LOOKS = {
    State.QUEUED: "info",
    State.RUNNING: "primary",
    State.PAUSED: "warning",
    State.COMPLETED: "success",
    State.FAILED: "danger",
    State.STOPPED: "warning",
}
HEALTH_LOOKS = {Health.OK: "success", Health.STALE: "danger"}

# The parts of a record that have a place of their own on the page, or stand there already.
TOLD_ELSEWHERE = ("packages", "spec")


@dataclass(frozen=True)
class Button:
    """Something that may be asked of the session now."""

    action: Action
    icon: str
    hint: str

    @property
    def label(self) -> str:
        return self.action.label


# In the order of the page. Cancelling is stopping, for a session that waits.
BUTTONS = (
    Button(Action.PAUSE, "pause", "Save a checkpoint and let go of the place"),
    Button(Action.RESUME, "play_arrow", "Go back into the queue and on from the checkpoint"),
    Button(Action.STOP, "stop", "Finish the step, keep the weights, and end"),
    Button(Action.KILL, "dangerous", "End now, without anything being saved"),
)


@dataclass(frozen=True)
class KeptCheckpoint:
    """A checkpoint of the session on the disk."""

    name: str
    epoch: int
    step: int
    size_bytes: int
    written_at: datetime

    @classmethod
    def read(cls, checkpoint: Checkpoint) -> "KeptCheckpoint | None":
        """None when it has been taken away meanwhile."""
        try:
            written_at = datetime.fromtimestamp(checkpoint.folder.stat().st_mtime, UTC)
        except FileNotFoundError:
            return None
        return cls(checkpoint.name, checkpoint.epoch, checkpoint.step, checkpoint.size_bytes, written_at)


def session_page(session: TrainingSession) -> dict[str, Any]:
    """What the template needs beside the session itself."""
    overview = Overview.now()
    chosen, left = configuration_rows(session.config)
    record = session.record or {}
    return {
        "session": session,
        "state_look": STATE_LOOKS[State(session.state)],
        "health_look": HEALTH_LOOKS[session.health] if session.health else "",
        "position": overview.position(session),
        "waiting": overview.waiting(session),
        "buttons": [button for button in BUTTONS if button.action in session.allowed_actions],
        "checkpoints": kept_checkpoints(session),
        "chosen": chosen,
        "defaults": left,
        "record_rows": rows({name: value for name, value in record.items() if name not in TOLD_ELSEWHERE}),
        "packages": rows(record.get("packages", {})),
        "transitions": list(session.transitions.all()),
        "restarts": list(session.restarts.only("session_id", "state", "parent_checkpoint").order_by("id")),
        "api": api_of(session),
    }


Rows = list[tuple[str, str]]


def rows(document: Mapping[str, Any]) -> Rows:
    """As a template goes over them: in a mapping it would take a name such as `items` for the method."""
    return [(name, as_text(value)) for name, value in rows_of(document).items()]


def configuration_rows(config: Mapping[str, Any]) -> tuple[Rows, Rows]:
    """The fields of a configuration that somebody chose, and those that are as they come by themselves."""
    defaults = {field.name: default_of(field) for field in fields_of(TrainingConfig) if not field.required}
    chosen = {name: value for name, value in config.items() if name not in defaults or value != defaults[name]}
    return rows(chosen), rows({name: value for name, value in config.items() if name not in chosen})


def kept_checkpoints(session: TrainingSession) -> list[KeptCheckpoint]:
    """Those on the disk, the newest first."""
    found = map(KeptCheckpoint.read, written(session.directory.checkpoints))
    return [checkpoint for checkpoint in found if checkpoint is not None]


def api_of(session: TrainingSession) -> str:
    """Where the API tells of a session."""
    return reverse("training-status", args=[session.session_id]).removesuffix("/status")
