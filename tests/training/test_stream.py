"""Who listens is told all, however slowly he takes it, and parted with when he has gone or may be told no more."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from django.db import OperationalError, connection
from pytest_django import Settings

from tests.event_stream import Told, read_events
from tests.training.conftest import MakeSession
from training import stream
from training.events import Interest, Position
from training.listener import Listener
from training.models import TrainingSession
from training.state import State
from training.stream import Audience, Broadcaster, TooManyStreams, take_turn_whatever_happens

pytestmark = pytest.mark.django_db

KINDS = ("transition", "metric", "points", "log", "resources")


class Client:
    """The other end of a listener's connection."""

    def __init__(self, session: TrainingSession | None, stack: ExitStack, *, is_chunked: bool = False) -> None:
        theirs, self.socket = (stack.enter_context(end) for end in socket.socketpair())
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # so that a slow one is soon seen to be
        self.socket.setblocking(False)
        self.may_go_on = True
        interest = Interest(KINDS if session else ("transition",), session.pk if session else None)
        self.listener = Listener(theirs, interest, Position.newest(), lambda: self.may_go_on, is_chunked)
        self.text = b""
        self.has_ended = False

    def read(self) -> None:
        try:
            while data := self.socket.recv(65536):
                self.text += data
            self.has_ended = True
        except BlockingIOError:
            pass
        except ConnectionResetError:
            self.has_ended = True

    def told(self) -> list[Told]:
        self.read()
        return list(read_events(self.text.decode().split("\n")))

    def messages(self) -> list[str]:
        return [each.data["message"] for each in self.told() if each.name == "log"]


Connect = Callable[..., Client]


@pytest.fixture
def parted() -> list[None]:
    """One for each listener who has gone."""
    return []


@pytest.fixture
def audience(monkeypatch: pytest.MonkeyPatch, parted: list[None]) -> Iterator[Audience]:
    monkeypatch.setattr(stream, "TURN_SECONDS", 0.0)
    audience = Audience(lambda: parted.append(None))
    yield audience
    audience.dismiss()


@pytest.fixture
def connect(audience: Audience) -> Iterator[Connect]:
    with ExitStack() as stack:

        def make(session: TrainingSession | None = None, **options: bool) -> Client:
            client = Client(session, stack, **options)
            audience.admit([client.listener])
            return client

        yield make


def test_each_is_told_of_his_session_and_its_status_first(
    audience: Audience, connect: Connect, make_session: MakeSession
) -> None:
    first, second = make_session(), make_session()
    one, two, both = connect(first), connect(second), connect()
    audience.take_turn()
    first.log("INFO", "of the first")
    second.log("INFO", "of the second")
    first.cancel(by="test")
    audience.take_turn()
    assert [each.name for each in one.told()] == ["status", "transition", "log", "status"]
    assert (one.messages(), two.messages()) == (["of the first"], ["of the second"])
    assert [each.data["state"] for each in one.told() if each.name == "status"] == ["queued", "stopped"]
    assert [(each.name, each.data["session_id"]) for each in both.told()] == [
        ("transition", first.session_id),
        ("status", first.session_id),
    ]


def test_a_status_is_told_when_it_has_changed(
    audience: Audience, connect: Connect, make_session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "STATUS_SECONDS", 0.0)
    session = make_session(state=State.RUNNING, steps_planned=10)
    client, of_all = connect(session), connect()
    for steps in (1, 1, 2):
        TrainingSession.objects.filter(pk=session.pk).update(steps_done=steps)
        audience.take_turn()
        audience.take_turn()
    assert [each.data["steps_done"] for each in client.told()] == [1, 2]
    TrainingSession.objects.filter(pk=session.pk).update(state=State.COMPLETED)
    for _ in range(3):
        audience.take_turn()
    assert [each.data["state"] for each in of_all.told()] == ["running", "running", "completed"]


def test_who_is_slow_misses_nothing(audience: Audience, connect: Connect, make_session: MakeSession) -> None:
    session = make_session()
    slow, quick = connect(session), connect(session)
    expected = []
    for number in range(300):
        expected.append(f"{number} {'x' * 500}")
        session.log("INFO", expected[-1])
        if number % 50 == 0:
            audience.take_turn()
            quick.read()
    assert slow.listener.is_behind
    deadline = time.monotonic() + 20
    while (slow.messages(), quick.messages()) != (expected, expected):
        audience.take_turn()
        assert time.monotonic() < deadline


def test_chunks_are_whole(audience: Audience, connect: Connect, make_session: MakeSession) -> None:
    session = make_session()
    client = connect(session, is_chunked=True)
    audience.take_turn()
    session.log("INFO", "ä line")
    audience.take_turn()
    audience.dismiss()
    client.read()
    body, rest = b"", client.text
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        body, end, rest = body + rest[: int(size, 16)], rest[int(size, 16) :][:2], rest[int(size, 16) + 2 :]
        assert end == b"\r\n"
    assert size == b"0"
    assert [each.name for each in read_events(body.decode().split("\n"))] == ["status", "log"]


def go(client: Client) -> None:
    client.socket.close()


def go_with_a_reset(client: Client) -> None:
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    client.socket.close()


def speak(client: Client) -> None:
    client.socket.send(b"GET / HTTP/1.1\r\n")


def lose_the_key(client: Client) -> None:
    client.may_go_on = False


@pytest.mark.parametrize("deed", [go, go_with_a_reset, speak, lose_the_key])
def test_who_has_gone_is_parted_with(
    audience: Audience,
    connect: Connect,
    make_session: MakeSession,
    monkeypatch: pytest.MonkeyPatch,
    parted: list[None],
    deed: Callable[[Client], None],
) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT_SECONDS", 0.0)
    session = make_session()
    client, other = connect(session), connect(session)
    audience.take_turn()
    deed(client)
    audience._heartbeats_due_at = 0.0
    audience.take_turn()
    assert (len(audience), len(parted)) == (1, 1)
    assert client.listener.connection.fileno() == -1
    session.log("INFO", "goes on")
    audience.take_turn()
    assert other.messages() == ["goes on"]
    assert b": still here" in other.text


def test_who_takes_nothing_any_more_is_parted_with(
    audience: Audience, connect: Connect, make_session: MakeSession, monkeypatch: pytest.MonkeyPatch, parted: list[None]
) -> None:
    monkeypatch.setattr(stream, "STALLED_SECONDS", 0.1)
    session = make_session()
    connect(session)
    for _ in range(100):
        session.log("INFO", "x" * 5000)
    audience.take_turn()
    assert parted == []
    time.sleep(0.15)
    audience._heartbeats_due_at = 0.0
    audience.take_turn()
    assert len(parted) == 1


def test_a_database_that_cannot_be_asked_costs_nobody_anything(
    audience: Audience, connect: Connect, make_session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = make_session()
    client = connect(session)
    audience.take_turn()
    session.log("INFO", "told later")

    def fail() -> Position:
        raise OperationalError("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(stream, "PAUSE_AFTER_ERROR_SECONDS", 0.0)
        patch.setattr(connection, "close", lambda: None)  # the test's own transaction is in it
        patch.setattr(Position, "newest", fail)
        take_turn_whatever_happens(audience)
    assert client.messages() == []
    take_turn_whatever_happens(audience)
    assert client.messages() == ["told later"]


def test_there_are_so_many_places(settings: Settings) -> None:
    settings.MAX_EVENT_STREAMS = 2
    broadcaster = Broadcaster()
    broadcaster.take_place()
    broadcaster.take_place()
    with pytest.raises(TooManyStreams):
        broadcaster.take_place()
    broadcaster.give_place_back()
    broadcaster.take_place()
