"""The journal and the locks of the session directory, with torn lines and killed holders."""

import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.journal import AlreadyLocked, JournalWriter, Lock, SessionDirectory, last_end, read_events

messages = st.lists(st.text(), max_size=8)


def write_log(path: Path, texts: list[str], attempt: int = 1) -> None:
    writer = JournalWriter(path, attempt)
    for text in texts:
        writer.log("INFO", text)
    writer.close()


@given(messages, st.integers(1, 200))
def test_every_event_is_read_once_however_small_the_reads(texts: list[str], limit: int) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "events.jsonl"
        write_log(path, texts)
        found, offset = [], 0
        while (chunk := read_events(path, offset, limit)).offset > offset:
            found += [event["message"] for event in chunk.events]
            offset = chunk.offset
        assert found == texts
        assert offset == path.stat().st_size


@given(messages, messages, st.integers(0, 80))
def test_a_line_torn_by_a_kill_costs_that_line_alone(before: list[str], after: list[str], kept_bytes: int) -> None:
    """The writer dies in the middle of a line; the next attempt goes on behind it."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "events.jsonl"
        write_log(path, before)
        line = json.dumps({"event": "log", "attempt": 1, "at": "", "level": "INFO", "message": "torn" * 20}).encode()
        with path.open("ab") as file:
            file.write(line[:kept_bytes])
        assert [event["message"] for event in read_events(path, 0).events] == before
        write_log(path, after, attempt=2)
        assert [event["message"] for event in read_events(path, 0).events] == before + after


def test_a_line_torn_by_a_full_disk_costs_that_line_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer lives on, and what it writes when there is room again stands on a line of its own."""
    path = tmp_path / "events.jsonl"
    writer = JournalWriter(path, 1)
    writer.log("INFO", "before")
    write = os.write

    def write_half_then_refuse(descriptor: int, data: bytes) -> int:
        if not data.endswith(b'there"}\n') or b"event" not in data:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[:40])

    monkeypatch.setattr(os, "write", write_half_then_refuse)
    with pytest.raises(OSError, match="No space"):
        writer.log("INFO", "half of it is there")
    monkeypatch.undo()
    writer.end("failed", failure_code="disk_full")
    writer.close()
    assert path.read_bytes().count(b"\n") == 3
    assert [event["event"] for event in read_events(path, 0).events] == ["log", "end"]
    assert last_end(path, 1) == read_events(path, 0).events[-1]


def test_what_a_killed_process_left_unfinished_is_removed_and_nothing_else(tmp_path: Path) -> None:
    directory = SessionDirectory(tmp_path / "session")
    assert directory.remove_half_written() == 0  # there is nothing yet
    directory.create()
    unfinished = [
        *(directory.root / ".spec.json.part", directory.weights / ".model.pt.part"),
        directory.checkpoints / ".step-00000003.part" / "state.pt",
    ]
    finished = [directory.spec, directory.weights / "model.pt", directory.checkpoints / "step-00000003" / "state.pt"]
    for path in unfinished + finished:
        path.parent.mkdir(exist_ok=True)
        path.write_text("content")
    assert directory.remove_half_written() == 3
    assert sorted(path for path in directory.root.rglob("*") if path.is_file()) == sorted(finished)
    assert not (directory.checkpoints / ".step-00000003.part").exists()


def test_a_line_is_not_read_before_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"event": "log"}\n{"event": "lo')
    chunk = read_events(path, 0)
    assert [event["event"] for event in chunk.events] == ["log"]
    assert chunk.offset == 17


@pytest.mark.parametrize("line", [b"\xff\xfe", b"[1]", b"nonsense", b'{"no": "event"}', b'{"event": 3}', b""])
def test_a_line_that_is_no_event_is_passed_over(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(line + b'\n{"event": "end", "attempt": 1}\n')
    assert read_events(path, 0).events == [{"event": "end", "attempt": 1}]
    assert last_end(path, 1) == {"event": "end", "attempt": 1}


def test_a_journal_that_does_not_exist_yet_is_empty(tmp_path: Path) -> None:
    assert read_events(tmp_path / "none", 0).events == []
    assert last_end(tmp_path / "none", 1) is None


def test_a_lock_has_one_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with Lock.acquire(path):
        assert Lock.is_held(path)
        with pytest.raises(AlreadyLocked):
            Lock.acquire(path)
    assert not Lock.is_held(path)


def test_a_lock_that_was_handed_down_lives_and_dies_with_its_heir(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with Lock.acquire(path) as lock:
        heir = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], pass_fds=[lock.descriptor])
        lock.write_pid(heir.pid)
    assert Lock.is_held(path)
    assert Lock.read_pid(path) == heir.pid
    heir.kill()
    heir.wait()
    deadline = time.monotonic() + 5
    while Lock.is_held(path) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not Lock.is_held(path)


@pytest.mark.parametrize("content", ["", "x", "12x\n"])
def test_a_pid_that_is_none_is_none(tmp_path: Path, content: str) -> None:
    path = tmp_path / "lock"
    path.write_text(content)
    assert Lock.read_pid(path) is None


def test_what_does_not_exist_is_held_by_nobody(tmp_path: Path) -> None:
    assert not Lock.is_held(tmp_path / "nowhere" / "lock")
    assert Lock.read_pid(tmp_path / "nowhere" / "lock") is None
