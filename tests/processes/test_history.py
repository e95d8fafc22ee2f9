"""The checker of the fault campaign itself: it sees each promise that is broken, and nothing else."""

import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import psutil
import pytest

from tests.processes.history import METRICS, History
from tests.processes.server import Server

RUNNING = {"state": "running", "current_epoch": 1}
STOPPED = {"state": "stopped", "current_epoch": 2}


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    with httpx.Client(base_url="http://127.0.0.1:1") as client:
        history = History(cast(Server, SimpleNamespace(client=client, data_dir=tmp_path)), most_at_once=2)
        yield history
        history.client.close()


def metrics(*epochs: int, loss: float = 0.5) -> list[dict[str, Any]]:
    return [dict.fromkeys(METRICS, loss) | {"epoch": epoch, "timestamp": "later"} for epoch in epochs]


def moves(*states: str) -> list[dict[str, Any]]:
    return [{"from": origin or None, "to": target} for origin, target in zip(("", *states), states, strict=False)]


def see_statuses(*statuses: dict[str, Any]) -> Callable[[History], None]:
    def see(history: History) -> None:
        for status in statuses:
            history.check_status("a", status)

    return see


def undisturbed(history: History) -> None:
    history.undisturbed = ([[metric[name] for name in METRICS] for metric in metrics(1, 2, 3)], "hash")


WELL: list[Callable[[History], object]] = [
    see_statuses(RUNNING, STOPPED, STOPPED),
    lambda history: history.check_history("a", []),
    lambda history: history.check_history("a", metrics(1, 2)),
    lambda history: history.check_history("a", metrics(1, 2, 3)),
    lambda history: history.check_transitions("a", moves("queued", "running", "paused", "queued", "stopped")),
    lambda history: history.check_transitions("a", []),
]
BROKEN: list[tuple[str, Callable[[History], object]]] = [
    ("I2", see_statuses(STOPPED, RUNNING)),
    ("I2", see_statuses(STOPPED, STOPPED | {"attempt": 3})),
    ("I2", lambda history: history.check_transitions("a", moves("queued", "stopped", "running", "completed"))),
    ("I2", lambda history: history.check_transitions("a", moves("queued", "stopped", "stopped"))),
    ("I2", lambda history: history.check_transitions("a", moves("queued", "running")[1:])),
    ("I3", lambda history: history.check_history("a", metrics(1, 3))),
    ("I3", lambda history: history.check_history("a", metrics(1, 2, 2))),
    ("I3", lambda history: history.check_history("a", metrics(2, 3))),
    ("I3", lambda history: history.check_history("a", metrics(1, 2, loss=0.5 + 1e-16 * 2))),
    ("I3", lambda history: history.check_history("a", metrics(1, 2, 3, 4))),
]


@pytest.mark.parametrize("see", WELL)
def test_what_is_well_is_no_violation(see: Callable[[History], object], history: History) -> None:
    undisturbed(history)
    see(history)
    assert history.violations == []


@pytest.mark.parametrize(("promise", "see"), BROKEN)
def test_a_broken_promise_is_seen(promise: str, see: Callable[[History], object], history: History) -> None:
    undisturbed(history)
    see(history)
    (violation,) = history.violations
    assert violation.startswith(promise)


def test_sessions_and_audit_rows_are_held_against_what_was_answered(history: History) -> None:
    with closing(sqlite3.connect(history.server.data_dir / "api_data.db")) as database:
        database.execute("CREATE TABLE sessions (session_id TEXT)")
        database.execute("CREATE TABLE auth_logs (request_id TEXT)")
        database.execute("INSERT INTO sessions VALUES ('stored'), ('both')")
        database.execute("INSERT INTO auth_logs VALUES ('1'), ('2')")
        database.commit()
    history.answered = ["1", "2"]
    history.started = ["both", "stored"]
    history.check_database()
    assert history.violations == []
    history.answered = ["1", "3"]
    history.started = ["both", "answered"]
    history.check_database()
    assert sorted(violation[:2] for violation in history.violations) == ["I1", "I1", "I5"]


def test_two_trainers_at_once_are_seen_and_those_that_take_turns_are_not(history: History) -> None:
    process = psutil.Process()
    with psutil.Popen([sys.executable, "-c", "input()"], stdin=-1) as other:
        views: list[dict[str, list[psutil.Process]]] = []
        history.server.trainers_by_session = lambda: views.pop(0)  # type: ignore[method-assign]
        views[:] = [{"a": [process]}]
        history.look_at_trainers()
        views[:] = [{"a": [process, other]}, {"a": [other]}]  # the first one has ended by the second look
        history.look_at_trainers()
        assert history.violations == []
        for both in ({"a": [process, other]}, {"a": [process], "b": [other], "c": [process]}):
            views[:] = [both, both]
            history.look_at_trainers()
        assert [violation[:2] for violation in history.violations] == ["I4", "I4"]
        other.kill()
