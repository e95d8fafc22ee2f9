"""The signs of life: often enough, true, and cheap."""

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.engine.conftest import MakeSession, classes, rows
from tests.engine.test_trainer import events, run, stop_after
from training.engine import progress as module
from training.engine import trainer as trainer_module
from training.engine.progress import Progress, SignsOfLife
from training.journal import JournalWriter, SessionDirectory, read_events


class Clock:
    """A clock that is moved by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


Given = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def told(tmp_path: Path) -> Given:
    return lambda: read_events(tmp_path / "events.jsonl", 0).events


@pytest.fixture
def journal(tmp_path: Path) -> JournalWriter:
    return JournalWriter(tmp_path / "events.jsonl", 1)


def test_it_says_so_about_every_second(clock: Clock, journal: JournalWriter, told: Given) -> None:
    signs = SignsOfLife(journal, Progress(), 1000, None)
    signs.give()
    for _ in range(50):
        clock.now += 0.1
        signs.count(8)
    assert len(told()) == 1 + 4  # 5 s, and the eleventh batch is the first a second later
    clock.now += 0.1
    signs.give_if_due()
    assert len(told()) == 5
    clock.now += 1
    signs.give_if_due()
    assert len(told()) == 6


def test_the_speed_is_that_of_the_training_alone(clock: Clock, journal: JournalWriter, told: Given) -> None:
    signs = SignsOfLife(journal, Progress(), 1000, None)
    signs.give()
    for _ in range(3):
        clock.now += 0.25
        signs.count(100)
    clock.now += 60  # a validation, with signs of its own
    signs.give()
    clock.now += 60
    signs.give()
    signs.restart_clock()
    clock.now += 0.5
    signs.count(400)
    clock.now += 30  # a checkpoint
    signs.restart_clock()
    clock.now += 0.5
    signs.count(400)
    speeds = [event["samples_per_second"] for event in told()]
    assert speeds == [None, pytest.approx(400), pytest.approx(400), pytest.approx(800)]


@pytest.mark.parametrize(("limit", "expected"), [(None, 90.0), (25.0, 15.0), (5.0, 0.0)])
def test_the_time_left_is_that_of_all_attempts_at_their_pace(
    clock: Clock, journal: JournalWriter, told: Given, limit: float | None, expected: float
) -> None:
    progress = Progress()
    progress.load_state_dict({"epoch": 1, "batch": 0, "step": 8, "seconds": 7.0})
    signs = SignsOfLife(journal, progress, 100, limit)
    progress.start_clock()
    clock.now += 3
    progress.step = 10
    signs.give()
    assert told()[0]["seconds_left"] == pytest.approx(expected)


def test_before_the_first_step_nobody_knows_how_long(clock: Clock, journal: JournalWriter, told: Given) -> None:
    progress = Progress(step=5)  # a checkpoint's, whose state is not taken up yet
    signs = SignsOfLife(journal, progress, 100, None)
    signs.give()
    progress.step = 0
    progress.start_clock()
    clock.now += 3
    signs.give()
    assert [(event["steps_done"], event["seconds_left"]) for event in told()] == [(5, None), (0, None)]


def test_who_has_no_journal_says_nothing(clock: Clock) -> None:
    signs = SignsOfLife(None, Progress(), 100, None)
    clock.now += 10
    signs.count(1)
    signs.give()


def signs_of(directory: SessionDirectory, attempt: int) -> list[dict[str, Any]]:
    return [event for event in events(directory, "progress") if event["attempt"] == attempt]


def test_a_session_says_how_far_it_is_in_every_attempt(make_session: MakeSession) -> None:
    directory = make_session(x=rows(), y=classes(), epochs=4, gradient_accumulation=2, batch_size=4)
    run(directory, stop_after(8))
    run(directory, attempt=2)
    (checkpoint,) = [event for event in events(directory, "checkpoint") if event["attempt"] == 1][-1:]
    for attempt, first, last in ((1, 0, checkpoint["step"]), (2, checkpoint["step"], 12)):
        told = signs_of(directory, attempt)
        steps = [event["steps_done"] for event in told]
        assert steps == sorted(steps)
        assert steps[0] == first
        assert steps[-1] <= last
        assert {event["steps_planned"] for event in told} == {12}
    kinds = [event["event"] for event in read_events(directory.events, 0).events if event["event"] in TOLD]
    assert kinds.count("epoch") == 4
    for kind, next_kind in itertools.pairwise(kinds):
        assert kind != "epoch" or next_kind == "progress"
    final = signs_of(directory, 2)[-1]
    assert (final["steps_done"], final["seconds_left"]) == (12, 0.0)
    assert final["samples_per_second"] > 0


TOLD = ("epoch", "progress", "end")


def test_every_batch_of_training_and_validation_may_give_one(
    make_session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SIGN_SECONDS", 0.0)
    monkeypatch.setattr(trainer_module, "EVALUATION_BATCHES", 1)
    directory = make_session(x=rows(), y=classes(), validation_split=0.5, batch_size=4, epochs=2, compile="off")
    run(directory)
    steps = [event["steps_done"] for event in events(directory, "progress")]
    before = steps.index(1)
    assert steps[:before] == [0] * before
    assert before >= 3
    # A batch of each of three steps, three batches of validation, and the end of the epoch; twice.
    assert steps[before:] == [1, 2, 3, 3, 3, 3, 3, 4, 5, 6, 6, 6, 6, 6]


def test_what_is_slow_before_the_training_has_signs_around_it(
    make_session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SIGN_SECONDS", 1e9)
    directory = make_session(x=rows(), y=classes(), epochs=1)
    run(directory)
    kinds = [event["event"] for event in read_events(directory.events, 0).events]
    # After the data, after the model, before the trial, ready; and the epoch's end.
    assert kinds.count("progress") == 5
    assert kinds.index("progress") < kinds.index("record")
    assert [event["steps_done"] for event in events(directory, "progress")] == [0, 0, 0, 0, 3]
