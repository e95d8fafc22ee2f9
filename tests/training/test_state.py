"""The table of transitions, walked pair by pair through the model."""

import itertools

import pytest

from tests.training.conftest import MakeSession
from training.models import IllegalTransition, TrainingSession
from training.state import ENDED, TRANSITIONS, State

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(("origin", "target"), list(itertools.product(State, State)))
def test_a_move_happens_when_the_table_allows_it(make_session: MakeSession, origin: State, target: State) -> None:
    session = make_session(state=origin)
    if target in TRANSITIONS[origin]:
        session.move_to(target, by="test", reason="try")
        transition = session.transitions.last()
        assert transition is not None
        assert (transition.from_state, transition.to_state, transition.by) == (origin, target, "test")
    else:
        with pytest.raises(IllegalTransition):
            session.move_to(target, by="test", reason="try")
        assert not session.transitions.exists()
    assert TrainingSession.objects.get().state == (target if target in TRANSITIONS[origin] else origin)


def test_an_ended_session_stays_ended() -> None:
    assert all(not TRANSITIONS[state] for state in ENDED)


def test_of_two_who_move_one_session_one_wins(make_session: MakeSession) -> None:
    session = make_session(state=State.QUEUED)
    rival = TrainingSession.objects.get()
    session.move_to(State.STOPPED, by="first", reason="")
    with pytest.raises(IllegalTransition, match="is stopped and cannot be running"):
        rival.move_to(State.RUNNING, by="second", reason="")
    assert rival.state == State.STOPPED  # the loser knows what is true now


def test_an_older_attempt_changes_nothing(make_session: MakeSession) -> None:
    session = make_session(state=State.RUNNING)
    stale = TrainingSession.objects.get()
    session.begin_attempt()
    with pytest.raises(IllegalTransition):
        stale.fail("crash_loop", "late")
    with pytest.raises(IllegalTransition):
        TrainingSession(pk=session.pk, session_id=session.session_id, state=State.RUNNING, attempt=0).begin_attempt()
    session.refresh_from_db()
    assert (session.state, session.attempt) == (State.RUNNING, 1)
