"""A session changes hands whole, or not at all."""

import os
import socket
import threading
import time
from pathlib import Path

import pytest

from training import handover

ORDER = handover.Order("/sessions/sess_1", 2)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Far longer than the address of a Unix socket may be."""
    folder = tmp_path / ("long" * 40)
    folder.mkdir()
    return folder / "1.sock"


def test_the_order_and_the_descriptors_arrive_and_nobody_else_is_served(path: Path) -> None:
    listener = handover.bind(path)
    received = []

    def serve() -> None:
        received.append(handover.receive(handover.accept(listener, path), descriptor_count=1))

    server = threading.Thread(target=serve)
    server.start()
    reading, writing = os.pipe()
    deadline = time.monotonic() + 10
    while (pid := handover.give(path, ORDER, [writing])) is None:
        assert time.monotonic() < deadline
    os.close(writing)
    server.join()
    assert pid == os.getpid()
    assert handover.give(path, ORDER, []) is None
    assert received[0] is not None
    order, (descriptor,) = received[0]
    assert order == ORDER
    os.write(descriptor, b"the same pipe")
    os.close(descriptor)
    assert os.read(reading, 100) == b"the same pipe"
    os.close(reading)


def test_who_does_not_answer_gets_nothing(path: Path, tmp_path: Path) -> None:
    assert handover.give(tmp_path / "nobody.sock", ORDER, []) is None
    with handover.bind(path) as listener:
        assert handover.give(path, ORDER, []) is None  # still warming up
        listener.listen(1)
        began = time.monotonic()
        assert handover.give(path, ORDER, []) is None  # hung
        assert time.monotonic() - began < 20 * handover.GREETING_SECONDS


def test_a_caller_that_goes_away_after_the_greeting_leaves_no_order() -> None:
    caller, server = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    caller.shutdown(socket.SHUT_WR)
    assert handover.receive(server, descriptor_count=2) is None
    assert caller.recv(100) == handover.GREETING
    caller.close()
