"""Series by step: never more points than asked for, every extreme among them, and nothing invented."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st
from rest_framework.test import APIClient

from tests.training.conftest import MakeSession
from training.ingest import STORE_POINT, execute_each
from training.models import TrainingSession
from training.series import FEWEST_POINTS, MOST_POINTS, read_series

BASE = "/api/v1/training"
AT = "2026-01-01 00:00:00"

pytestmark = pytest.mark.django_db

Points = dict[int, float | None]


def store(session: TrainingSession, name: str, points: Points) -> None:
    execute_each(STORE_POINT, [(session.pk, name, step, value, AT) for step, value in points.items()])


values = st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-3, 3).map(float)
# Steps close together, or anywhere that a step may be.
steps = st.integers(0, 300) | st.integers(0, 2**53)


@settings(max_examples=80)
@given(
    st.dictionaries(steps, values, max_size=200) | st.lists(values, max_size=400).map(lambda v: dict(enumerate(v))),
    st.integers(FEWEST_POINTS, 60),
    st.none() | steps,
)
def test_what_is_shown_is_real_and_no_extreme_is_lost(
    make_session: MakeSession, stored: Points, points: int, after: int | None
) -> None:
    session = make_session()
    store(session, "loss", stored)
    store(session, "other", dict.fromkeys(stored, 1e300))  # of another series nothing is mixed in
    store(make_session(), "loss", dict.fromkeys(stored, -1e300))
    (series,) = read_series(session, ["loss"], points, after)
    expected = {step: value for step, value in stored.items() if after is None or step > after}
    shown = list(zip(series.steps, series.values, strict=True))
    assert series.count == len(expected)
    assert len(shown) <= points
    assert all(below < above for below, above in zip(series.steps, series.steps[1:], strict=False))
    assert set(shown) <= set(expected.items())
    if len(expected) <= points:
        assert shown == sorted(expected.items())
    finite = [value for value in expected.values() if value is not None]
    figures = series.as_dict()
    assert (figures["minimum"], figures["maximum"]) == (min(finite, default=None), max(finite, default=None))
    if finite:
        assert {min(finite), max(finite)} <= set(series.values)
    assert (None in series.values) == (None in expected.values())
    if expected:
        assert (series.steps[0], series.steps[-1]) == (min(expected), max(expected))


def test_a_spike_of_one_step_in_a_hundred_thousand_is_seen(make_session: MakeSession) -> None:
    session = make_session()
    points: Points = dict.fromkeys(range(100000), 1.0)
    points[54_321], points[77_777] = 1000.0, None
    store(session, "train/loss", points)
    (series,) = read_series(session, None, 1000)
    shown = dict(zip(series.steps, series.values, strict=True))
    assert shown[54_321] == 1000.0
    assert shown[77_777] is None
    assert series.count == 100_000
    assert 490 < len(shown) <= 1000  # each stretch shows the one value it has


def test_a_noisy_series_is_shown_in_nearly_as_many_points_as_were_asked_for(make_session: MakeSession) -> None:
    session = make_session()
    store(session, "train/loss", {step: float(step * 7919 % 1009) for step in range(50_000)})
    (series,) = read_series(session, None, 1000)
    assert 950 <= len(series.steps) <= 1000


@pytest.mark.parametrize("points", [FEWEST_POINTS, 100])
def test_each_point_tells_when_it_was_measured(client: APIClient, make_session: MakeSession, points: int) -> None:
    session = make_session()
    for step in range(60):
        at = datetime(2026, 1, 1, 0, 0, step, 500_000, tzinfo=UTC)
        session.points.create(name="loss", step=step, value=step % 7, timestamp=at)
    (series,) = client.get(f"{BASE}/{session.session_id}/series", {"points": points}).json()
    assert FEWEST_POINTS / 2 <= len(series["steps"]) <= points
    assert series["timestamps"] == [f"2026-01-01T00:00:{step:02}.500000Z" for step in series["steps"]]


def test_the_answer_has_a_series_for_each_name(client: APIClient, make_session: MakeSession) -> None:
    session = make_session()
    store(session, "train/loss", {10: 2.5, 20: None, 30: 1.5})
    store(session, "learning_rate", {10: 0.1})
    path = f"{BASE}/{session.session_id}/series"
    loss = {
        "name": "train/loss",
        "count": 3,
        "minimum": 1.5,
        "maximum": 2.5,
        "steps": [10, 20, 30],
        "values": [2.5, None, 1.5],
        "timestamps": ["2026-01-01T00:00:00Z"] * 3,
    }
    rate = {
        "name": "learning_rate",
        "count": 1,
        "minimum": 0.1,
        "maximum": 0.1,
        "steps": [10],
        "values": [0.1],
        "timestamps": ["2026-01-01T00:00:00Z"],
    }
    none_yet = {
        "name": "later",
        "count": 0,
        "minimum": None,
        "maximum": None,
        "steps": [],
        "values": [],
        "timestamps": [],
    }
    assert client.get(path).json() == [rate, loss]
    assert client.get(path, {"names": "train/loss,later,train/loss"}).json() == [loss, none_yet]
    tail = client.get(path, {"names": "train/loss", "after": "20"}).json()
    assert (tail[0]["count"], tail[0]["steps"], tail[0]["values"]) == (1, [30], [1.5])
    assert client.get(path, {"after": 30}).json() == []
    assert client.get(f"{BASE}/{make_session().session_id}/series").json() == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("points", text) for text in ("9", "10001", "", "x", "1e3", "-5", "٣٠", "100.0", " 100", "1_000")],
        *[("after", text) for text in ("-1", "", "x", "٣", str(2**63), "9" * 30)],
        *[("names", text) for text in ("", ",", "a,,b", "a,", "\x00", "a" * 101)],
    ],
)
def test_a_wrong_parameter_is_named(client: APIClient, make_session: MakeSession, name: str, value: str) -> None:
    answer = client.get(f"{BASE}/{make_session().session_id}/series", {name: value})
    assert answer.status_code == 400
    assert set(answer.json()["error"]["details"]) == {name}


@pytest.mark.parametrize("points", [FEWEST_POINTS, MOST_POINTS])
def test_the_widest_and_the_narrowest_view(client: APIClient, make_session: MakeSession, points: int) -> None:
    session = make_session()
    store(session, "noise", {step: float(step * 7919 % 1009) for step in range(11_000)})
    (series,) = client.get(f"{BASE}/{session.session_id}/series", {"points": points}).json()
    assert points * 0.7 <= len(series["steps"]) <= points


def test_a_series_is_read_by_its_index(make_session: MakeSession) -> None:
    session = make_session()
    store(session, "loss", {step: float(step) for step in range(500)})
    with CaptureQueriesContext(connection) as queries:
        read_series(session, ["loss"], 100)
    (choice,) = [query["sql"] for query in queries if "WITH buckets" in query["sql"]]
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {choice}")
        plan: list[Any] = [row[-1] for row in cursor.fetchall()]
    reads = [line for line in plan if " points " in f"{line} "]
    assert len(reads) == 2  # once for the figures of each bucket, once for the points that have them
    assert all(line.startswith("SEARCH points USING INDEX") for line in reads)
    assert all(line.endswith("(session_id=? AND name=? AND step>? AND step<?)") for line in reads)


@pytest.mark.parametrize("what", ["series", "tensorboard", "report", "record"])
@pytest.mark.parametrize("session_id", ["sess_000000000000", "x", "sess_%00"])
def test_an_unknown_session_is_a_404(client: APIClient, what: str, session_id: str) -> None:
    answer = client.get(f"{BASE}/{session_id}/{what}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "NOT_FOUND")
