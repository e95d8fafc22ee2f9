"""What the page shows that puts sessions side by side."""

import re
from typing import Any

from django.db.models import Max, Min

from training.admin.session_page import STATE_LOOKS, api_of
from training.comparison import as_text, differences
from training.models import TrainingSession
from training.recovery import SESSION_ID
from training.state import State

FEWEST, MOST = 2, 8

# The figures that have a chart, by the names that the API gives them.
CHARTS = {
    "val_loss": "Validation loss",
    "val_accuracy": "Validation accuracy",
    "loss": "Training loss",
    "accuracy": "Training accuracy",
    "train/loss": "Training loss, by step",
    "learning_rate": "Learning rate",
}

# Of a record: what the machine was like. The rest is in the configuration, or too long to be read.
ENVIRONMENT = ("versions", "cpu", "gpus", "gpu_driver", "git", "device", "threads", "seed", "determinism")


class WrongChoice(Exception):
    """These sessions cannot be compared. The message says why."""


def compared_sessions(asked: str) -> list[TrainingSession]:
    """The sessions with these ids, in this order. Raises WrongChoice."""
    ids = list(dict.fromkeys(filter(None, asked.split(","))))
    require_number(len(ids))
    found = TrainingSession.objects.select_related("dataset", "model").annotate(
        lowest_val_loss=Min("metrics__val_loss"),
        highest_val_accuracy=Max("metrics__val_accuracy"),
    )
    well_formed = [session_id for session_id in ids if re.fullmatch(SESSION_ID, session_id)]
    sessions = {session.session_id: session for session in found.filter(session_id__in=well_formed)}
    if missing := [session_id[:60] for session_id in ids if session_id not in sessions]:
        raise WrongChoice(f"There is no session {', '.join(missing)}.")
    return [sessions[session_id] for session_id in ids]


def require_number(count: int) -> None:
    if not FEWEST <= count <= MOST:
        raise WrongChoice(f"Choose {FEWEST} to {MOST} sessions to compare, not {count}.")


def compare_page(sessions: list[TrainingSession]) -> dict[str, Any]:
    """What the template needs."""
    records = [session.record or {} for session in sessions]
    return {
        "charts": CHARTS,
        "columns": [(session, STATE_LOOKS[State(session.state)], api_of(session)) for session in sessions],
        "configurations": shown([session.config for session in sessions]),
        "environments": shown([{name: record.get(name) for name in ENVIRONMENT} for record in records]),
    }


def shown(documents: list[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    """Where documents differ, for people."""
    return [(row.name, [as_text(value) for value in row.values]) for row in differences(documents)]
