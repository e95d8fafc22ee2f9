"""Why the queue waits: what is said of each session, and what the claim makes of it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from monitoring import probes
from tests.monitoring.fake_nvml import GIBIBYTE, FakeGpu, FakeNvml
from tests.training.conftest import MakeSession
from training.admission import NAMED_AHEAD, Overview, Waiting
from training.journal import Lock
from training.models import QueueControl, TrainingSession
from training.obstacles import WaitingReason
from training.recovery import work_waits
from training.state import State

pytestmark = pytest.mark.django_db

STRANGER = 2**22 + 7  # no process has such an id


def reasons(sessions: list[TrainingSession]) -> list[str | None]:
    overview = Overview.now()
    return [waiting.reason if (waiting := overview.waiting(session)) else None for session in sessions]


@pytest.fixture(autouse=True)
def all_gpus_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def put_in(monkeypatch: pytest.MonkeyPatch, *gpus: FakeGpu) -> None:
    monkeypatch.setattr(probes, "pynvml", FakeNvml(gpus))


def play_disk(monkeypatch: pytest.MonkeyPatch, **figures: int) -> None:
    disk = {"f_bavail": 1 << 40, "f_frsize": 1, "f_files": 1000, "f_favail": 500} | figures
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(**disk))


def test_nothing_in_the_way_the_first_starts_and_the_others_wait_for_it(make_session: MakeSession) -> None:
    first, second, third = (make_session() for _ in range(3))
    overview = Overview.now()
    assert [overview.position(session) for session in (third, first, second)] == [3, 1, 2]
    assert overview.waiting(first) == Waiting(WaitingReason.STARTING)
    assert overview.waiting(second) == Waiting(WaitingReason.BEHIND_OTHERS, (first.session_id,))
    assert overview.waiting(third) == Waiting(WaitingReason.BEHIND_OTHERS, (first.session_id, second.session_id))
    assert TrainingSession.objects.claim_next(by="test") == first


def test_only_a_few_of_those_ahead_are_named(make_session: MakeSession) -> None:
    sessions = [make_session() for _ in range(NAMED_AHEAD + 3)]
    overview = Overview.now()
    named = [waiting.waits_for for session in sessions if (waiting := overview.waiting(session))]
    ids = tuple(session.session_id for session in sessions)
    assert named == [ids[: min(place, NAMED_AHEAD)] for place in range(len(sessions))]


@pytest.mark.parametrize("state", [state for state in State if state != State.QUEUED])
def test_who_is_not_queued_waits_for_nothing(make_session: MakeSession, state: State) -> None:
    session = make_session(state=state)
    assert Overview.now().position(session) is None
    assert Overview.now().waiting(session) is None


def test_taken_places_are_named_to_the_first(make_session: MakeSession, settings: Settings) -> None:
    settings.MAX_CONCURRENT_SESSIONS = 2
    running = [make_session(state=State.RUNNING) for _ in range(2)]
    first, second = make_session(), make_session()
    overview = Overview.now()
    ids = tuple(session.session_id for session in running)
    assert overview.waiting(first) == Waiting(WaitingReason.PLACE_TAKEN, ids)
    assert overview.waiting(second) == Waiting(WaitingReason.BEHIND_OTHERS, (first.session_id,))
    assert TrainingSession.objects.claim_next(by="test") is None
    assert not TrainingSession.objects.queue_moves()
    settings.MAX_CONCURRENT_SESSIONS = 3
    assert reasons([first]) == ["starting"]
    assert TrainingSession.objects.claim_next(by="test") == first


def test_a_paused_queue_is_what_everybody_waits_for(make_session: MakeSession) -> None:
    sessions = [make_session() for _ in range(2)]
    QueueControl.objects.pause(by="test")
    assert reasons(sessions) == ["queue_paused", "queue_paused"]
    assert TrainingSession.objects.claim_next(by="test") is None
    assert not work_waits()
    QueueControl.objects.resume()
    assert reasons(sessions) == ["starting", "behind_others"]
    assert work_waits()
    assert TrainingSession.objects.claim_next(by="test") == sessions[0]


# --- The disk -----------------------------------------------------------------------------------------------------

MEBIBYTE = 1 << 20


@pytest.mark.parametrize(
    ("figures", "least", "is_low"),
    [
        ({}, 1 << 30, False),
        ({"f_bavail": 99 * MEBIBYTE}, 100 * MEBIBYTE, True),
        ({"f_bavail": 100 * MEBIBYTE}, 100 * MEBIBYTE, False),
        ({"f_bavail": 25 * 256, "f_frsize": 4096}, 25 * MEBIBYTE, False),  # blocks and not bytes are counted
        ({"f_bavail": 25 * 256 - 1, "f_frsize": 4096}, 25 * MEBIBYTE, True),
        ({"f_bavail": 0}, 0, False),  # switched off
        ({"f_favail": 0}, 1, True),
        ({"f_favail": 0}, 0, False),
        ({"f_favail": 0, "f_files": 0}, 1, False),  # a file system without a fixed number of inodes
    ],
)
def test_nobody_starts_on_a_full_disk(
    make_session: MakeSession,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    figures: dict[str, int],
    least: int,
    is_low: bool,
) -> None:
    sessions = [make_session(), make_session()]
    settings.MIN_FREE_DISK_BYTES = least
    play_disk(monkeypatch, **figures)
    assert reasons(sessions) == (["disk_low", "disk_low"] if is_low else ["starting", "behind_others"])
    assert work_waits() != is_low
    assert (TrainingSession.objects.claim_next(by="test") is None) == is_low


def test_a_low_disk_says_which_and_how_low(
    make_session: MakeSession, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MIN_FREE_DISK_BYTES = 1 << 30
    play_disk(monkeypatch, f_bavail=300 * MEBIBYTE)
    waiting = Overview.now().waiting(make_session())
    assert waiting is not None
    assert f"1024 MiB of free disk in {settings.SESSIONS_DIR}, where 300 MiB are" in waiting.waits_for


def test_the_disk_is_really_read_and_one_that_is_gone_is_no_place_to_start(
    make_session: MakeSession, settings: Settings
) -> None:
    session = make_session()
    settings.MIN_FREE_DISK_BYTES = shutil.disk_usage(settings.SESSIONS_DIR).total + 1
    assert reasons([session]) == ["disk_low"]
    settings.MIN_FREE_DISK_BYTES = 1
    assert reasons([session]) == ["starting"]
    Path(settings.MODELS_DIR).rmdir()
    waiting = Overview.now().waiting(session)
    assert waiting == Waiting(WaitingReason.DISK_LOW, (f"the folder {settings.MODELS_DIR}: No such file or directory",))


# --- The GPUs -----------------------------------------------------------------------------------------------------


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """A living process with a child, which tells its id and waits."""
    code = "import subprocess; child = subprocess.Popen(['sleep', '600']); print(child.pid, flush=True); child.wait()"
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True)
    yield parent
    os.killpg(parent.pid, 9)
    parent.wait()
    assert parent.stdout is not None
    parent.stdout.close()


HALF, MOST = 8 * GIBIBYTE, 12 * GIBIBYTE


@pytest.mark.parametrize(
    ("config", "percent", "gpus", "taken"),
    [
        ({}, 50, [], []),  # auto on a machine without a GPU computes on the CPU
        ({}, 50, [FakeGpu(computing={STRANGER: HALF})], [0]),
        ({}, 50, [FakeGpu(computing={STRANGER: HALF - 1})], []),
        ({}, 51, [FakeGpu(computing={STRANGER: HALF})], []),
        ({}, 100, [FakeGpu(computing={STRANGER: 2 * HALF})], []),
        ({}, 0, [FakeGpu(computing={STRANGER: 0})], [0]),
        ({}, 0, [FakeGpu()], []),
        ({}, 50, [FakeGpu(drawing={STRANGER: MOST})], [0]),
        ({}, 50, [FakeGpu(computing={STRANGER: HALF // 2, STRANGER + 1: HALF // 2})], [0, 0]),
        ({}, 50, [FakeGpu(computing={STRANGER: HALF // 2}, drawing={STRANGER: HALF // 2})], []),  # one and the same
        ({}, 50, [FakeGpu(memory_used_bytes=MOST)], []),  # nobody's
        ({}, 50, [FakeGpu(computing={STRANGER: None})], []),  # it would not tell
        ({}, 50, [FakeGpu(computing={STRANGER: MOST}, refuses=frozenset({"handle"}))], []),
        ({}, 50, [FakeGpu(computing={STRANGER: MOST}, refuses=frozenset({"memory"}))], []),
        ({}, 50, [FakeGpu(computing={STRANGER: MOST}, refuses=frozenset({"computing"}))], []),
        ({"device": "cuda"}, 50, [FakeGpu(), FakeGpu(computing={STRANGER: MOST})], []),
        ({"device": "cuda:1"}, 50, [FakeGpu(), FakeGpu(computing={STRANGER: MOST})], [1]),
        ({"device": "cuda:0"}, 50, [FakeGpu(), FakeGpu(computing={STRANGER: MOST})], []),
        ({"gpus": 2}, 50, [FakeGpu(), FakeGpu(computing={STRANGER: MOST})], [1]),
        ({"gpus": 2}, 50, [FakeGpu(), FakeGpu(), FakeGpu(computing={STRANGER: MOST})], []),
        ({"device": "cpu"}, 50, [FakeGpu(computing={STRANGER: MOST})], []),
    ],
)
def test_a_gpu_in_foreign_hands_is_waited_for_by_those_that_need_it(
    make_session: MakeSession,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    config: dict[str, Any],
    percent: float,
    gpus: list[FakeGpu],
    taken: list[int],
) -> None:
    settings.GPU_FOREIGN_PERCENT = percent
    put_in(monkeypatch, *(FakeGpu() for _ in range(3)))
    first, second = make_session(config), make_session({"device": "cpu"})
    put_in(monkeypatch, *gpus)
    waiting = Overview.now().waiting(first)
    assert waiting is not None
    if taken:
        assert waiting.reason == WaitingReason.GPU_IN_USE
        assert [int(word.rpartition(" ")[2]) for word in waiting.waits_for] == taken
        assert all(word.startswith(f"process {STRANGER}"[:-1]) for word in waiting.waits_for)
    else:
        assert waiting == Waiting(WaitingReason.STARTING)
    # The order is strict: who needs no GPU waits behind one that does.
    assert reasons([second]) == ["behind_others"]
    assert work_waits() == (not taken)
    assert TrainingSession.objects.claim_next(by="test") == (None if taken else first)


@pytest.mark.parametrize(
    ("visible", "device", "taken"),
    [
        ("1", "cuda", True),
        ("0", "cuda", False),
        ("1,0", "cuda:0", True),
        ("1,0", "cuda:1", False),
        ("", "cuda", False),
        ("GPU-8a56a4bc", "cuda", False),
        ("7", "cuda", False),
        ("-1", "cuda", False),
        ("0, 1", "cuda:1", True),
    ],
)
def test_the_gpus_are_counted_as_trainers_see_them(
    make_session: MakeSession, monkeypatch: pytest.MonkeyPatch, visible: str, device: str, taken: bool
) -> None:
    put_in(monkeypatch, FakeGpu(), FakeGpu(computing={STRANGER: MOST}))
    session = make_session({"device": device})
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    expected = Waiting(WaitingReason.GPU_IN_USE, (f"process {STRANGER} on GPU 1",))
    assert Overview.now().waiting(session) == (expected if taken else Waiting(WaitingReason.STARTING))


def test_a_foreign_process_is_named(
    make_session: MakeSession, monkeypatch: pytest.MonkeyPatch, process: subprocess.Popen[bytes]
) -> None:
    put_in(monkeypatch, FakeGpu(computing={process.pid: MOST}))
    waiting = Overview.now().waiting(make_session())
    assert waiting is not None
    (words,) = waiting.waits_for
    assert words.startswith(f"process {process.pid} (python")
    assert words.endswith(") on GPU 0")


def test_trainers_and_what_they_started_are_not_foreign(
    make_session: MakeSession, settings: Settings, monkeypatch: pytest.MonkeyPatch, process: subprocess.Popen[bytes]
) -> None:
    settings.MAX_CONCURRENT_SESSIONS = 2
    running, waiting = make_session(state=State.RUNNING), make_session()
    running.directory.create()
    assert process.stdout is not None
    rank = int(process.stdout.readline())
    put_in(monkeypatch, FakeGpu(computing={process.pid: MOST, rank: MOST}))
    assert reasons([waiting]) == ["gpu_in_use"]
    with Lock.acquire(running.directory.lock) as lock:
        lock.write_pid(process.pid)
        assert reasons([waiting]) == ["starting"]
        assert work_waits()
    # The pid still stands there, and without the lock it means nothing.
    assert reasons([waiting]) == ["gpu_in_use"]


class UntouchableNvml:
    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"NVML was asked: {name}")


def test_nvml_is_left_alone_where_no_gpu_could_be_needed(
    make_session: MakeSession, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TRAINING_DEVICE = "cpu"
    put_in(monkeypatch)
    on_gpu = make_session({"device": "auto"})
    on_cpu = make_session({"priority": 1})
    monkeypatch.setattr(probes, "pynvml", UntouchableNvml())
    assert work_waits()
    assert TrainingSession.objects.claim_next(by="test") == on_cpu
    # Nor is it asked while all places are taken, or while the queue is paused.
    assert not TrainingSession.objects.queue_moves()
    assert reasons([on_gpu]) == ["place_taken"]
    QueueControl.objects.pause(by="test")
    settings.MAX_CONCURRENT_SESSIONS = 2
    assert not TrainingSession.objects.queue_moves()
    settings.GPU_FOREIGN_PERCENT = 100
    QueueControl.objects.resume()
    assert TrainingSession.objects.claim_next(by="test") == on_gpu


def test_the_machine_is_never_asked_inside_a_transaction(
    make_session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk or a driver that takes its time must not keep everybody else from the database."""
    depth = len(connection.savepoint_ids)
    asked: list[int] = []
    real = os.statvfs

    def read_disk(folder: str) -> os.statvfs_result:
        asked.append(len(connection.savepoint_ids))
        return real(folder)

    make_session()
    monkeypatch.setattr(os, "statvfs", read_disk)
    assert TrainingSession.objects.claim_next(by="test") is not None
    assert set(asked) == {depth}


def test_who_comes_first_meanwhile_is_looked_at_before_it_is_claimed(
    make_session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at the machine and the claim somebody may submit what goes before."""
    first = make_session({"device": "cpu"})
    put_in(monkeypatch, FakeGpu(computing={STRANGER: MOST}))
    real = os.statvfs
    arrivals = iter([{"priority": 5}])

    def read_disk(folder: str) -> os.statvfs_result:
        for config in arrivals:
            make_session(config)
        return real(folder)

    monkeypatch.setattr(os, "statvfs", read_disk)
    assert TrainingSession.objects.claim_next(by="test") is None
    first.refresh_from_db()
    assert first.state == State.QUEUED


def test_an_overview_of_many_costs_as_many_queries_as_one_of_few(make_session: MakeSession) -> None:
    sessions = [make_session() for _ in range(12)]

    def queries(some: list[TrainingSession]) -> int:
        with CaptureQueriesContext(connection) as captured:
            overview = Overview.now()
            for session in some:
                assert overview.position(session) is not None
                assert overview.waiting(session) is not None
        return len(captured)

    assert queries(sessions) == queries(sessions[::-1]) == queries(sessions[:2])
