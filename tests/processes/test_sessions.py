"""Sessions through the real web process, worker and trainer."""

import time

import pytest

from tests.processes.server import Server, wait_for

pytestmark = pytest.mark.slow


@pytest.fixture
def running_server(server: Server) -> Server:
    server.start_web()
    server.upload_digits()
    server.start_worker()
    return server


def test_a_session_trains_stops_and_waits_its_turn(running_server: Server) -> None:
    server = running_server
    first = server.submit(epochs=1000)
    second = server.submit(epochs=2)
    third = server.submit(epochs=2)
    server.wait_for_epoch(first, 1)
    assert server.status(first)["state"] == "running"
    assert [session["session_id"] for session in server.get("/training/queue")] == [second, third]
    newest = server.get(f"/training/{first}/metrics")
    assert newest["epoch"] >= 1
    assert all(isinstance(newest[key], float) for key in ("loss", "accuracy", "val_loss", "val_accuracy"))

    assert server.client.delete(f"/training/queue/{third}").status_code == 200
    server.post(f"/training/{first}/stop")
    assert server.wait_for_end(first, 20)["state"] == "stopped"
    assert (server.data_dir / "sessions" / first / "weights" / "model.pt").stat().st_size > 0
    assert server.wait_for_end(second)["state"] == "completed"
    assert server.status(third)["state"] == "stopped"
    assert server.client.post(f"/training/{first}/stop").status_code == 409
    assert server.get(f"/training/{first}/logs")


def test_the_trainer_starts_soon_after_the_request(running_server: Server) -> None:
    """The figure itself is a benchmark's; here the bell must ring at all, and not the watch's second one."""
    server = running_server
    warm_up = server.submit(epochs=1)
    server.wait_for_end(warm_up)
    session_id = server.submit(epochs=1)
    asked_at = time.monotonic()
    events = server.data_dir / "sessions" / session_id / "events.jsonl"
    wait_for(lambda: events.exists() and events.stat().st_size, 10, "the trainer's first line")
    assert time.monotonic() - asked_at < 10


def test_a_queued_session_that_is_stopped_never_runs(running_server: Server) -> None:
    server = running_server
    first = server.submit(epochs=1000)
    second = server.submit(epochs=2)
    server.post(f"/training/{second}/stop")
    server.post(f"/training/{first}/stop")
    server.wait_for_end(first)
    assert server.status(second)["state"] == "stopped"
    assert server.status(second)["start_time"] is None


@pytest.mark.parametrize("server", [{"MAX_CONCURRENT_SESSIONS": "2"}], indirect=True)
def test_two_run_at_once_and_the_third_waits(running_server: Server) -> None:
    server = running_server
    first, second, third = (server.submit(epochs=1000) for _ in range(3))
    server.wait_for_epoch(first, 1)
    server.wait_for_epoch(second, 1)
    assert [server.status(session_id)["state"] for session_id in (first, second, third)] == [
        "running",
        "running",
        "queued",
    ]
    server.post(f"/training/{second}/stop")
    server.wait_for_epoch(third, 1)
    assert server.status(first)["state"] == "running"
