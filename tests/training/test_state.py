"""The table of transitions, walked pair by pair through the model."""

import itertools
from typing import Literal

import pytest

from tests.training.conftest import MakeSession
from training.models import IllegalTransition, TrainingSession
from training.state import ALLOWED_ACTIONS, ENDED, FULFILLED, TRANSITIONS, Action, State, Wish
from training.steering import ASK

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


Situation = tuple[State, Wish]
Outcome = Situation | Literal["refused"]

# Where each action leads, from every state, and from running with every wish.
PAUSED, QUEUED, STOPPED = ((state, Wish.NONE) for state in (State.PAUSED, State.QUEUED, State.STOPPED))
RUNNING = {wish: (State.RUNNING, wish) for wish in Wish}
REFUSED: dict[Action, Outcome] = dict.fromkeys(ASK, "refused")
OUTCOMES: dict[Situation, dict[Action, Outcome]] = {
    QUEUED: {
        Action.PAUSE: PAUSED,
        Action.RESUME: QUEUED,
        Action.STOP: STOPPED,
        Action.KILL: STOPPED,
        Action.CANCEL: STOPPED,
    },
    PAUSED: {
        Action.PAUSE: PAUSED,
        Action.RESUME: QUEUED,
        Action.STOP: STOPPED,
        Action.KILL: STOPPED,
        Action.CANCEL: "refused",
    },
    STOPPED: {**REFUSED, Action.KILL: STOPPED},
    (State.COMPLETED, Wish.NONE): REFUSED,
    (State.FAILED, Wish.NONE): REFUSED,
    **{
        RUNNING[wish]: {
            Action.PAUSE: RUNNING[Wish.PAUSE],
            Action.RESUME: RUNNING[wish],
            Action.STOP: RUNNING[Wish.STOP],
            Action.KILL: RUNNING[Wish.KILL],
            Action.CANCEL: "refused",
        }
        for wish in (Wish.NONE, Wish.REQUEUE)
    },
    RUNNING[Wish.PAUSE]: {
        Action.PAUSE: RUNNING[Wish.PAUSE],
        Action.RESUME: RUNNING[Wish.NONE],
        Action.STOP: RUNNING[Wish.STOP],
        Action.KILL: RUNNING[Wish.KILL],
        Action.CANCEL: "refused",
    },
    RUNNING[Wish.STOP]: {
        Action.PAUSE: "refused",
        Action.RESUME: "refused",
        Action.STOP: RUNNING[Wish.STOP],
        Action.KILL: RUNNING[Wish.KILL],
        Action.CANCEL: "refused",
    },
    RUNNING[Wish.KILL]: {
        Action.PAUSE: "refused",
        Action.RESUME: "refused",
        Action.STOP: RUNNING[Wish.KILL],
        Action.KILL: RUNNING[Wish.KILL],
        Action.CANCEL: "refused",
    },
}


def situation(session: TrainingSession) -> Situation:
    stored = TrainingSession.objects.get(pk=session.pk)
    return State(stored.state), Wish(stored.wish)


def ask(session: TrainingSession, action: Action) -> Outcome:
    """Where an action leads."""
    try:
        ASK[action](session, "test")
    except IllegalTransition as refusal:
        details = refusal.details
    else:
        return situation(session)
    assert details == {"state": session.state, "allowed_actions": session.allowed_actions}
    return "refused"


def test_every_situation_is_in_the_table() -> None:
    assert OUTCOMES.keys() == ALLOWED_ACTIONS.keys()
    assert all(outcomes.keys() == ASK.keys() for outcomes in OUTCOMES.values())


@pytest.mark.parametrize("origin", OUTCOMES, ids="-".join)
def test_every_action_in_every_situation(make_session: MakeSession, origin: Situation) -> None:
    state, wish = origin
    for action, expected in OUTCOMES[origin].items():
        session = make_session(state=state, wish=wish)
        allowed = session.allowed_actions
        assert ask(session, action) == expected
        assert (State(session.state), Wish(session.wish)) == situation(session)  # whoever asked knows what is true
        assert (action in allowed) == (expected not in ("refused", origin))
        moved = expected != "refused" and expected[0] != state
        assert session.transitions.count() == int(moved)
        assert (session.ended_at is not None) == (moved and expected == STOPPED)
        if expected == "refused":
            assert situation(session) == origin
        else:
            assert session.wished_by == ("test" if session.wish and session.wish != wish else "")


@pytest.mark.parametrize("origin", OUTCOMES, ids="-".join)
def test_asking_twice_changes_nothing_more(make_session: MakeSession, origin: Situation) -> None:
    state, wish = origin
    for action, expected in OUTCOMES[origin].items():
        session = make_session(state=state, wish=wish)
        ask(session, action)
        count = session.transitions.count()
        again = ask(session, action)
        assert situation(session) == (origin if expected == "refused" else expected)
        assert session.transitions.count() == count
        # Whoever stops or cancels what has ended is told so; anything else that is true already is as it was wanted.
        has_ended = expected == STOPPED and action in (Action.STOP, Action.CANCEL)
        assert again == ("refused" if has_ended else expected)


@pytest.mark.parametrize(("seen", "true"), list(itertools.product(OUTCOMES, OUTCOMES)), ids=str)
def test_somebody_who_was_faster(make_session: MakeSession, seen: Situation, true: Situation) -> None:
    """What is asked of a row that has changed since it was read comes to what it would have, before or after."""
    if seen[0] in ENDED:
        return  # such a row never changes
    for action in OUTCOMES[seen]:
        session = make_session(state=seen[0], wish=seen[1])
        TrainingSession.objects.filter(pk=session.pk).update(state=true[0], wish=true[1])
        outcome, now, fresh = ask(session, action), situation(session), OUTCOMES[true][action]
        if now == true and OUTCOMES[seen][action] in (seen, "refused"):
            continue  # there was nothing to do when it looked
        assert now == (true if fresh == "refused" else fresh)
        assert outcome == fresh or outcome == now == STOPPED  # two who stop it at once both get what they want


@pytest.mark.parametrize("wish", [wish for wish in Wish if wish])
def test_a_wish_takes_the_place_of_weaker_ones_alone(wish: Wish) -> None:
    assert set(wish.weaker) == set(list(Wish)[: list(Wish).index(wish)])
    assert FULFILLED[wish] in TRANSITIONS[State.RUNNING]


@pytest.mark.parametrize("wish", [wish for wish in Wish if wish])
def test_a_wish_is_fulfilled_in_the_name_of_who_had_it(make_session: MakeSession, wish: Wish) -> None:
    session = make_session(state=State.RUNNING, wish=wish, wished_by="key:abc")
    session.fulfil_wish()
    assert situation(session) == (FULFILLED[wish], Wish.NONE)
    transition = session.transitions.get()
    assert (transition.by, transition.reason) == ("key:abc", f"{wish} requested")
    assert (session.ended_at is not None) == session.has_ended


def test_a_wish_that_is_taken_back_is_not_fulfilled(make_session: MakeSession) -> None:
    session = make_session(state=State.RUNNING, wish=Wish.PAUSE)
    TrainingSession.objects.get().resume(by="test")
    with pytest.raises(IllegalTransition):
        session.fulfil_wish()
    assert situation(session) == (State.RUNNING, Wish.NONE)
