"""The whole queue paused, drained and resumed, with a real trainer at work."""

import pytest

from tests.processes.server import Server, wait_for

pytestmark = pytest.mark.slow


def test_a_drained_queue_goes_on_in_order_and_repeats_no_epoch(server: Server) -> None:
    server.start_web()
    server.upload_digits()
    server.start_worker()
    first, second, third = server.submit(epochs=100), server.submit(epochs=1), server.submit(epochs=1)
    server.wait_for_epoch(first, 1)

    assert server.post("/training/queue/pause")["paused"] is True
    reached = server.status(first)["current_epoch"]
    server.wait_for_epoch(first, reached + 1)  # what runs goes on
    assert server.status(second)["waiting_reason"] == "queue_paused"

    assert server.post("/training/queue/drain")["paused"] is True
    wait_for(lambda: server.get("/training/queue/state")["running"] == 0, what="the drain")
    assert server.trainers() == []
    state = server.get("/training/queue/state")
    assert (state["queued"], state["draining"], state["paused_by"]) == (3, 0, "key:env-1")
    drained = server.status(first)
    assert (drained["state"], drained["queue_position"], drained["wish"]) == ("queued", 1, None)
    assert drained["current_epoch"] > reached
    assert drained["waiting_reason"] == "queue_paused"
    assert [entry["session_id"] for entry in server.get("/training/queue")] == [first, second, third]

    assert server.post("/training/queue/resume")["paused"] is False
    ends = [server.wait_for_end(session_id) for session_id in (first, second, third)]
    assert [end["state"] for end in ends] == ["completed"] * 3
    assert ends[0]["resumed_from"] is not None
    assert ends[0]["start_time"] == drained["start_time"]
    # One after the other, each begun when the one before had ended.
    times = [(end["start_time"], end["end_time"]) for end in ends]
    assert times[0][1] <= times[1][0]
    assert times[1][1] <= times[2][0]
    assert server.epochs(first) == list(range(1, 101))
    assert server.epochs(second) == server.epochs(third) == [1]
    states = [(change["from"], change["to"]) for change in server.get(f"/training/{first}/transitions")]
    assert states == [
        (None, "queued"),
        ("queued", "running"),
        ("running", "queued"),
        ("queued", "running"),
        ("running", "completed"),
    ]
