"""The queue: its order under moves, its control, its endpoints, and that its length costs nothing."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django import Settings
from rest_framework.test import APIClient

from authkeys.models import APIKey
from registry.models import Dataset
from tests.training.conftest import CONFIG, MakeSession
from tests.training.test_races import at_once
from training.admission import NAMED_AHEAD, Overview
from training.models import IllegalTransition, QueueControl, TrainingSession
from training.models.queue import QueueQuerySet
from training.state import State, Wish

QUEUE = "/api/v1/training/queue"

pytestmark = pytest.mark.django_db


def in_order() -> list[str]:
    return list(TrainingSession.objects.queued().values_list("session_id", flat=True))


# --- The order ----------------------------------------------------------------------------------------------------


@dataclass
class ListedQueue:
    """What the queue is to be like: a list, and for each of its members a priority."""

    ids: list[str] = field(default_factory=list)
    priorities: dict[str, int] = field(default_factory=dict)

    def submit(self, session_id: str, priority: int) -> None:
        self.priorities[session_id] = priority
        self.ids.insert(self.behind(priority, self.ids), session_id)

    def behind(self, priority: int, ids: list[str]) -> int:
        """How many of these have this priority or a higher one."""
        return sum(self.priorities[session_id] >= priority for session_id in ids)

    def move(self, session_id: str, priority: int | None, position: int | None) -> None:
        others = [other for other in self.ids if other != session_id]
        if position is None:
            if priority in (None, self.priorities[session_id]):
                return
            place = self.behind(priority, others)  # type: ignore[arg-type]
        else:
            place = min(position - 1, len(others))
        wanted = self.priorities[session_id] if priority is None else priority
        if place < len(others):
            wanted = max(wanted, self.priorities[others[place]])
        if place > 0:
            wanted = min(wanted, self.priorities[others[place - 1]])
        self.priorities[session_id] = wanted
        self.ids = [*others[:place], session_id, *others[place:]]


priorities = st.one_of(st.integers(-2, 2), st.integers(-100, 100))
numbers = st.integers(0, 30)
submissions = st.tuples(st.just("submit"), priorities)
moves = st.tuples(st.just("move"), numbers, st.none() | priorities, st.none() | st.integers(1, 12))
others = st.tuples(st.sampled_from(["claim", "cancel", "pause"]), numbers)


@pytest.mark.django_db(transaction=False)
@hypothesis_settings(max_examples=60)
@given(
    st.lists(submissions, min_size=2, max_size=6), st.lists(st.one_of(submissions, moves, moves, others), max_size=25)
)
def test_whatever_is_done_to_it_the_queue_is_a_list(dataset: Dataset, first: list[Any], then: list[Any]) -> None:
    TrainingSession.objects.all().delete()
    listed = ListedQueue()
    for deed, *arguments in [*first, *then]:
        if deed == "submit":
            session = TrainingSession.objects.submit(CONFIG | {"priority": arguments[0]}, by="test")
            listed.submit(session.session_id, arguments[0])
        elif deed == "claim" and listed.ids:
            claimed = TrainingSession.objects.claim_next(by="test")
            assert claimed is not None
            assert claimed.session_id == listed.ids.pop(0)
            claimed.fail("user_code", "The end.")  # the place is free again
        elif listed.ids:
            chosen = TrainingSession.objects.get(session_id=listed.ids[arguments[0] % len(listed.ids)])
            if deed == "move":
                chosen.move_in_queue("test", *arguments[1:])
                listed.move(chosen.session_id, *arguments[1:])
            elif deed == "cancel":
                chosen.cancel(by="test")
                listed.ids.remove(chosen.session_id)
            elif deed == "pause":
                chosen.request_pause(by="test")
                chosen.resume(by="test")  # to the place that it had
        assert in_order() == listed.ids
    overview = Overview.now()
    for place, session in enumerate(TrainingSession.objects.queued(), start=1):
        assert session.queue_position() == overview.position(session) == place
        assert session.priority == session.config["priority"] == listed.priorities[session.session_id]
        waiting = overview.waiting(session)
        assert waiting is not None
        assert list(waiting.waits_for) == listed.ids[: min(place - 1, NAMED_AHEAD)]
    while listed.ids:
        claimed = TrainingSession.objects.claim_next(by="test")
        assert claimed is not None
        assert claimed.session_id == listed.ids.pop(0)
        claimed.fail("user_code", "The end.")


def test_a_drained_session_comes_back_to_where_it_was(make_session: MakeSession) -> None:
    first, second, third = (make_session() for _ in range(3))
    claimed = TrainingSession.objects.claim_next(by="test")
    assert claimed == first
    TrainingSession.objects.drain(by="test")
    claimed.refresh_from_db()
    claimed.fulfil_wish()
    assert in_order() == [session.session_id for session in (first, second, third)]
    assert claimed.started_at is not None  # it has been running, and that was when it began
    QueueControl.objects.resume()
    again = TrainingSession.objects.claim_next(by="test")
    assert again == first
    assert again.started_at == claimed.started_at


def test_floats_never_run_out(make_session: MakeSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each move halves the space between two neighbours, and some fifty halvings are all that a float has."""
    renumbered: list[int] = []
    real = QueueQuerySet.renumber

    def renumber(rows: QueueQuerySet, priority: int) -> None:
        renumbered.append(priority)
        real(rows, priority)

    monkeypatch.setattr(QueueQuerySet, "renumber", renumber)
    sessions = [make_session() for _ in range(4)]
    paused = make_session(state=State.PAUSED)
    make_session({"priority": 3})
    listed = in_order()
    for number in range(150):
        # Behind the second of the priority, where each time the last one goes.
        TrainingSession.objects.get(session_id=listed[4]).move_in_queue("test", position=3)
        listed.insert(2, listed.pop(4))
        assert in_order() == listed, number
    assert set(renumbered) == {0}
    assert 0 < len(renumbered) < 10
    newcomer = make_session()
    assert in_order() == [*listed, newcomer.session_id]
    paused.resume(by="test")
    # It had come last of the old ones, and still has.
    assert in_order() == [*listed, paused.session_id, newcomer.session_id]
    assert {session.session_id for session in sessions} < set(listed)


def test_who_comes_stands_last_however_often_others_were_moved_to_the_end(make_session: MakeSession) -> None:
    sessions = [make_session() for _ in range(3)]
    for session in sessions * 4:
        session.move_in_queue("test", position=3)
    newcomer = make_session()
    assert in_order() == [session.session_id for session in (*sessions, newcomer)]


@pytest.mark.django_db(transaction=True)
def test_moves_and_claims_at_once_lose_and_double_nobody(make_session: MakeSession, settings: Settings) -> None:
    settings.MAX_CONCURRENT_SESSIONS = 100
    sessions = [make_session({"priority": number % 3}) for number in range(16)]
    numbers = itertools.count()

    def move() -> list[str]:
        moved = []
        for _ in range(6):
            session = TrainingSession.objects.get(pk=sessions[next(numbers) * 5 % 16].pk)
            try:
                session.move_in_queue("test", position=next(numbers) % 16 + 1)
            except IllegalTransition:
                assert session.state == State.RUNNING
            else:
                moved.append(session.session_id)
        return moved

    def claim() -> list[str]:
        claimed = [TrainingSession.objects.claim_next(by="test") for _ in range(2)]
        return [session.session_id for session in claimed if session is not None]

    acts: tuple[Callable[[], list[str]], ...] = (move, claim)
    claimed = [session_id for number, ids in enumerate(at_once(*acts)) if number % 2 for session_id in ids]
    assert len(claimed) == len(set(claimed)) == 8
    running = TrainingSession.objects.running().values_list("session_id", flat=True)
    assert set(running) == set(claimed)
    waiting = in_order()
    assert len(waiting) == 8
    assert {*waiting, *claimed} == {session.session_id for session in sessions}
    ranks = list(TrainingSession.objects.queued().values_list("priority", "rank"))
    assert len(set(ranks)) == 8  # no two that only their number tells apart


# --- Moving, over HTTP ----------------------------------------------------------------------------------------------


def test_a_move_answers_with_the_session_where_it_stands_now(client: APIClient, make_session: MakeSession) -> None:
    first, second, third = (make_session() for _ in range(3))
    answer = client.patch(f"{QUEUE}/{third}", {"position": 1}, format="json")
    assert answer.status_code == 200
    body = answer.json()
    assert body["session_id"] == third.session_id
    assert body["status"]["queue_position"] == 1
    assert body["config"]["priority"] == 0
    assert [entry["session_id"] for entry in client.get(QUEUE).json()] == [str(third), str(first), str(second)]
    (entry,) = third.log_entries.all()
    assert entry.message == f"Moved from position 3 of the queue to 1 by key:{APIKey.objects.get().prefix}."

    body = client.patch(f"{QUEUE}/{second}", {"priority": 7}, format="json").json()
    assert (body["status"]["queue_position"], body["config"]["priority"]) == (1, 7)
    # At the end nobody has priority 7, and so it has it no more.
    body = client.patch(f"{QUEUE}/{second}", {"position": 10**30}, format="json").json()
    assert (body["status"]["queue_position"], body["config"]["priority"]) == (3, 0)
    body = client.patch(f"{QUEUE}/{second}", {"position": 2, "priority": 50}, format="json").json()
    assert (body["status"]["queue_position"], body["config"]["priority"]) == (2, 0)
    assert not third.transitions.exists()  # its state is what it was


def test_a_move_to_where_it_stands_changes_nothing_and_says_nothing(
    client: APIClient, make_session: MakeSession
) -> None:
    first, second = make_session(), make_session()
    for session, body in ((first, {"position": 1}), (second, {"position": 9}), (second, {"priority": 0})):
        assert client.patch(f"{QUEUE}/{session}", body, format="json").status_code == 200
    assert in_order() == [str(first), str(second)]
    assert not first.log_entries.exists()
    assert not second.log_entries.exists()


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "non_field_errors"),
        ({"position": None}, "non_field_errors"),
        ([], "non_field_errors"),
        ("first", "non_field_errors"),
        (None, "non_field_errors"),
        ({"position": 0}, "position"),
        ({"position": -1}, "position"),
        ({"position": 1.0}, "position"),
        ({"position": 1.5}, "position"),
        ({"position": "1"}, "position"),
        ({"position": True}, "position"),
        ({"position": [1]}, "position"),
        ({"priority": 101}, "priority"),
        ({"priority": -101}, "priority"),
        ({"priority": "high"}, "priority"),
        ({"priority": False}, "priority"),
        ({"priority": 1e400}, None),
        ({"position": 1, "priority": 999}, "priority"),
        ({"position": 1, "rank": 0}, "rank"),
        ({"position": 1, "state": "running"}, "state"),
    ],
)
def test_a_wrong_move_is_refused_and_moves_nothing(
    client: APIClient, make_session: MakeSession, body: Any, named: str | None
) -> None:
    first, second = make_session(), make_session()
    text = {"data": '{"priority": 1e400}', "content_type": "application/json"} if named is None else {}
    answer = client.patch(f"{QUEUE}/{second}", **(text or {"data": body, "format": "json"}))  # type: ignore[arg-type]
    assert answer.status_code == 400
    error = answer.json()["error"]
    if named is not None:
        assert set(error["details"]) == {named}
    assert in_order() == [str(first), str(second)]
    assert not second.log_entries.exists()


@pytest.mark.parametrize("state", [state for state in State if state != State.QUEUED])
def test_who_is_not_queued_cannot_be_moved(client: APIClient, make_session: MakeSession, state: State) -> None:
    session = make_session(state=state)
    answer = client.patch(f"{QUEUE}/{session}", {"position": 1}, format="json")
    assert answer.status_code == 409
    error = answer.json()["error"]
    assert error["code"] == "ILLEGAL_STATE"
    assert error["details"]["state"] == state
    assert error["details"]["allowed_actions"] == session.allowed_actions


@pytest.mark.parametrize("session_id", ["sess_000000000000", "x", "sess_%00", "é", "state", "pause"])
def test_an_unknown_session_cannot_be_moved(client: APIClient, make_session: MakeSession, session_id: str) -> None:
    make_session()
    answer = client.patch(f"{QUEUE}/{session_id}", {"position": 1}, format="json")
    # Where the queue's own calls stand there is something, which takes no PATCH.
    assert answer.status_code == (405 if session_id in ("state", "pause") else 404)


# --- Control ----------------------------------------------------------------------------------------------------------

OPEN = {"paused": False, "paused_at": None, "paused_by": None, "running": 0, "queued": 0, "draining": 0}


def test_the_state_of_an_untouched_queue(client: APIClient) -> None:
    assert client.get(f"{QUEUE}/state").json() == OPEN
    assert not QueueControl.objects.exists()  # looking writes nothing


def test_pause_and_resume_twice_are_as_once(client: APIClient, make_session: MakeSession) -> None:
    session = make_session()
    by = f"key:{APIKey.objects.get().prefix}"
    paused = client.post(f"{QUEUE}/pause").json()
    assert paused == OPEN | {"paused": True, "paused_at": paused["paused_at"], "paused_by": by, "queued": 1}
    assert paused["paused_at"].endswith("Z")
    _, other = APIKey.objects.create_key("another")
    assert APIClient(HTTP_X_API_KEY=other).post(f"{QUEUE}/pause").json() == paused
    assert TrainingSession.objects.claim_next(by="test") is None
    for _ in range(2):
        assert client.post(f"{QUEUE}/resume").json() == OPEN | {"queued": 1}
    assert TrainingSession.objects.claim_next(by="test") == session


def test_a_drain_asks_what_runs_to_go_back_and_leaves_stronger_wishes(
    client: APIClient, make_session: MakeSession, settings: Settings
) -> None:
    settings.MAX_CONCURRENT_SESSIONS = 3
    running = [make_session(state=State.RUNNING) for _ in range(3)]
    running[1].request_stop(by="test")
    running[2].request_pause(by="test")
    queued, paused = make_session(), make_session(state=State.PAUSED)
    answer = client.post(f"{QUEUE}/drain").json()
    assert (answer["paused"], answer["running"], answer["queued"], answer["draining"]) == (True, 3, 1, 1)
    before = list(TrainingSession.objects.order_by("id").values())
    assert client.post(f"{QUEUE}/drain").json() == answer
    assert list(TrainingSession.objects.order_by("id").values()) == before
    assert [session["wish"] for session in before] == [Wish.REQUEUE, Wish.STOP, Wish.PAUSE, "", ""]
    assert before[0]["wished_by"] == f"key:{APIKey.objects.get().prefix}"
    assert {session["state"] for session in before[3:]} == {queued.state, paused.state}


def test_who_drains_and_pauses_is_heard_in_a_paused_queue_too(client: APIClient, make_session: MakeSession) -> None:
    client.post(f"{QUEUE}/pause")
    session = make_session(state=State.RUNNING)
    assert client.post(f"{QUEUE}/drain").json()["draining"] == 1
    session.refresh_from_db()
    assert session.wish == Wish.REQUEUE
    session.request_stop(by="test")  # whoever wants more gets it
    assert session.wish == Wish.STOP
    assert client.get(f"{QUEUE}/state").json()["draining"] == 0


@pytest.mark.parametrize(
    ("method", "path"), [("get", "pause"), ("post", "state"), ("delete", "drain"), ("put", "resume")]
)
def test_the_queues_own_calls_are_never_taken_for_sessions(client: APIClient, method: str, path: str) -> None:
    assert getattr(client, method)(f"{QUEUE}/{path}").status_code == 405


# --- Its length -------------------------------------------------------------------------------------------------------


def lengthen(session: TrainingSession, count: int) -> None:
    """So many more like this one, in five priorities."""
    newest = TrainingSession.objects.latest("id").pk
    TrainingSession.objects.bulk_create(
        TrainingSession(
            session_id=f"sess_{key:012x}",
            config=session.config | {"priority": key % 5 - 2},
            priority=key % 5 - 2,
            dataset=session.dataset,
            rank=key,
        )
        for key in range(newest + 1, newest + 1 + count)
    )


def test_a_long_queue_takes_no_more_queries_and_pages_in_order(client: APIClient, make_session: MakeSession) -> None:
    session = make_session()
    lengthen(session, 9)

    def queries(act: Callable[[], Any]) -> int:
        with CaptureQueriesContext(connection) as captured:
            act()
        return len(captured)

    def claim() -> None:
        claimed = TrainingSession.objects.claim_next(by="test")
        assert claimed is not None
        claimed.fail("user_code", "The end.")

    def ask(path: str) -> Callable[[], Any]:
        def get() -> None:
            assert client.get(f"{QUEUE}{path}").status_code == 200

        return get

    acts: dict[str, Callable[[], Any]] = {
        "start": lambda: client.post("/api/v1/training/start", CONFIG, format="json"),
        "named": lambda: client.post("/api/v1/training/start", CONFIG | {"model_name": "new"}, format="json"),
        "list": ask(""),
        "page": ask("?limit=5"),
        "state": ask("/state"),
        "look": TrainingSession.objects.queue_moves,
        "claim": claim,
        "first": lambda: client.patch(f"{QUEUE}/{session}", {"position": 1}, format="json"),
        "last": lambda: client.patch(f"{QUEUE}/{session}", {"position": 10**9}, format="json"),
        "status": lambda: client.get(f"/api/v1/training/{session}/status"),
    }
    client.get(f"{QUEUE}/state")  # a key that is used notes it now and then
    few = {name: queries(act) for name, act in acts.items()}
    TrainingSession.objects.filter(config__model_name="new").delete()
    lengthen(session, 400)
    assert {name: queries(act) for name, act in acts.items()} == few

    pages, url = [], f"{QUEUE}?limit=60"
    while url:
        answer = client.get(url)
        pages.append(answer.json())
        url = answer.headers.get("Link", "").partition(">")[0].removeprefix("<")
    entries = [entry for page in pages for entry in page]
    assert [entry["session_id"] for entry in entries] == in_order()
    assert [entry["status"]["queue_position"] for entry in entries] == list(range(1, len(entries) + 1))
    assert {entry["status"]["waiting_reason"] for entry in entries[1:]} == {"behind_others"}


def test_the_queue_is_read_by_its_index(make_session: MakeSession) -> None:
    """Without it each claim would read and sort all that waits."""
    queued, running = TrainingSession.objects.queued(), TrainingSession.objects.running()
    for rows in (queued, queued.before(make_session()), running):
        assert "sessions_in_queue_order (state=?" in rows.explain()
    assert "TEMP B-TREE" not in queued.explain()
