"""The archive for TensorBoard, read by TensorBoard itself."""

import io
import math
import struct
import time
import tracemalloc
import warnings
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rest_framework.test import APIClient

from tests.training.conftest import MakeSession
from training.ingest import STORE_POINT, execute_each
from training.models import TrainingSession
from training.tensorboard import tensorboard_archive

pytestmark = pytest.mark.django_db

START = datetime(2026, 3, 1, 12, 30, 0, 250_000, tzinfo=UTC)

Story = Mapping[str, Mapping[int, float | None]]


def store(session: TrainingSession, story: Story) -> None:
    """Store series whose points were measured a second a step after START."""
    for name, points in story.items():
        times = {step: START + timedelta(seconds=step % 86_400) for step in points}
        execute_each(STORE_POINT, [(session.pk, name, step, points[step], str(times[step])) for step in points])


def read(archive: Any, folder: Path) -> dict[str, list[tuple[int, float, float]]]:
    """Steps, wall times and values by name, as TensorBoard reads them from the unpacked archive."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of TensorBoard's own imports
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        with zipfile.ZipFile(archive) as opened:
            opened.extractall(folder)
        (log,) = folder.iterdir()
        accumulator = EventAccumulator(str(log), size_guidance={"scalars": 0})
        accumulator.Reload()
        assert accumulator.file_version == 2.0
    return {
        name: [(event.step, event.wall_time, event.value) for event in accumulator.Scalars(name)]
        for name in accumulator.Tags()["scalars"]
    }


def as_float32(value: float | None) -> float:
    return math.nan if value is None else struct.unpack("<f", struct.pack("<f", value))[0]


names = st.text(st.characters(codec="utf-8", exclude_characters=",", min_codepoint=32), min_size=1, max_size=30)
values = st.none() | st.floats(width=32, allow_nan=False, allow_infinity=False) | st.floats(-1e30, 1e30)
stories = st.dictionaries(names, st.dictionaries(st.integers(0, 2**62), values, min_size=1, max_size=20), max_size=4)


@settings(max_examples=50)
@given(stories)
def test_tensorboard_reads_what_is_stored(
    make_session: MakeSession, tmp_path_factory: pytest.TempPathFactory, story: Story
) -> None:
    session = make_session()
    store(session, story)
    store(make_session(), {"of another session": {1: 1.0}})
    with tensorboard_archive(session) as archive:
        found = read(archive, tmp_path_factory.mktemp("log"))
    expected = {
        name: [
            (step, (START + timedelta(seconds=step % 86_400)).timestamp(), as_float32(points[step]))
            for step in sorted(points)
        ]
        for name, points in story.items()
    }
    assert {name: [event[:2] for event in events] for name, events in found.items()} == {
        name: [event[:2] for event in events] for name, events in expected.items()
    }
    for name, events in expected.items():
        assert [event[2] for event in found[name]] == pytest.approx([event[2] for event in events], rel=0, nan_ok=True)


def test_the_endpoint_answers_with_the_archive(client: APIClient, make_session: MakeSession, tmp_path: Path) -> None:
    session = make_session()
    store(session, {"train/loss": {10: 2.5, 20: 1e300}, "learning_rate": {10: 0.5, 20: -1e300}})
    answer: Any = client.get(f"/api/v1/training/{session.session_id}/tensorboard", HTTP_ACCEPT="application/zip")
    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/zip"
    assert answer["Content-Disposition"] == f'attachment; filename="{session.session_id}_tensorboard.zip"'
    content = b"".join(answer.streaming_content)
    assert int(answer["Content-Length"]) == len(content)
    found = read(io.BytesIO(content), tmp_path / "log")
    assert [event[2] for event in found["train/loss"]] == [2.5, math.inf]
    assert [event[2] for event in found["learning_rate"]] == [0.5, -math.inf]
    assert [path.name for path in (tmp_path / "log").iterdir()] == [session.session_id]


def test_a_session_without_points_has_an_empty_log(
    client: APIClient, make_session: MakeSession, tmp_path: Path
) -> None:
    answer: Any = client.get(f"/api/v1/training/{make_session().session_id}/tensorboard")
    assert read(io.BytesIO(b"".join(answer.streaming_content)), tmp_path / "log") == {}


def test_nothing_is_left_behind(make_session: MakeSession, data_dir: Path) -> None:
    session = make_session()
    before = sorted(data_dir.rglob("*"))
    tensorboard_archive(session).close()
    assert sorted(data_dir.rglob("*")) == before


def test_the_points_are_not_held_in_memory(make_session: MakeSession) -> None:
    session = make_session()
    store(session, {name: {step: float(step) for step in range(2000)} for name in ("a", "b", "c", "d")})
    tensorboard_archive(session).close()
    tracemalloc.start()
    tensorboard_archive(session).close()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 << 20


@pytest.mark.slow
def test_a_hundred_thousand_points_take_seconds(make_session: MakeSession, tmp_path: Path) -> None:
    session = make_session()
    story = {name: {step: float(step) for step in range(25_000)} for name in ("a", "b", "c", "d")}
    store(session, story)
    started_at = time.process_time()
    archive = tensorboard_archive(session)
    assert time.process_time() - started_at < 10
    found = read(archive, tmp_path / "log")
    archive.close()
    assert {name: len(events) for name, events in found.items()} == dict.fromkeys(story, 25_000)
