"""Pause, resume, stop, kill: one session at a time and many at once, and what is remembered of it."""

import contextlib
import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from pytest_django import Settings
from rest_framework.test import APIClient

from authkeys.models import APIKey
from tests.properties.runs import Run
from tests.training.conftest import CONFIG, MakeSession
from tests.training.test_races import at_once
from training.models import IllegalTransition, TrainingSession
from training.state import TRANSITIONS, Action, State, Wish
from training.steering import ASK

BASE = "/api/v1/training"
STEERED = [Action.PAUSE, Action.RESUME, Action.STOP, Action.KILL]

pytestmark = pytest.mark.django_db


def call(client: APIClient, session_id: str, action: Action) -> Any:
    """The answer to an action."""
    if action == Action.CANCEL:
        return client.delete(f"{BASE}/queue/{session_id}")
    return client.post(f"{BASE}/{session_id}/{action}")


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("action", STEERED)
def test_each_call_is_carried_out_or_refused_with_what_is_allowed(
    client: APIClient, make_session: MakeSession, state: State, action: Action
) -> None:
    session = make_session(state=state)
    answer = call(client, session.session_id, action)
    if answer.status_code == 200:
        assert answer.json().keys() == {"message"}
    else:
        assert answer.status_code == 409
        error = answer.json()["error"]
        assert (error["code"], error["message"]) == ("ILLEGAL_STATE", answer.json()["detail"])
        status = client.get(f"{BASE}/{session.session_id}/status").json()
        assert error["details"] == {name: status[name] for name in ("state", "allowed_actions")}
        assert action not in status["allowed_actions"]


def test_messages_say_what_is_true_now(client: APIClient, make_session: MakeSession) -> None:
    running, queued = make_session(state=State.RUNNING), make_session()

    def message(session: TrainingSession, action: Action) -> str:
        answer = call(client, session.session_id, action).json()
        text: str = answer.get("message") or answer["detail"]
        return text.removeprefix(f"Session {session} ")

    assert message(running, Action.PAUSE) == "pauses after its step and saves a checkpoint."
    assert message(running, Action.RESUME) == "runs on."
    assert message(running, Action.STOP) == "stops after its step and saves its weights."
    assert message(running, Action.PAUSE) == "is about to stop and cannot be paused."
    assert message(running, Action.KILL) == "is ended now, without anything being saved."
    assert message(running, Action.STOP) == "is ended now, without anything being saved."
    assert message(queued, Action.RESUME) == "is queued at position 1."
    assert message(queued, Action.PAUSE) == "is paused."
    assert message(queued, Action.RESUME) == "is queued at position 1."
    assert message(queued, Action.KILL) == "is stopped."
    assert message(queued, Action.KILL) == "is stopped."
    assert message(queued, Action.STOP) == "is stopped and cannot be stopped."


def test_a_paused_session_keeps_its_place(client: APIClient, make_session: MakeSession) -> None:
    first, second, third = (make_session() for _ in range(3))
    call(client, second.session_id, Action.PAUSE)
    assert [entry["session_id"] for entry in client.get(f"{BASE}/queue").json()] == [str(first), str(third)]
    call(client, second.session_id, Action.RESUME)
    assert [entry["session_id"] for entry in client.get(f"{BASE}/queue").json()] == [
        str(first),
        str(second),
        str(third),
    ]


def test_transitions_say_when_by_whom_and_why(client: APIClient, make_session: MakeSession) -> None:
    session_id = client.post(f"{BASE}/start", CONFIG, format="json").json()["session_id"]
    for action in (Action.PAUSE, Action.PAUSE, Action.RESUME):
        call(client, session_id, action)
    with Run() as run:
        call(client, session_id, Action.STOP)
        run.obey_stop()
    actor = f"key:{APIKey.objects.get().prefix}"
    transitions = client.get(f"{BASE}/{session_id}/transitions").json()
    assert [tuple(transition.values())[:2] for transition in transitions] == [
        (None, "queued"),
        ("queued", "paused"),
        ("paused", "queued"),
        ("queued", "running"),
        ("running", "stopped"),
    ]
    assert [transition["actor"] for transition in transitions] == [actor, actor, actor, "worker", actor]
    assert [transition["reason"] for transition in transitions] == [
        "submitted",
        "paused while queued",
        "resumed",
        "a place is free",
        "stop requested",
    ]
    assert all(set(transition) == {"from", "to", "at", "actor", "reason"} for transition in transitions)
    assert all(transition["at"].endswith("Z") for transition in transitions)
    times = [transition["at"] for transition in transitions]
    assert times == sorted(times)


def test_transitions_come_in_pages(client: APIClient, make_session: MakeSession) -> None:
    session = make_session()
    for action in (Action.PAUSE, Action.RESUME) * 3:
        call(client, session.session_id, action)
    url = f"{BASE}/{session}/transitions"
    everything = client.get(url).json()
    pages = []
    answer = client.get(url, {"limit": 4})
    while True:
        pages.append(answer.json())
        if "Link" not in answer.headers:
            break
        answer = client.get(answer.headers["Link"].split(">")[0].removeprefix("<"))
    assert [len(page) for page in pages] == [4, 2]
    assert list(itertools.chain(*pages)) == everything
    assert client.get(url, {"cursor": "x"}).status_code == 400


@pytest.mark.parametrize("session_id", ["sess_000000000000", "x", "sess_%00", "sess_é", "a" * 5000])
@pytest.mark.parametrize("call_name", ["pause", "resume", "kill", "restart", "transitions"])
def test_an_unknown_session_is_a_404(client: APIClient, session_id: str, call_name: str) -> None:
    method = client.get if call_name == "transitions" else client.post
    answer = method(f"{BASE}/{session_id}/{call_name}")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "NOT_FOUND"


@pytest.mark.parametrize("path", ["pause", "resume", "stop", "kill", "restart"])
def test_looking_changes_nothing(client: APIClient, make_session: MakeSession, path: str) -> None:
    session = make_session()
    assert client.get(f"{BASE}/{session}/{path}").status_code == 405
    session.refresh_from_db()
    assert session.state == State.QUEUED


# --- Many at once ---


def bulk(client: APIClient, action: str, ids: list[str]) -> list[dict[str, Any]]:
    answer = client.post(f"{BASE}/bulk", {"action": action, "session_ids": ids}, format="json")
    assert answer.status_code == 200, answer.json()
    results: list[dict[str, Any]] = answer.json()
    return results


@pytest.mark.parametrize("action", ASK)
def test_of_many_each_is_answered_as_if_it_were_alone(
    client: APIClient, make_session: MakeSession, action: Action
) -> None:
    def sessions() -> list[TrainingSession]:
        running = [make_session(state=State.RUNNING, wish=wish) for wish in Wish]
        return [make_session(state=state) for state in State] + running

    alone, together = sessions(), sessions()
    answers = [call(client, session.session_id, action) for session in alone]
    ids = [session.session_id for session in together]
    results = bulk(client, action, [*ids[:3], "sess_000000000000", "", "é", *ids, ids[0]])
    unknown = [result for result in results if result["session_id"] not in ids]
    assert [result["session_id"] for result in unknown] == ["sess_000000000000", "", "é"]
    assert all(not result["done"] and result["error"]["code"] == "NOT_FOUND" for result in unknown)
    results = [result for result in results if result["session_id"] in ids]
    assert [result["session_id"] for result in results] == ids
    for answer, result, one, other in zip(answers, results, alone, together, strict=True):
        one.refresh_from_db()
        other.refresh_from_db()
        assert (one.state, one.wish) == (other.state, other.wish)
        assert result["done"] == (answer.status_code == 200)
        if action == Action.CANCEL and result["done"]:
            continue  # which has words of its own
        if action == Action.RESUME and one.state == State.QUEUED:
            continue  # at different positions
        body = answer.json()
        expected = (body.get("message"), None) if result["done"] else (body["detail"], body["error"])
        assert (result["message"].replace(str(other), str(one)), None) == (expected[0], None)
        assert (result["error"] or {}).get("details") == (expected[1] or {}).get("details")


def test_a_thousand_are_stopped_by_one_call(client: APIClient, make_session: MakeSession) -> None:
    row = make_session()
    rows = [
        TrainingSession(session_id=f"sess_{number:012x}", config=row.config, dataset=row.dataset, rank=number)
        for number in range(999)
    ]
    TrainingSession.objects.bulk_create(rows)
    ids = [str(row), *map(str, rows)]
    assert all(result["done"] for result in bulk(client, "stop", ids))
    assert not TrainingSession.objects.exclude(state=State.STOPPED).exists()
    answer = client.post(f"{BASE}/bulk", {"action": "stop", "session_ids": [*ids, "x"]}, format="json")
    assert answer.json()["error"]["details"].keys() == {"session_ids"}


ID = "sess_000000000000"
NO_BULK: list[tuple[Any, set[str]]] = [
    ([], {"non_field_errors"}),
    (None, {"non_field_errors"}),
    ("stop", {"non_field_errors"}),
    (7, {"non_field_errors"}),
    ({}, {"action", "session_ids"}),
    ({"action": "stop"}, {"session_ids"}),
    ({"session_ids": [ID]}, {"action"}),
    ({"action": "restart", "session_ids": [ID]}, {"action"}),
    ({"action": "Stop", "session_ids": [ID]}, {"action"}),
    ({"action": "stop\n", "session_ids": [ID]}, {"action"}),
    ({"action": True, "session_ids": [ID]}, {"action"}),
    ({"action": ["stop"], "session_ids": [ID]}, {"action"}),
    ({"action": {"stop": 1}, "session_ids": [ID]}, {"action"}),
    ({"action": None, "session_ids": [ID]}, {"action"}),
    ({"action": "stop", "session_ids": []}, {"session_ids"}),
    ({"action": "stop", "session_ids": None}, {"session_ids"}),
    ({"action": "stop", "session_ids": ID}, {"session_ids"}),
    ({"action": "stop", "session_ids": {ID: ID}}, {"session_ids"}),
    ({"action": "stop", "session_ids": [True]}, {"session_ids"}),
    ({"action": "stop", "session_ids": [1]}, {"session_ids"}),
    ({"action": "stop", "session_ids": [[ID]]}, {"session_ids"}),
    ({"action": "stop", "session_ids": [None]}, {"session_ids"}),
    ({"action": "stop", "session_ids": [ID] * 1001}, {"session_ids"}),
    ({"action": "stop", "session_ids": [ID], "force": True, "id": 1}, {"force", "id"}),
]


@pytest.mark.parametrize(("body", "named"), NO_BULK)
def test_a_bad_bulk_request_is_refused_and_changes_nothing(
    client: APIClient, make_session: MakeSession, body: Any, named: set[str]
) -> None:
    make_session(session_id=ID)
    answer = client.post(f"{BASE}/bulk", json.dumps(body), content_type="application/json")
    assert answer.status_code == 400
    assert set(answer.json()["error"]["details"]) == named
    assert TrainingSession.objects.get().state == State.QUEUED


# --- Any order of anything ---


class Steering(RuleBasedStateMachine):
    """A session that is steered, worked on by a supervisor, and trained by a trainer that is played."""

    client: APIClient

    @initialize()
    def start(self) -> None:
        TrainingSession.objects.all().delete()
        self.run: Run | None = None
        self.epoch = 0
        self.session_id = self.client.post(f"{BASE}/start", CONFIG, format="json").json()["session_id"]

    def status(self) -> Any:
        answer = self.client.get(f"{BASE}/{self.session_id}/status")
        assert answer.status_code == 200
        return answer.json()

    def stored(self) -> Any:
        session = TrainingSession.objects.get(session_id=self.session_id)
        return session.state, session.wish, session.wished_by, session.transitions.count()

    @rule(action=st.sampled_from(list(ASK)))
    def ask(self, action: Action) -> None:
        allowed, before = self.status()["allowed_actions"], self.stored()
        answer = call(self.client, self.session_id, action)
        after = self.stored()
        if action in allowed:
            assert answer.status_code == 200, answer.json()
            assert before != after
            assert action not in self.status()["allowed_actions"]
        else:
            assert before == after
            if answer.status_code != 200:
                assert answer.status_code == 409
                details = answer.json()["error"]["details"]
                assert details == {"state": before[0], "allowed_actions": allowed}

    @precondition(lambda self: self.run is None and self.stored()[0] == State.QUEUED)
    @rule()
    def claim(self) -> None:
        self.run = Run()

    @precondition(lambda self: self.run is not None)
    @rule(end=st.sampled_from(["obey", "die", "complete", "fail"]))
    def end(self, end: str) -> None:
        """The trainer ends in some way, and the session with it, or its place is free for another one."""
        assert self.run is not None
        wished = Wish(self.stored()[1])
        if end == "obey" and not wished:
            return  # its successor would be a real process
        ends: dict[str, Callable[[], None]]
        ends = {"obey": self.run.obey_stop, "die": self.run.die, "complete": self.run.complete, "fail": self.fail}
        ends[end]()
        self.run.__exit__(None, None, None)
        self.run = None
        aims = {Wish.PAUSE: "paused", Wish.REQUEUE: "queued", Wish.STOP: "stopped", Wish.KILL: "stopped"}
        expected = {"complete": "completed", "fail": "failed"}.get(end) or aims.get(wished, "failed")
        assert self.stored()[0] == expected

    def fail(self) -> None:
        assert self.run is not None
        self.run.fail("bad_dataset", "The data is no good.")

    @precondition(lambda self: self.run is not None)
    @rule()
    def train(self) -> None:
        assert self.run is not None
        if self.epoch < self.run.session.total_epochs:
            self.epoch += 1
            self.run.journal.epoch(self.epoch, loss=1.0, accuracy=0.5, val_loss=1.0, val_accuracy=0.5)
        self.run.poll()

    @precondition(lambda self: self.run is not None)
    @rule()
    def drain(self) -> None:
        TrainingSession.objects.drain(by="operator")
        assert self.client.post(f"{BASE}/queue/resume").status_code == 200

    @invariant()
    def what_is_shown_agrees_with_itself(self) -> None:
        if not hasattr(self, "session_id"):
            return
        session = TrainingSession.objects.get(session_id=self.session_id)
        status, state = self.status(), session.state
        assert status["state"] == state
        assert (self.run is not None) == (state == "running")
        steps = list(session.transitions.order_by("id").values_list("from_state", "to_state"))
        assert all(before[1] == after[0] for before, after in itertools.pairwise(steps))
        assert all(target in TRANSITIONS[State(origin)] for origin, target in steps[1:])
        assert (steps[0][0], steps[-1][1]) == ("", state)
        assert (status["health"] is not None) == (state == "running")
        assert status["queue_position"] == (1 if state == "queued" else None)
        assert (status["waiting_reason"] is not None) == (state == "queued")
        assert status["wish"] is None or state == "running"
        assert (status["end_time"] is not None) == (state in ("completed", "failed", "stopped"))
        assert "restart" in status["allowed_actions"]
        epochs = list(session.metrics.order_by("epoch").values_list("epoch", flat=True))
        assert epochs == list(range(1, (status["current_epoch"] or 0) + 1))

    def teardown(self) -> None:
        run: Run | None = getattr(self, "run", None)
        if run is not None:
            run.__exit__(None, None, None)


def test_whatever_is_asked_in_whatever_order(client: APIClient, make_session: MakeSession, settings: Settings) -> None:
    settings.CRASH_ATTEMPTS = 1
    Steering.client = client
    run_state_machine_as_test(
        Steering,
        settings=hypothesis_settings(hypothesis_settings(), max_examples=20, stateful_step_count=15),
    )


@pytest.mark.django_db(transaction=True)
def test_many_who_want_different_things_at_once(make_session: MakeSession) -> None:
    """Everybody gets an answer, and what is stored is one chain of transitions."""

    def asker(action: Action) -> Any:
        def ask() -> None:
            for _ in range(5):
                with contextlib.suppress(IllegalTransition):
                    ASK[action](TrainingSession.objects.latest("id"), "test")

        return ask

    def claim() -> None:
        TrainingSession.objects.claim_next(by="test")

    for _ in range(5):
        session = make_session()
        at_once(*map(asker, (Action.PAUSE, Action.RESUME) * 3), claim, asker(Action.RESUME))
        at_once(*map(asker, (Action.STOP, Action.PAUSE, Action.RESUME, Action.KILL) * 2))
        session.refresh_from_db()
        assert session.state == State.STOPPED or session.is_bound_for(State.STOPPED)
        steps = list(session.transitions.order_by("id").values_list("from_state", "to_state"))
        assert all(before[1] == after[0] for before, after in itertools.pairwise(steps))
        assert steps[0][0] == State.QUEUED
        assert steps[-1][1] == session.state
        TrainingSession.objects.update(state=State.STOPPED, wish=Wish.NONE)
