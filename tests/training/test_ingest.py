"""Journal to rows: each event once, whatever crashes and whoever reads beside us."""

import json
import os
from typing import Any

import pytest
from django.db import DatabaseError, connection
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.training.conftest import MakeSession
from training.ingest import ingest
from training.journal import JournalWriter, now
from training.models import LogEntry, Metric, SeriesPoint, TrainingSession
from training.state import State

pytestmark = pytest.mark.django_db

# What a trainer does between two reads: an epoch, a log line, or a crash that makes the next attempt redo epochs.
acts = st.lists(st.sampled_from(["epoch", "log", "read", "crash", "two-readers"]), max_size=40)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(acts, st.integers(0, 3))
def test_every_epoch_is_one_row_and_every_line_one_entry(
    make_session: MakeSession, story: list[str], redone: int
) -> None:
    session = make_session(state=State.RUNNING)
    session.directory.create()
    attempt, epoch, reached, lines = 1, 0, 0, 0
    writer = JournalWriter(session.directory.events, attempt)
    for act in [*story, "read"]:
        if act == "epoch":
            epoch += 1
            reached = max(reached, epoch)
            writer.epoch(epoch, loss=attempt, accuracy=0.5, val_loss=None, val_accuracy=0.25)
        elif act == "log":
            lines += 1
            writer.log("INFO", f"line {lines}")
        elif act == "crash":
            writer.close()
            attempt, epoch = attempt + 1, max(0, epoch - redone)
            writer = JournalWriter(session.directory.events, attempt)
        elif act == "two-readers":
            rival = TrainingSession.objects.get(pk=session.pk)
            ingest(session)
            ingest(rival)
        else:
            ingest(session)
    writer.close()
    assert list(Metric.objects.filter(session=session).values_list("epoch", flat=True)) == list(range(1, reached + 1))
    messages = LogEntry.objects.filter(session=session).values_list("message", flat=True)
    assert list(messages) == [f"line {number}" for number in range(1, lines + 1)]
    session.refresh_from_db()
    assert session.current_epoch == (reached or None)


def test_a_read_that_breaks_stores_nothing(make_session: MakeSession) -> None:
    session = make_session(state=State.RUNNING)
    session.directory.create()
    writer = JournalWriter(session.directory.events, 1)
    writer.epoch(1, 0.5, 0.5, 0.5, 0.5)
    writer.points([10], {"train/loss": [0.5]})
    writer.record({"python": "3.11"})
    writer.log("INFO", "the last to be stored")
    full = "BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TRIGGER full BEFORE INSERT ON logs {full}")
        with pytest.raises(DatabaseError, match="the disk is full"):
            ingest(session)
        cursor.execute("DROP TRIGGER full")
    stored = TrainingSession.objects.get()
    assert (stored.journal_offset, stored.current_epoch, stored.record) == (0, None, None)
    assert not session.metrics.exists()
    assert not session.points.exists()
    assert ingest(session)
    assert (session.metrics.count(), session.points.count(), session.log_entries.count()) == (1, 1, 1)


def points_of(session: TrainingSession) -> dict[tuple[str, int], float | None]:
    rows = SeriesPoint.objects.filter(session=session).values_list("name", "step", "value")
    return {(name, step): value for name, step, value in rows}


# Some steps of training between two reads, or a crash that makes the next attempt do steps again.
steps_of_training = st.lists(st.sampled_from(["points", "read", "crash", "two-readers"]), max_size=40)


@settings(max_examples=50)
@given(steps_of_training, st.integers(0, 5), st.integers(1, 4))
def test_every_point_is_stored_once_and_a_step_done_again_replaces_its_values(
    make_session: MakeSession, story: list[str], redone: int, together: int
) -> None:
    session = make_session(state=State.RUNNING)
    session.directory.create()
    attempt, step = 1, 0
    expected: dict[tuple[str, int], float | None] = {}
    writer = JournalWriter(session.directory.events, attempt)
    for act in [*story, "read"]:
        if act == "points":
            steps = list(range(step + 1, step + 1 + together))
            step += together
            series: dict[str, list[float | None]] = {
                "train/loss": [1 / (attempt + at) for at in steps],
                "gradient_norm": [None] * together,
            }
            writer.points(steps, series)
            expected |= {(name, at): value for name in series for at, value in zip(steps, series[name], strict=True)}
        elif act == "crash":
            writer.close()
            attempt, step = attempt + 1, max(0, step - redone)
            writer = JournalWriter(session.directory.events, attempt)
        elif act == "two-readers":
            rival = TrainingSession.objects.get(pk=session.pk)
            ingest(session)
            ingest(rival)
        else:
            ingest(session)
    writer.close()
    assert points_of(session) == expected


def test_points_carry_the_time_of_their_event(make_session: MakeSession) -> None:
    session = make_session(state=State.RUNNING)
    session.directory.create()
    with session.directory.events.open("w") as file:
        event = {"event": "points", "at": "2026-02-03T04:05:06.789012Z", "steps": [7], "series": {"a": [1]}}
        file.write(json.dumps(event) + "\n")
    ingest(session)
    point = session.points.get()
    assert (point.step, point.value, point.timestamp.isoformat()) == (7, 1.0, "2026-02-03T04:05:06.789012+00:00")


def test_the_newest_record_and_report_are_the_sessions(make_session: MakeSession) -> None:
    session = make_session(state=State.RUNNING)
    session.directory.create()
    writer = JournalWriter(session.directory.events, 1)
    writer.record({"attempt": 1})
    ingest(session)
    assert (session.record, session.report) == ({"attempt": 1}, None)
    writer.record({"attempt": 2, "packages": {"torch": "2.13"}})
    writer.report({"classes": [{"name": "ä\ud800", "f1": None}], "loss": 0.25})
    ingest(session)
    assert session.record == {"attempt": 2, "packages": {"torch": "2.13"}}
    assert session.report == {"classes": [{"name": "ä�", "f1": None}], "loss": 0.25}


def progress_of(session: TrainingSession) -> tuple[Any, ...]:
    return session.steps_done, session.steps_planned, session.samples_per_second, session.seconds_left


def test_the_newest_sign_of_life_is_the_sessions(make_session: MakeSession) -> None:
    session = make_session(state=State.RUNNING)
    session.directory.create()
    writer = JournalWriter(session.directory.events, 1)
    writer.start(4711, None)
    ingest(session)
    assert (session.resumed_from, progress_of(session)) == ("", (0, None, None, None))
    writer.progress(0, 100, None, None)
    writer.progress(5, 100, 250.5, 19.0)
    ingest(session)
    assert progress_of(session) == (5, 100, 250.5, 19.0)
    writer.close()

    writer = JournalWriter(session.directory.events, 2)
    writer.start(4712, "step-00000004")
    ingest(session)
    assert (session.resumed_from, progress_of(session)) == ("step-00000004", (5, 100, None, None))
    writer.progress(4, 100, None, 1e300)
    writer.close()
    ingest(session)
    assert progress_of(session) == (4, 100, None, None)


@pytest.mark.parametrize("kind", ["start", "log", "checkpoint", "end", "of a later version"])
def test_it_was_heard_of_when_something_was_read_by_the_servers_clock(make_session: MakeSession, kind: str) -> None:
    session = make_session(state=State.RUNNING)
    session.directory.create()
    with session.directory.events.open("w") as journal:
        journal.write(json.dumps({"event": kind, "at": "2036-01-01T00:00:00Z", "level": "INFO", "message": "m"}) + "\n")
    before = timezone.now()
    ingest(session)
    assert session.heard_at is not None
    assert before <= session.heard_at <= timezone.now()
    heard_at = session.heard_at
    with session.directory.events.open("a") as journal:
        journal.write("no event\n")
    ingest(session)
    assert session.heard_at == heard_at


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


GOOD_PROGRESS = {"steps_done": 5, "steps_planned": 100, "samples_per_second": 1.5, "seconds_left": 9.5}
GOOD_POINTS = {"steps": [1, 2], "series": {"a": [1.0, 2.0]}}
WRONG: list[tuple[str, dict[str, Any], str, list[Any]]] = [  # kind, good fields, one of them, wrong values of it
    ("points", GOOD_POINTS, "at", ["no time at all", "yesterday", 5, None, [], "0001-01-01T00:00:00+14:00"]),
    ("points", GOOD_POINTS, "steps", [None, 3, "12", {}, [1, 2, 3], [1], [1, "2"], [1, True]]),
    ("points", GOOD_POINTS, "steps", [[1, -1], [1, 1.5], [1, 2**53 + 1], [1, None], [[1], [2]]]),
    ("points", GOOD_POINTS, "series", [None, [], "a", 1, {"a": None}, {"a": 1}, {"a": "12"}, {"a": [1]}]),
    ("points", GOOD_POINTS, "series", [{"a": [1, 2, 3]}, {"a": [1, "2"]}, {"a": [1, True]}, {"a": [1, []]}]),
    ("points", GOOD_POINTS, "series", [{"b": [1.0, 2.0], "a": [1.0]}]),
    ("epoch", {"loss": 1.0}, "epoch", [None, 0, -1, "1", 1.0, True, 2**31, [1]]),
    ("epoch", {"epoch": 1}, "loss", ["1", True, [], {}]),
    ("epoch", {"epoch": 1}, "at", ["yesterday"]),
    ("log", {"message": "m"}, "level", [None, 20, []]),
    ("log", {"level": "INFO"}, "message", [None, 5, {"a": 1}]),
    ("record", {}, "record", [None, [], "x", 1, {"a": deep(40)}]),
    ("report", {}, "report", [None, [], "x", 1, {"a": deep(40)}]),
    ("start", {"pid": 1}, "resumed_from", [1, [], {}, True]),
    ("progress", GOOD_PROGRESS, "steps_done", [None, -1, 1.0, "1", True, 101, 2**63]),
    ("progress", GOOD_PROGRESS, "steps_planned", [None, -1, 4, 2**53 + 1, "100"]),
    ("progress", GOOD_PROGRESS, "samples_per_second", [-1, "1", True, []]),
    ("progress", GOOD_PROGRESS, "seconds_left", [-0.5, "1", True, {}]),
]
MALFORMED = [(kind, good | {field: value}) for kind, good, field, values in WRONG for value in values]
MALFORMED += [
    ("points", {"steps": [1]}),
    ("points", {"series": {"a": [1.0]}}),
    ("epoch", {}),
    ("log", {}),
    ("record", {}),
    ("progress", {}),
]


@pytest.mark.parametrize(("kind", "fields"), MALFORMED)
def test_a_malformed_event_is_left_out_and_said_so_once(
    make_session: MakeSession, kind: str, fields: dict[str, Any]
) -> None:
    session = make_session(state=State.RUNNING)
    session.directory.create()
    line = json.dumps({"event": kind, "at": now(), **fields}) + "\n"
    for number in range(2):
        with session.directory.events.open("a") as file:
            file.write(line * 2)
        writer = JournalWriter(session.directory.events, 1)
        writer.log("INFO", f"line {number}")
        writer.close()
        ingest(session)
    assert (session.metrics.count(), session.points.count(), session.record, session.report) == (0, 0, None, None)
    assert (session.resumed_from, session.steps_done, session.steps_planned) == ("", 0, None)
    assert (session.samples_per_second, session.seconds_left) == (None, None)
    assert list(session.log_entries.filter(level="INFO").values_list("message", flat=True)) == ["line 0", "line 1"]
    warning = session.log_entries.exclude(level="INFO").get()
    assert warning.level == "WARNING"
    assert warning.message.startswith(f"An event of the kind {kind} is not as the journal has it and is left out: ")


def test_what_is_not_finite_is_null(make_session: MakeSession) -> None:
    session = make_session(state=State.RUNNING)
    session.directory.create()
    with session.directory.events.open("w") as file:
        at = f'"at": "{now()}"'
        values = f"[NaN, Infinity, -Infinity, 1e999, {10**400}]"
        file.write(f'{{"event": "points", {at}, "steps": [1, 2, 3, 4, 5], "series": {{"a": {values}}}}}\n')
        file.write(f'{{"event": "epoch", {at}, "epoch": 1, "loss": NaN, "accuracy": 0.5}}\n')
        file.write(f'{{"event": "report", {at}, "report": {{"a": {values}, "b": {{"c": NaN}}}}}}\n')
    ingest(session)
    assert points_of(session) == {("a", step): None for step in range(1, 6)}
    assert (session.metrics.get().loss, session.metrics.get().accuracy) == (None, 0.5)
    assert session.report == {"a": [None] * 5, "b": {"c": None}}
    assert not session.log_entries.exists()


@pytest.mark.parametrize("name", ["", "a" * 101, "a,b", "a\nb", "a\x00", "a\ud800"])
def test_a_series_without_a_usable_name_is_left_out_and_said_so_once(make_session: MakeSession, name: str) -> None:
    session = make_session(state=State.RUNNING)
    session.directory.create()
    writer = JournalWriter(session.directory.events, 1)
    for step in range(3):
        writer.points([step], {name: [1.0], "a" * 100: [2.0]})
        ingest(session)
    writer.close()
    assert points_of(session) == {("a" * 100, step): 2.0 for step in range(3)}
    warning = session.log_entries.get()
    assert warning.level == "WARNING"
    assert warning.message.startswith("A series is left out")


def test_a_log_line_that_no_encoding_has_is_stored_all_the_same(make_session: MakeSession) -> None:
    session = make_session(state=State.RUNNING)
    session.directory.create()
    writer = JournalWriter(session.directory.events, 1)
    writer.log("A LEVEL OF THE OWNER'S", "file \udcff.png and more")
    writer.close()
    ingest(session)
    entry = session.log_entries.get()
    assert (entry.level, entry.message) == ("A LEVEL OF", "file �.png and more")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters()), inner, max_size=4),
    max_leaves=10,
)
fields_of_events = st.sampled_from(
    [
        *("at", "epoch", "loss", "accuracy", "level", "message", "steps", "series", "record", "report", "attempt"),
        *("pid", "resumed_from", "steps_done", "steps_planned", "samples_per_second", "seconds_left"),
    ]
)
hostile_events = st.builds(
    lambda kind, fields, at: {"event": kind, **at, **fields},
    st.sampled_from(["epoch", "log", "points", "record", "report", "start", "progress", "end", "checkpoint", "more"]),
    st.dictionaries(fields_of_events, json_values, max_size=5),
    st.sampled_from([{}, {"at": "2026-01-01T00:00:00Z"}]),
)
DEEP_LINE = b"[" * 100_000
hostile_lines = hostile_events.map(lambda event: json.dumps(event).encode()) | st.binary(max_size=50)


@settings(max_examples=200)
@given(st.lists(hostile_lines | st.just(DEEP_LINE), max_size=8))
def test_nothing_that_a_trainer_writes_stops_the_reading(make_session: MakeSession, lines: list[bytes]) -> None:
    session = make_session(state=State.RUNNING)
    session.directory.create()
    session.directory.events.write_bytes(b"".join(line + b"\n" for line in lines))
    writer = JournalWriter(session.directory.events, 1)
    writer.points([3], {"the last": [0.5]})
    writer.close()
    while ingest(session):
        pass
    assert points_of(session)[("the last", 3)] == 0.5
    stored = TrainingSession.objects.get(pk=session.pk)
    assert stored.journal_offset == session.directory.journal_size_bytes()
    assert json.dumps([stored.record, stored.report], allow_nan=False, ensure_ascii=False).encode()


def test_a_journal_that_lost_its_end_with_the_power_is_read_on(make_session: MakeSession) -> None:
    session = make_session(state=State.RUNNING)
    session.directory.create()
    writer = JournalWriter(session.directory.events, 1)
    for number in range(3):
        writer.log("INFO", f"line {number}")
    writer.close()
    ingest(session)
    os.truncate(session.directory.events, session.directory.journal_size_bytes() - 100)  # the last line and some

    session.begin_attempt()
    writer = JournalWriter(session.directory.events, session.attempt)
    writer.log("INFO", "line 3")
    writer.close()
    while ingest(session):
        pass
    assert [entry.message for entry in session.log_entries.all()] == [f"line {number}" for number in range(4)]


def test_a_session_without_a_journal_has_nothing_to_read(make_session: MakeSession) -> None:
    assert not ingest(make_session(state=State.RUNNING))
