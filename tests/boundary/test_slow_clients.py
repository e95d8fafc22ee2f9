"""A client that sends slowly, or not at all, holds a thread for a bounded time."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from servermgmt import webserver
from servermgmt.webserver import HeadTooSlow, ImpatientSocket

Pair = tuple[ImpatientSocket, socket.socket]


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    """A server's socket with little patience, and its client's."""
    monkeypatch.setattr(webserver, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(webserver, "IDLE_SECONDS", 0.3)
    server, client = socket.socketpair()
    with ImpatientSocket.take_over(server) as impatient, client:
        yield impatient, client


def receive_all(server: ImpatientSocket) -> None:
    while server.recv(100):
        pass


def trickle(client: socket.socket, size: int, ends: float) -> threading.Thread:
    """Send so many bytes every 50 ms."""

    def send() -> None:
        while time.monotonic() < ends:
            client.sendall(b"x" * size)
            time.sleep(0.05)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


def test_what_is_sent_in_time_arrives(pair: Pair) -> None:
    server, client = pair
    server.expect_head()
    client.sendall(b"head")
    assert server.recv(100) == b"head"
    server.expect_body()
    client.sendall(b"body")
    assert server.recv(100) == b"body"
    assert server.gettimeout() == webserver.IDLE_SECONDS  # for the answer


def test_a_head_that_stops_is_too_slow(pair: Pair) -> None:
    server, client = pair
    server.expect_head()
    client.sendall(b"GET / HTTP")
    assert server.recv(100)
    with pytest.raises(HeadTooSlow):
        server.recv(100)


def test_a_head_that_trickles_is_too_slow(pair: Pair) -> None:
    server, client = pair
    server.expect_head()
    began = time.monotonic()
    thread = trickle(client, 1, began + 1)
    with pytest.raises(HeadTooSlow):
        receive_all(server)
    assert time.monotonic() - began < 1
    thread.join()


def test_a_body_that_stops_ends_early(pair: Pair) -> None:
    server, client = pair
    server.expect_body()
    client.sendall(b"{")
    assert server.recv(100)
    with pytest.raises(TimeoutError):
        server.recv(100)


def test_a_body_that_trickles_ends_early(pair: Pair) -> None:
    server, client = pair
    server.expect_body()
    began = time.monotonic()
    thread = trickle(client, 1, began + 1)
    with pytest.raises(TimeoutError):
        receive_all(server)
    assert time.monotonic() - began < 1
    thread.join()


def test_a_body_that_comes_slowly_but_steadily_is_read(pair: Pair) -> None:
    server, client = pair
    server.expect_body()
    thread = trickle(client, 100, time.monotonic() + 1)  # 2,000 a second
    received = 0
    while received < 1900:
        received += len(server.recv(100))
    thread.join()


def test_a_timeout_that_is_shorter_counts(pair: Pair) -> None:
    server, _ = pair
    server.expect_body()
    server.settimeout(0.01)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        server.recv(100)
    assert time.monotonic() - began < 0.2
    assert server.gettimeout() == 0.01
