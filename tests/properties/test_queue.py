"""How many run at once, and what becomes of the others."""

from contextlib import ExitStack
from datetime import datetime
from typing import Any

import pytest
from hypothesis import strategies as st
from pytest_django import Settings

from tests.conftest import Script
from tests.properties.api import ROOT, Api
from tests.properties.inputs import configs
from tests.properties.rules import for_all, for_all_committed
from tests.properties.runs import Run
from tests.properties.workers import wait_until, workers
from training import supervisor
from training.journal import Lock
from training.models import TrainingSession

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("datasets")]

places = st.integers(1, 4)


@pytest.fixture
def quick_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Supervisors look more often, so that a hundred examples take seconds."""
    monkeypatch.setattr(supervisor, "POLL_SECONDS", 0.01)


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("quick_turns")
@for_all_committed(room=places, config=configs(), idle_workers=st.integers(0, 2))
def test_property_33_with_room_for_n_n_run_at_once(
    api: Api, settings: Settings, script: Script, room: int, config: dict[str, Any], idle_workers: int
) -> None:
    settings.MAX_CONCURRENT_SESSIONS = room
    script("wait")
    ids = [api.start(config) for _ in range(room)]

    with workers(room + idle_workers):
        # Each does one epoch and then waits, so all of them are at work when the last one has done it.
        wait_until(lambda: TrainingSession.objects.filter(current_epoch=1).count() == room)

        assert [api.status(session_id)["state"] for session_id in ids] == ["running"] * room
        trainers = [session.directory.lock for session in TrainingSession.objects.all()]
        assert all(Lock.is_held(lock) for lock in trainers)
        assert len({Lock.read_pid(lock) for lock in trainers}) == room
        assert api.get("/training/queue") == []


@for_all(room=places, waiting=st.integers(1, 4), config=configs())
def test_property_34_beyond_that_queued(
    api: Api, settings: Settings, room: int, waiting: int, config: dict[str, Any]
) -> None:
    """However many workers ask."""
    settings.MAX_CONCURRENT_SESSIONS = room
    ids = [api.start(config) for _ in range(room + waiting)]

    claimed = [TrainingSession.objects.claim_next(by="worker") for _ in range(room + waiting)]

    assert claimed[room:] == [None] * waiting
    states = {entry["session_id"]: entry["status"]["state"] for entry in api.get("/training/sessions")}
    assert [states[session_id] for session_id in ids] == ["running"] * room + ["queued"] * waiting


WHAT_HAPPENS = st.sampled_from(["submit", "begin", "cancel", "stop", "end"])


@for_all(
    room=places,
    story=st.lists(st.tuples(WHAT_HAPPENS, configs(), st.integers(0, 9)), max_size=10),
    priorities=st.lists(st.integers(-100, 100) | st.integers(-1, 1), min_size=10, max_size=10),
)
def test_property_35_the_queue_lists_exactly_the_queued_ones_with_their_configurations(
    api: Api, settings: Settings, room: int, story: list[tuple[str, dict[str, Any], int]], priorities: list[int]
) -> None:
    """In the order in which they will start: by priority, and of equal ones the first that came."""
    settings.MAX_CONCURRENT_SESSIONS = room
    queued: dict[str, dict[str, Any]] = {}
    running: list[Run] = []
    with ExitStack() as stack:
        for (act, config, choice), priority in zip(story, priorities, strict=False):
            if act == "submit":
                sent = config | {"priority": priority}
                queued[api.start(sent)] = sent
                queued = dict(sorted(queued.items(), key=lambda entry: -entry[1]["priority"]))  # keeps equals in order
            elif act == "begin" and queued and len(running) < room:
                run = stack.enter_context(Run())
                assert run.session_id == next(iter(queued))
                running.append(run)
                del queued[run.session_id]
            elif act == "end" and running:
                running.pop(choice % len(running)).complete()
            elif act in ("cancel", "stop") and queued:
                session_id = list(queued)[choice % len(queued)]
                del queued[session_id]
                if act == "cancel":
                    api.delete(f"/training/queue/{session_id}")
                else:
                    api.post(f"/training/{session_id}/stop")

        queue = api.get("/training/queue")
        assert [entry["session_id"] for entry in queue] == list(queued)
        assert all(entry["config"].items() >= queued[entry["session_id"]].items() for entry in queue)
        assert all(entry["status"]["state"] == "queued" and entry["created_at"] for entry in queue)


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("quick_turns")
@for_all_committed(
    room=places,
    waiting=st.integers(1, 2),
    config=configs(most_epochs=3),
    how=st.sampled_from(["complete", "fail", "crash"]),
)
def test_property_36_the_next_one_starts_by_itself(
    api: Api,
    settings: Settings,
    script: Script,
    room: int,
    waiting: int,
    config: dict[str, Any],
    how: str,
) -> None:
    """However the one before it ends."""
    settings.MAX_CONCURRENT_SESSIONS = room
    settings.CRASH_ATTEMPTS = 1
    script(how)
    ids = [api.start(config) for _ in range(room + waiting)]

    with workers(room):
        wait_until(lambda: not TrainingSession.objects.filter(ended_at=None).exists())

        statuses = [api.status(session_id) for session_id in ids]
        expected = "completed" if how == "complete" else "failed"
        assert [status["state"] for status in statuses] == [expected] * len(ids)
        times = [
            (datetime.fromisoformat(status["start_time"]), datetime.fromisoformat(status["end_time"]))
            for status in statuses
        ]
        assert times == sorted(times, key=lambda time: time[0])
        for now, _ in times:
            assert sum(start <= now < end for start, end in times) <= room


@for_all(submitted=st.integers(1, 4), cancelled=st.sets(st.integers(0, 3)), config=configs())
def test_property_37_a_cancelled_one_is_out_of_the_queue(
    api: Api, settings: Settings, submitted: int, cancelled: set[int], config: dict[str, Any]
) -> None:
    """And never starts."""
    settings.MAX_CONCURRENT_SESSIONS = submitted + 1
    ids = [api.start(config) for _ in range(submitted)]
    out = [session_id for place, session_id in enumerate(ids) if place in cancelled]
    for session_id in out:
        assert api.delete(f"/training/queue/{session_id}")["message"]
    kept = [session_id for session_id in ids if session_id not in out]

    assert [entry["session_id"] for entry in api.get("/training/queue")] == kept
    claimed = [TrainingSession.objects.claim_next(by="worker") for _ in ids]
    assert [session.session_id for session in claimed if session] == kept
    for session_id in out:
        assert api.status(session_id)["state"] == "stopped"
        assert api.client.delete(f"{ROOT}/training/queue/{session_id}").status_code == 409
