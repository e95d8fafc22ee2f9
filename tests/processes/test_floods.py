"""Trainers that print, or log, without measure; and what becomes of them when nobody listens any more."""

from typing import Any

import psutil
import pytest

from tests.processes.server import Server, wait_for
from tests.training.test_console import parts

pytestmark = pytest.mark.slow

MAX_BYTES = 1_000_000
LOUD = {"ARCHITECTURE_MODULES": "tests.processes.loud", "MAX_CONSOLE_BYTES": str(MAX_BYTES)}


@pytest.fixture
def running_server(server: Server) -> Server:
    server.start_web()
    server.upload_digits()
    server.start_worker()
    return server


def submit(server: Server, what: str, times: int, **config: Any) -> str:
    return server.submit(model_architecture="loud", model_args={"what": what, "times": times}, **config)


def consoles(server: Server) -> list[psutil.Process]:
    return [process for process in server.family() if "training.console" in process.cmdline()]


def kept(server: Server, session_id: str) -> bytes:
    return (server.data_dir / "sessions" / session_id / "console.log").read_bytes()


@pytest.mark.parametrize("server", [LOUD], indirect=True)
def test_a_flood_is_bounded_over_all_attempts_and_ends_with_the_trainer(running_server: Server) -> None:
    """The worker is killed, and the trainer is: a console belongs to its trainer."""
    server = running_server
    session_id = submit(server, "no text", 200, epochs=1000)
    server.wait_for_epoch(session_id, 3)
    (console,) = consoles(server)
    server.kill("worker")
    server.start_worker()
    server.wait_for_epoch(session_id, server.status(session_id)["current_epoch"] + 2)
    assert [process.pid for process in consoles(server)] == [console.pid]
    server.kill_trainer()
    server.wait_for_epoch(session_id, server.status(session_id)["current_epoch"] + 2)
    (later,) = consoles(server)
    assert later.pid != console.pid
    server.post(f"/training/{session_id}/stop")
    status = server.wait_for_end(session_id)
    assert (status["state"], status["attempt"]) == ("stopped", 2)
    assert not consoles(server)
    content = kept(server, session_id)
    assert len(content) <= MAX_BYTES
    assert b"\xff\xfe\x00\x80" in content
    first, left_out, newest = parts(content)
    assert len(first) == MAX_BYTES // 5
    assert b"stopped" in newest or b"interrupted" in newest  # the trainer's own last words
    assert left_out + len(content) > status["current_epoch"] * 45 * 200 * 128


@pytest.mark.parametrize("server", [LOUD], indirect=True)
def test_a_trainer_whose_console_is_killed_goes_on_in_another_attempt(running_server: Server) -> None:
    server = running_server
    session_id = submit(server, "lines", 10, epochs=100)
    server.wait_for_epoch(session_id, 3)
    (console,) = consoles(server)
    console.kill()
    status = server.wait_for_end(session_id)
    assert (status["state"], status["attempt"], status["current_epoch"]) == ("completed", 2, 100)
    warnings = [entry["message"] for entry in server.get(f"/training/{session_id}/logs?limit=1000")]
    assert any("console is gone" in message for message in warnings)
    assert not consoles(server)


@pytest.mark.parametrize("server", [LOUD], indirect=True)
def test_what_is_logged_arrives_whatever_it_holds(running_server: Server) -> None:
    server = running_server
    session_id = submit(server, "logs", 2, epochs=1)
    assert server.wait_for_end(session_id)["state"] == "completed"
    entries = [entry["message"] for entry in server.get(f"/training/{session_id}/logs?limit=1000")]
    assert sum("half \ufffd none \ufffd" in message for message in entries) >= 2 * 45


@pytest.mark.parametrize("server", [LOUD | {"WARM_TRAINERS": "true"}], indirect=True)
def test_a_warm_trainer_prints_to_its_sessions_console(running_server: Server) -> None:
    from tests.processes.test_warm_trainers import standbys, wait_for_warm_ones

    server = running_server
    wait_for_warm_ones(server)
    (standby,) = standbys(server)
    session_id = submit(server, "lines", 100, epochs=3)
    assert server.wait_for_end(session_id)["state"] == "completed"
    wait_for(lambda: not standby.is_running(), 10, "its end")
    assert b"loss 0.12345" in kept(server, session_id)
    assert not consoles(server)
