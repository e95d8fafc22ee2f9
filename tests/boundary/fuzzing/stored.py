"""What the server holds when the run begins: a dataset, models, and a session in every state."""

from datetime import timedelta
from pathlib import Path

from django.utils import timezone

from registry.models import Dataset, Model
from training import examples
from training.models import TrainingSession
from training.state import State, Wish

ROOT = Path(__file__).resolve().parents[3]
CONFIG = examples.START | {"device": "cpu"}
KEPT = 20  # more than a page that asks for a few


def store() -> None:
    Dataset.objects.store("digits", [(ROOT / "examples" / "digits.npz").read_bytes()])
    Dataset.objects.store("flowers", [b"height,width,label\n" + b"1.5,2,cat\n3,4.5,dog\n" * 40])
    for number in range(KEPT):
        Model.objects.store(f"kept-{number}", [bytes(range(256)) * number])
    for state in State:
        for _ in range(3):
            in_state(state)
    in_state(State.RUNNING, wish=Wish.STOP)


def in_state(state: State, **columns: object) -> None:
    """A session as if it had come to be in this state by itself, with all that is kept of one."""
    session = TrainingSession.objects.submit(CONFIG, by="test")
    if state == State.QUEUED:
        return
    now = timezone.now()
    columns |= {"state": state, "attempt": 1, "started_at": now, "current_epoch": 2, "steps_done": 90}
    columns |= {"steps_planned": 225, "heard_at": now, "seconds_left": 8.5, "samples_per_second": 5000.5}
    columns["record"] = examples.RECORD
    if state in (State.COMPLETED, State.STOPPED, State.FAILED):
        columns |= {"ended_at": now + timedelta(seconds=9)}
    if state == State.COMPLETED:
        name = f"mlp_digits_{session.session_id.removeprefix('sess_')}"
        columns |= {"report": examples.REPORT}
        columns["model"] = Model.objects.store(name, [b"weights"], session.session_id)
    if state == State.FAILED:
        columns |= {"failure_code": "non_finite_loss", "error_message": "The loss grew beyond all numbers."}
    TrainingSession.objects.filter(pk=session.pk).update(**columns)
    session.transitions.create(from_state=State.QUEUED, to_state=state, by="supervisor", reason="as if")
    for epoch in (1, 2):
        session.metrics.create(epoch=epoch, loss=1 / epoch, accuracy=0.5, val_loss=None, val_accuracy=1, timestamp=now)
    for step in range(1, 91):
        session.points.create(name="train/loss", step=step, value=None if step == 7 else 1 / step, timestamp=now)
        session.log(("INFO", "WARNING")[step % 2], f"step {step}")
