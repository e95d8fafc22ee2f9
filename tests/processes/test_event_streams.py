"""Event streams of the real server: of a real session, across the death of the web process, and bounded."""

import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.event_stream import Told, read_events
from tests.processes.server import KEY, Server, wait_for

pytestmark = pytest.mark.slow


class Follower:
    """A client that reads an event stream, and comes back when it ends, as browsers do."""

    def __init__(self, server: Server, path: str, **query: str) -> None:
        self.server, self.path, self.query = server, path, query
        self.told: list[Told] = []
        self.connections = 0
        self.endings: list[str] = []  # how each connection ended
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self.follow)

    def __enter__(self) -> "Follower":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.is_over.set()
        self.thread.join(30)
        assert not self.thread.is_alive()

    def follow(self) -> None:
        with httpx.Client(base_url=self.server.client.base_url, headers={"X-API-Key": KEY}, timeout=20) as client:
            while not self.is_over.wait(0.05):
                try:
                    self.read(client)
                    self.endings.append("whole")
                except httpx.TransportError as error:
                    self.endings.append(type(error).__name__)

    def read(self, client: httpx.Client) -> None:
        headers = {"Last-Event-ID": self.told[-1].id} if self.told else {}
        with client.stream("GET", self.path, params=self.query, headers=headers) as answer:
            assert answer.status_code == 200, answer.read()
            self.connections += 1
            for event in read_events(answer.iter_lines()):
                self.told.append(event)
                if self.is_over.is_set():
                    return

    def data_of(self, name: str) -> list[Any]:
        return [each.data for each in self.told if each.name == name]


def sockets(server: Server) -> int:
    """How many file descriptors of the web process that serves are sockets."""
    (worker,) = psutil.Process(server.processes["web"].pid).children()
    found = 0
    for descriptor in Path(f"/proc/{worker.pid}/fd").iterdir():
        with suppress(OSError):
            found += str(descriptor.readlink()).startswith("socket:")
    return found


def test_a_session_is_told_as_it_happens_whatever_becomes_of_the_web_process(server: Server) -> None:
    server.start_web()
    server.start_worker()
    server.start_sampler()
    server.upload_digits()
    session_id = server.submit(epochs=300, seed=1)
    path = f"/training/{session_id}/events"
    with Follower(server, path, replay="true") as follower, Follower(server, "/events") as of_all:
        for epoch, end in ((10, server.kill), (100, server.stop)):
            wait_for(lambda epoch=epoch: len(follower.data_of("metric")) >= epoch, 60, f"epoch {epoch}")  # type: ignore[misc]
            end("web")
            server.start_web()
        server.wait_for_end(session_id)
        for each in (follower, of_all):
            wait_for(lambda each=each: "completed" in [one["to"] for one in each.data_of("transition")])  # type: ignore[misc]
        wait_for(lambda: follower.data_of("status")[-1]["state"] == "completed")
        wait_for(lambda: of_all.data_of("status")[-1]["state"] == "completed")
        wait_for(lambda: follower.data_of("resources"))
        wait_for(lambda: follower.connections >= 3)
    assert "whole" in follower.endings  # when the web process was asked to end
    history = server.get(f"/training/{session_id}/history")
    assert follower.data_of("metric") == history
    assert len(history) == 300
    assert follower.data_of("log") == server.get(f"/training/{session_id}/logs?limit=10000")
    transitions = [
        {name: value for name, value in told.items() if name != "session_id"} for told in follower.data_of("transition")
    ]
    assert transitions == server.get(f"/training/{session_id}/transitions")
    series = {each["name"]: each for each in server.get(f"/training/{session_id}/series?points=10000")}
    for name, stored in series.items():
        told = [points["series"][name] for points in follower.data_of("points") if name in points["series"]]
        assert [step for each in told for step in each["steps"]] == stored["steps"]
        assert [value for each in told for value in each["values"]] == stored["values"]


@pytest.mark.parametrize("server", [{"MAX_EVENT_STREAMS": "300"}], indirect=True)
def test_many_who_vanish_leave_nothing_behind(server: Server) -> None:
    server.start_web()
    before = sockets(server)
    with ExitStack() as stack:
        clients = [open_stream(server, stack) for _ in range(200)]
        assert sockets(server) >= 200
        assert server.is_healthy()
        for client in clients:
            client.close()
        wait_for(lambda: sockets(server) <= before, 20, "the end of all streams")
    follow_one_more(server)


@pytest.mark.parametrize("server", [{"MAX_EVENT_STREAMS": "3"}], indirect=True)
def test_there_are_only_so_many(server: Server) -> None:
    server.start_web()
    with ExitStack() as stack:
        first, *_ = (open_stream(server, stack) for _ in range(3))
        answer = server.client.get("/events")
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "TOO_MANY_STREAMS"
        assert int(answer.headers["Retry-After"]) >= 1
        assert server.client.get("/events", params={"follow": "false"}).status_code == 200
        first.close()
        wait_for(lambda: succeeds(lambda: follow_one_more(server)), 10, "the end of the first")


def open_stream(server: Server, stack: ExitStack) -> socket.socket:
    """The connection of a stream that has begun."""
    client = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=20))
    client.sendall(f"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {KEY}\r\n\r\n".encode())
    lines = client.makefile("rb")
    assert next(lines).startswith(b"HTTP/1.1 200")
    assert b"retry: 1000\n" in lines
    return client


def follow_one_more(server: Server) -> None:
    with ExitStack() as stack:
        open_stream(server, stack)


def succeeds(deed: Callable[[], None]) -> bool:
    with suppress(AssertionError):
        deed()
        return True
    return False


def test_who_lost_his_key_hears_no_more(server: Server) -> None:
    server.start_web()
    made = server.post("/keys", json={"name": "reader", "scopes": ["sessions:read"]})
    headers = {"X-API-Key": made["key"]}
    with httpx.stream("GET", f"{server.client.base_url}events", headers=headers, timeout=30) as answer:
        lines = answer.iter_lines()
        assert next(lines) == "retry: 1000"
        server.client.delete(f"/keys/{made['id']}").raise_for_status()
        assert [line for line in lines if line.startswith("data")] == []  # and then it ends
