"""What happens is told once, in order, from wherever a client was."""

from collections.abc import Sequence
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st
from rest_framework.test import APIClient

from authkeys.models import APIKey
from monitoring.models import Sample
from tests.event_stream import Told, read_events
from tests.training.conftest import MakeSession
from training import events
from training.events import Position
from training.ingest import STORE_POINT, execute_each, ingest
from training.journal import JournalWriter
from training.models import TrainingSession
from training.state import State

BASE = "/api/v1/training"
AT = "2026-01-01 00:00:00"

pytestmark = pytest.mark.django_db


def ask(client: APIClient, session: TrainingSession | None = None, last: str | None = None, **query: str) -> list[Told]:
    """All events until now."""
    path = f"{BASE}/{session.session_id}/events" if session else "/api/v1/events"
    headers = {} if last is None else {"Last-Event-ID": last}
    answer = client.get(path, {"follow": "false", **query}, headers=headers)
    assert answer.status_code == 200, answer.content
    assert answer["Content-Type"] == "text/event-stream"
    assert answer["Cache-Control"] == "no-store"
    return list(read_events(b"".join(answer).decode().split("\n")))


def names(told: Sequence[Told]) -> list[str]:
    return [each.name for each in told]


def take_sample() -> Sample:
    return Sample.objects.create(
        cpu_usage_percent=50.0, memory_used_bytes=1, memory_total_bytes=2, disk_free_bytes=1, disk_total_bytes=2
    )


def test_a_session_is_told_from_its_beginning(client: APIClient, make_session: MakeSession) -> None:
    session, other = make_session(), make_session()
    session.move_to(State.RUNNING, by="worker", reason="claimed", started_at=timezone.now())
    session.metrics.create(epoch=1, loss=0.5, timestamp=timezone.now())
    other.metrics.create(epoch=1, loss=0.1, timestamp=timezone.now())
    execute_each(STORE_POINT, [(session.pk, "train/loss", step, 0.5, AT) for step in (1, 2)])
    execute_each(STORE_POINT, [(other.pk, "train/loss", 1, 0.5, AT), (session.pk, "lr", 1, None, AT)])
    session.log("INFO", "one line\nand another")
    take_sample()
    told = ask(client, session, replay="true")
    assert names(told) == ["status", "transition", "metric", "points", "log", "resources"]
    status, transition, metric, points, log, resources = (each.data for each in told)
    assert status == client.get(f"{BASE}/{session.session_id}/status").json()
    assert {"session_id": session.session_id, **client.get(f"{BASE}/{session.session_id}/transitions").json()[-1]} == (
        transition
    )
    assert metric == client.get(f"{BASE}/{session.session_id}/metrics").json()
    assert points["series"] == {
        "train/loss": {"steps": [1, 2], "values": [0.5, 0.5]},
        "lr": {"steps": [1], "values": [None]},
    }
    assert log == client.get(f"{BASE}/{session.session_id}/logs").json()[-1]
    assert resources["cpu_usage_percent"] == 50.0
    assert resources["gpus"] == []


def test_without_replay_it_begins_now(client: APIClient, make_session: MakeSession) -> None:
    session = make_session()
    session.log("INFO", "before")
    told = ask(client, session)
    assert names(told) == ["status"]
    session.log("INFO", "after")
    assert [each.data["message"] for each in ask(client, session, told[-1].id)[1:]] == ["after"]
    # The header goes before the wish to begin anew, since a browser sends both when it comes back.
    assert [each.data["message"] for each in ask(client, session, told[-1].id, replay="true")[1:]] == ["after"]


def test_all_sessions_are_told_of_by_their_states(client: APIClient, make_session: MakeSession) -> None:
    running, queued = make_session(state=State.RUNNING), make_session()
    queued.log("INFO", "not told")
    queued.cancel(by="somebody")
    told = ask(client, replay="true")
    assert [(each.name, each.data["session_id"]) for each in told] == [
        ("status", running.session_id),
        ("transition", queued.session_id),
        ("status", queued.session_id),
    ]
    assert told[-1].data["state"] == "stopped"


def test_the_machine_is_for_who_may_see_it(stranger: APIClient, make_session: MakeSession) -> None:
    session = make_session()
    take_sample()
    key = APIKey.objects.create_key("reader", scopes=["sessions:read"])[1]
    reader = APIClient(HTTP_X_API_KEY=key)
    assert "resources" not in names(ask(reader, session, replay="true"))
    assert "resources" not in names(ask(reader, replay="true"))
    blind = APIClient(HTTP_X_API_KEY=APIKey.objects.create_key("blind", scopes=["system:read"])[1])
    for path in ("/api/v1/events", f"{BASE}/{session.session_id}/events"):
        assert stranger.get(path).status_code == 401
        assert blind.get(path).status_code == 403


def test_what_is_done_again_is_told_again(client: APIClient, make_session: MakeSession) -> None:
    session = make_session(state=State.RUNNING, attempt=1)
    session.directory.create()
    journal = JournalWriter(session.directory.events, 1)
    journal.epoch(1, 0.5, None, None, None)
    journal.points([1], {"lr": [0.1]})
    ingest(session)
    last = ask(client, session)[-1].id
    TrainingSession.objects.filter(pk=session.pk).update(attempt=2)
    session.refresh_from_db()
    journal = JournalWriter(session.directory.events, 2)
    journal.epoch(1, 0.25, None, None, None)
    journal.points([1], {"lr": [0.2]})
    ingest(session)
    told = {each.name: each.data for each in ask(client, session, last)}
    assert told["metric"]["loss"] == 0.25
    assert told["points"]["series"] == {"lr": {"steps": [1], "values": [0.2]}}
    assert session.metrics.count() == session.points.count() == 1


@settings(max_examples=30)
@given(
    deeds=st.lists(st.tuples(st.sampled_from(["log", "metric", "points", "sample"]), st.booleans()), max_size=30),
    data=st.data(),
)
def test_wherever_a_client_left_off_it_misses_nothing_and_gets_nothing_twice(
    make_session: MakeSession, small_pages: None, deeds: list[tuple[str, bool]], data: st.DataObject
) -> None:
    """Pages are small here, so that what has happened takes many of them."""
    ours, other = make_session(), make_session()
    client = APIClient(HTTP_X_API_KEY=APIKey.objects.create_key("reader", scopes=["admin"])[1])
    begin = str(Position.newest())
    for number, (deed, is_ours) in enumerate(deeds):
        session = ours if is_ours else other
        if deed == "log":
            session.log("INFO", str(number))
        elif deed == "metric":
            session.metrics.create(epoch=number + 1, loss=number, timestamp=timezone.now())
        elif deed == "points":
            execute_each(STORE_POINT, [(session.pk, "loss", number, number, AT)])
        else:
            take_sample()
    whole = ask(client, ours, begin)[1:]
    assert what_was_told(whole) == sorted(
        (deed, number) for number, (deed, is_ours) in enumerate(deeds) if is_ours and deed != "sample"
    )
    assert names(whole).count("resources") == sum(deed == "sample" for deed, _ in deeds)
    if whole:
        left_at = data.draw(st.integers(0, len(whole) - 1))
        rest = ask(client, ours, whole[left_at].id)[1:]
        # Points that come after are told in other bundles.
        assert what_was_told(whole[: left_at + 1] + rest) == what_was_told(whole)


def what_was_told(told: list[Told]) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    for each in told:
        if each.name == "log":
            found.append(("log", int(each.data["message"])))
        elif each.name == "metric":
            found.append(("metric", each.data["epoch"] - 1))
        elif each.name == "points":
            found += [("points", step) for step in each.data["series"]["loss"]["steps"]]
    return sorted(found)


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "PAGE", 2)
    monkeypatch.setattr(events, "WINDOW", 3)


@pytest.mark.parametrize(
    ("query", "last", "field"),
    [
        ({"follow": "yes"}, None, "follow"),
        ({"follow": ""}, None, "follow"),
        ({"replay": "1"}, None, "replay"),
        ({}, "", "Last-Event-ID"),
        ({}, "5", "Last-Event-ID"),
        ({}, "1-2-3-4-\u0665", "Last-Event-ID"),
        ({}, "1-2-3-4-5-6", "Last-Event-ID"),
        ({}, "1-2-3-4--5", "Last-Event-ID"),
        ({}, f"1-2-3-4-{10**19}", "Last-Event-ID"),
    ],
)
@pytest.mark.parametrize("of_one", [True, False])
def test_what_makes_no_sense_is_refused(
    client: APIClient, make_session: MakeSession, query: dict[str, str], last: str | None, field: str, of_one: bool
) -> None:
    path = f"{BASE}/{make_session().session_id}/events" if of_one else "/api/v1/events"
    answer = client.get(path, query, headers={} if last is None else {"Last-Event-ID": last})
    assert answer.status_code == 400
    assert list(answer.json()["error"]["details"]) == [field]


def test_an_id_from_the_future_is_taken_for_now(client: APIClient, make_session: MakeSession) -> None:
    """As after a database was put back."""
    session = make_session()
    future = "-".join(["9999999999999999999"] * 5)
    (status,) = ask(client, session, future)
    assert status.id == str(Position.newest())


def test_only_our_web_server_lets_wait(client: APIClient, make_session: MakeSession) -> None:
    answer = client.get(f"{BASE}/{make_session().session_id}/events")
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "STREAMS_UNAVAILABLE"


def test_head_and_other_sessions(client: APIClient, make_session: MakeSession) -> None:
    answer = client.head(f"{BASE}/{make_session().session_id}/events")
    assert answer.status_code == 200
    assert b"".join(answer) == b""
    assert client.get(f"{BASE}/sess_000000000000/events").status_code == 404
    assert client.post("/api/v1/events").status_code == 405


def test_whatever_a_client_accepts_it_gets_events(client: APIClient) -> None:
    for accept in ("text/event-stream", "*/*", "application/json"):
        answer: Any = client.get("/api/v1/events?follow=false", headers={"Accept": accept})
        assert answer["Content-Type"] == "text/event-stream"
