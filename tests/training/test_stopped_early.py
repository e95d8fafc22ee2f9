"""A session whose trainer was asked to let go before it had trained anything: there are no weights, and no harm."""

import pytest

from tests.training.conftest import MakeSession
from training.journal import JournalWriter
from training.models import TrainingSession
from training.state import State, Wish
from training.supervisor import Supervisor

pytestmark = pytest.mark.django_db


def let_go_early(session: TrainingSession) -> None:
    """The trainer says that it was interrupted, and nothing else; a supervisor reads that."""
    session.directory.create()
    (session.directory.checkpoints / ".step-00000000.part").mkdir()  # the save that the stop came into
    journal = JournalWriter(session.directory.events, session.attempt)
    journal.end("interrupted")
    journal.close()
    supervisor = Supervisor.take_up(session)
    with supervisor.lock:
        assert not supervisor.poll()
    session.refresh_from_db()
    assert not any(session.directory.checkpoints.iterdir())


def test_one_that_is_stopped_ends_as_stopped_without_weights(make_session: MakeSession) -> None:
    session = make_session(state=State.RUNNING, attempt=1, wish=Wish.STOP, wished_by="key:prefix")
    let_go_early(session)
    assert (session.state, session.error_message) == (State.STOPPED, None)
    assert session.final_weights() is None
    assert not TrainingSession.objects.has_weights(session.session_id)


def test_one_that_is_paused_waits_and_is_resumed(make_session: MakeSession) -> None:
    session = make_session(state=State.RUNNING, attempt=1, wish=Wish.PAUSE, wished_by="key:prefix")
    let_go_early(session)
    assert session.state == State.PAUSED
    session.resume(by="key:prefix")
    assert (session.state, session.attempt, session.crashes_since_epoch) == (State.QUEUED, 1, 0)
