"""Trainers that wait for sessions: what they are given they train as any other, and whoever dies, nothing is lost."""

import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from tests.processes.server import Server, wait_for
from tests.processes.test_crashes import weights_of
from training.journal import Lock

pytestmark = pytest.mark.slow

LISTENS = "00010000"  # a flag in /proc/net/unix
WARM = {"WARM_TRAINERS": "true"}


@pytest.fixture
def running_server(server: Server) -> Server:
    server.start_web()
    server.upload_digits()
    server.start_worker()
    return server


def standbys(server: Server) -> list[psutil.Process]:
    """The warm trainers, those that have a session by now as well."""
    return [process for process in server.family() if "training.engine.warm" in process.cmdline()]


def sockets_of(process: psutil.Process) -> set[str]:
    """The inodes of a process's sockets."""
    try:
        links = [str(descriptor.readlink()) for descriptor in Path(f"/proc/{process.pid}/fd").iterdir()]
    except FileNotFoundError:
        return set()
    return {link.removeprefix("socket:[").removesuffix("]") for link in links if link.startswith("socket:")}


def wait_for_warm_ones(server: Server, count: int = 1) -> None:
    """Until so many listen: before that their sockets refuse whoever calls."""

    def listening() -> int:
        found = 0
        for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
            _, _, _, flags, _, _, inode, *_ = line.split()
            found += flags == LISTENS and any(inode in sockets_of(process) for process in standbys(server))
        return found

    wait_for(lambda: listening() >= count, 60, f"the warming up of {count}")


def trainer_of(server: Server, session_id: str) -> int | None:
    """The pid of a session's living trainer."""
    lock = server.data_dir / "sessions" / session_id / "lock"
    return Lock.read_pid(lock) if Lock.is_held(lock) else None


@pytest.mark.parametrize("server", [WARM], indirect=True)
def test_a_session_on_a_warm_trainer_ends_with_the_same_bytes_as_on_a_fresh_one(running_server: Server) -> None:
    server = running_server
    wait_for_warm_ones(server)
    (standby,) = standbys(server)
    warm = server.submit(epochs=20)
    server.wait_for_epoch(warm, 1)
    assert server.wait_for_end(warm)["state"] == "completed"
    assert server.get(f"/training/{warm}/logs")
    started = (server.data_dir / "sessions" / warm / "events.jsonl").read_text().splitlines()[0]
    assert f'"pid":{standby.pid},' in started
    wait_for(lambda: not standby.is_running(), 10, "its end, and that it is reaped")

    server.stop("worker")
    server.environment["WARM_TRAINERS"] = "false"
    server.start_worker()
    fresh = server.submit(epochs=20)
    assert server.wait_for_end(fresh)["state"] == "completed"
    assert weights_of(server, warm) == weights_of(server, fresh)
    assert not standbys(server)


@pytest.mark.parametrize("server", [WARM | {"API_KEYS": "secret-one,key-of-the-tests"}], indirect=True)
def test_a_used_one_is_replaced_obeys_a_stop_and_knows_no_secret(running_server: Server) -> None:
    server = running_server
    wait_for_warm_ones(server)
    (standby,) = standbys(server)
    assert "secret-one" not in str(standby.environ())
    session_id = server.submit(epochs=1000)
    server.wait_for_epoch(session_id, 1)
    assert trainer_of(server, session_id) == standby.pid
    server.post(f"/training/{session_id}/stop")
    assert server.wait_for_end(session_id, 20)["state"] == "stopped"
    assert (server.data_dir / "sessions" / session_id / "weights" / "model.pt").stat().st_size > 0
    wait_for_warm_ones(server)
    assert standby.pid not in [process.pid for process in standbys(server)]


@pytest.mark.parametrize("server", [WARM], indirect=True)
def test_a_killed_one_means_a_fresh_trainer_and_a_hung_one_too(running_server: Server) -> None:
    server = running_server
    wait_for_warm_ones(server)
    (standby,) = standbys(server)
    standby.suspend()
    on_fresh = server.submit(epochs=2)
    assert server.wait_for_end(on_fresh)["state"] == "completed"
    assert server.status(on_fresh)["attempt"] == 1
    standby.kill()
    second = server.submit(epochs=2)
    status = server.wait_for_end(second)
    assert (status["state"], status["attempt"]) == ("completed", 1)
    assert standby.pid not in [process.pid for process in standbys(server)]


@pytest.mark.parametrize("server", [WARM], indirect=True)
def test_killed_while_it_trains_the_session_goes_on(running_server: Server) -> None:
    server = running_server
    wait_for_warm_ones(server)
    session_id = server.submit(epochs=150)
    server.wait_for_epoch(session_id, 3)
    pid = trainer_of(server, session_id)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    status = server.wait_for_end(session_id)
    assert (status["state"], status["attempt"]) == ("completed", 2)
    assert server.epochs(session_id) == list(range(1, 151))


@pytest.mark.parametrize("server", [WARM | {"MAX_CONCURRENT_SESSIONS": "2"}], indirect=True)
def test_waiting_ones_end_with_the_watch_and_training_ones_do_not(running_server: Server) -> None:
    server = running_server
    wait_for_warm_ones(server, 2)
    session_id = server.submit(epochs=1000)
    server.wait_for_epoch(session_id, 1)
    trainer = trainer_of(server, session_id)
    assert trainer in [process.pid for process in standbys(server)]
    server.kill("worker")
    wait_for(lambda: [process.pid for process in standbys(server)] == [trainer], 5, "the end of those that wait")
    time.sleep(0.5)
    assert trainer_of(server, session_id) == trainer

    server.start_worker()
    reached = server.status(session_id)["current_epoch"]
    server.wait_for_epoch(session_id, reached + 1)
    assert server.status(session_id)["attempt"] == 1
    server.post(f"/training/{session_id}/stop")
    assert server.wait_for_end(session_id, 20)["state"] == "stopped"


@pytest.mark.parametrize("server", [WARM | {"MAX_CONCURRENT_SESSIONS": "2"}], indirect=True)
def test_two_sessions_at_once_get_one_each(running_server: Server) -> None:
    server = running_server
    wait_for_warm_ones(server, 2)
    warm = {process.pid for process in standbys(server)}
    sessions = [server.submit(epochs=1000) for _ in range(2)]
    for session_id in sessions:
        server.wait_for_epoch(session_id, 1)
    assert {trainer_of(server, session_id) for session_id in sessions} == warm
    assert server.stop("worker", seconds=5) == 0  # which leaves both of them alone
    assert {trainer_of(server, session_id) for session_id in sessions} == warm
