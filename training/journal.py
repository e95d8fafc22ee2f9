"""The session directory, where trainer and server meet: its names, the events in its journal, its lock.

No Django and no torch here. The trainer appends events; the supervisor reads them into the database. Who
holds the lock is alive: the descriptor is opened by the supervisor, handed to the trainer, and released by
the kernel when the trainer's process is gone, however it went.
"""

import contextlib
import errno
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BufferedReader
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from registry.files import UNFINISHED, is_locked

# How much of the journal one read takes at most; a longer backlog is read in several turns.
READ_BYTES = 1 << 20
# The last line of a journal is looked for in so many bytes at its end; an end event is kept far below.
TAIL_BYTES = 1 << 18
# No event is longer. Code of the session's owner may write what is, and that is passed over.
LINE_BYTES = 1 << 22
# A log entry keeps so many characters, and an attempt so many bytes of log entries that are not the engine's own.
ENTRY_CHARACTERS = 1 << 14
LOG_BYTES = 10 << 20

Ending = Literal["completed", "interrupted", "failed"]


@dataclass(frozen=True)
class SessionDirectory:
    """The paths of one session's directory."""

    root: Path

    @property
    def spec(self) -> Path:
        return self.root / "spec.json"

    @property
    def lock(self) -> Path:
        """Held by the trainer as long as it lives."""
        return self.root / "lock"

    @property
    def supervisor_lock(self) -> Path:
        """Held by the supervisor as long as it lives."""
        return self.root / "supervisor.lock"

    @property
    def console_lock(self) -> Path:
        """Held by the process that keeps the trainer's console as long as it lives."""
        return self.root / "console.lock"

    @property
    def events(self) -> Path:
        return self.root / "events.jsonl"

    @property
    def console(self) -> Path:
        return self.root / "console.log"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def weights(self) -> Path:
        return self.root / "weights"

    def journal_size_bytes(self) -> int:
        """0 while there is no journal."""
        try:
            return self.events.stat().st_size
        except FileNotFoundError:
            return 0

    def trainer_lives(self) -> bool:
        return Lock.is_held(self.lock)

    def console_is_kept(self) -> bool:
        """Whether what a trainer printed may still be on its way into its console.log."""
        return Lock.is_held(self.console_lock)

    def signal_trainer(self, number: int) -> None:
        """Send a signal to the living trainer; where none lives, nothing happens."""
        Lock.signal_holder(self.lock, number)

    def note_interruption(self, attempt: int) -> None:
        """Write the end that a trainer which was killed on purpose had no time for, so that it counts as no crash."""
        journal = JournalWriter(self.events, attempt)
        journal.end("interrupted")
        journal.close()

    def create(self) -> None:
        """Make the directory and its folders; harmless when they are there."""
        for folder in (self.root, self.checkpoints, self.weights):
            folder.mkdir(parents=True, exist_ok=True)

    def half_written(self) -> list[Path]:
        """What a trainer has not finished writing, or had not when it was killed."""
        return [path for path in sorted(self.root.rglob(f"*{UNFINISHED}")) if path.parent.suffix != UNFINISHED]

    def remove_half_written(self) -> int:
        """Delete that, for when no trainer lives; how much it was."""
        found = self.half_written()
        for path in found:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        return len(found)


class AlreadyLocked(Exception):
    """Somebody else holds the lock, so somebody else is alive."""


class Lock:
    """An flock on a file: held until released or until every process that inherited it is gone."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    def acquire(cls, path: Path) -> Self:
        """Take the lock without waiting. Raises AlreadyLocked."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise AlreadyLocked(str(path)) from None
            raise
        os.ftruncate(descriptor, 0)  # whoever held it before is gone, and its pid may be another's by now
        return cls(descriptor)

    @staticmethod
    def is_held(path: Path) -> bool:
        """Whether a living process holds the lock. Nobody holds what does not exist. Leaves the content alone."""
        return is_locked(path)

    def write_pid(self, pid: int) -> None:
        """Say who holds the lock: one decimal line."""
        os.pwrite(self.descriptor, f"{pid}\n".encode(), 0)

    @staticmethod
    def read_pid(path: Path) -> int | None:
        """The pid that the holder wrote, or None where none stands. It means something only while the lock is held."""
        try:
            return int(path.read_text().split()[0])
        except (FileNotFoundError, ValueError, IndexError):
            return None

    @staticmethod
    def signal_holder(path: Path, number: int) -> None:
        """Send a signal to the process that holds the lock; where none does, nothing happens."""
        pid = Lock.read_pid(path)
        # Its pid stands in the lock soon after it is spawned, and means it as long as the lock is held.
        if pid is not None and Lock.is_held(path):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def note_beat(self) -> None:
        """Say that this process holds it and is at work now, by the clock that nobody sets and that all share."""
        os.pwrite(self.descriptor, f"{os.getpid()} {time.monotonic():020.3f}\n".encode(), 0)

    @staticmethod
    def seconds_since_beat(path: Path) -> float | None:
        """How long ago the holder was at work; None where it has not said. Means something only while it is held."""
        try:
            return time.monotonic() - float(path.read_text().split()[1])
        except (FileNotFoundError, ValueError, IndexError):
            return None

    def release(self) -> None:
        """Close this process's copy; the lock itself lives on in a process that inherited it."""
        os.close(self.descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def now() -> str:
    """The time as events and answers write it: ISO 8601 in UTC, ending in Z."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


class JournalWriter:
    """Appends events to a journal, each a JSON object on a line of its own, each carrying the attempt that wrote it.

    An event is with the kernel when the method returns, so it survives the death of the process. What survives the
    death of the machine is what was there at the last `sync`.
    """

    def __init__(self, path: Path, attempt: int) -> None:
        self.attempt = attempt
        self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._line_is_torn = self._ends_in_torn_line()
        self._log_bytes_left = LOG_BYTES
        self._left_out_count = 0

    def _ends_in_torn_line(self) -> bool:
        """Whether somebody who wrote before was killed, or met a full disk, in the middle of a line."""
        size = os.fstat(self._descriptor).st_size
        return bool(size) and os.pread(self._descriptor, 1, size - 1) != b"\n"

    def _append(self, event: str, fields: Mapping[str, Any]) -> None:
        """Write one event. Raises OSError, and may leave half a line: the next event starts on its own all the same."""
        record = {"event": event, "attempt": self.attempt, "at": now(), **fields}
        line = json.dumps(record, allow_nan=False, separators=(",", ":")).encode() + b"\n"
        if self._line_is_torn:
            line = b"\n" + line
        self._line_is_torn = True
        while line:
            line = line[os.write(self._descriptor, line) :]
        self._line_is_torn = False

    def sync(self) -> None:
        """Bring the journal to the disk: before a checkpoint, so that none knows of an epoch that is missing here."""
        os.fsync(self._descriptor)

    def start(self, pid: int, resumed_from: str | None) -> None:
        """The trainer lives; `resumed_from` names the checkpoint it goes on from."""
        self._append("start", {"pid": pid, "resumed_from": resumed_from})

    def progress(
        self, steps_done: int, steps_planned: int, samples_per_second: float | None, seconds_left: float | None
    ) -> None:
        """A sign of life every second or so, with how far the training is; null where that is not known yet."""
        figures = {"samples_per_second": samples_per_second, "seconds_left": seconds_left}
        self._append("progress", {"steps_done": steps_done, "steps_planned": steps_planned, **figures})

    def log(self, level: str, message: str, *, always: bool = True) -> None:
        """One log entry, without its middle if it is long; `level` is a name of Python's logging.

        One that is not to be there `always` is left out and counted when there have been LOG_BYTES of such.
        """
        if len(message) > ENTRY_CHARACTERS:
            half, left_out = ENTRY_CHARACTERS // 2, len(message) - ENTRY_CHARACTERS
            message = f"{message[:half]}\n[{left_out:,} characters are left out here]\n{message[-half:]}"
        if not always and not self._has_room_for(message):
            return
        self._append("log", {"level": level, "message": message})

    def _has_room_for(self, message: str) -> bool:
        """Whether one more log entry is taken. What is not, is counted, and the first time the log says so."""
        if self._left_out_count == 0:
            self._log_bytes_left -= len(message.encode(errors="replace"))
            if self._log_bytes_left >= 0:
                return True
            self.log("WARNING", f"This attempt has logged {LOG_BYTES >> 20} MB: further entries are left out.")
        self._left_out_count += 1
        return False

    def epoch(
        self, epoch: int, loss: float | None, accuracy: float | None, val_loss: float | None, val_accuracy: float | None
    ) -> None:
        """An epoch is complete. Written before the checkpoint that contains it."""
        metrics = {"loss": loss, "accuracy": accuracy, "val_loss": val_loss, "val_accuracy": val_accuracy}
        self._append("epoch", {"epoch": epoch, **metrics})

    def points(self, steps: Sequence[int], series: Mapping[str, Sequence[float | None]]) -> None:
        """Points of step series by name, each as many values as there are steps; null where a value is not finite."""
        self._append("points", {"steps": list(steps), "series": series})

    def record(self, record: Mapping[str, Any]) -> None:
        """What reproducing the session takes: versions, hardware, hashes. Once in each attempt."""
        self._append("record", {"record": record})

    def report(self, report: Mapping[str, Any]) -> None:
        """How the final weights do on the validation split, in more detail than an epoch tells."""
        self._append("report", {"report": report})

    def checkpoint(self, name: str, epoch: int, step: int, size_bytes: int, sha256: str) -> None:
        """A checkpoint is whole, hashed and under its name. `epoch` and `step` count what is complete in it."""
        self._append(
            "checkpoint", {"name": name, "epoch": epoch, "step": step, "size_bytes": size_bytes, "sha256": sha256}
        )

    def end(
        self,
        ending: Ending,
        *,
        weights: str | None = None,
        sha256: str | None = None,
        failure_code: str | None = None,
        error_message: str | None = None,
    ) -> None:
        """The last event of an attempt that ended by itself. `weights` is a file name inside weights/."""
        if self._left_out_count:
            self.log("WARNING", f"{self._left_out_count:,} log entries of this attempt were left out.")
            self._left_out_count = 0
        fields = {"ending": ending, "weights": weights, "sha256": sha256, "failure_code": failure_code}
        self._append("end", {**fields, "error_message": error_message and error_message[:ENTRY_CHARACTERS]})
        self.sync()

    def close(self) -> None:
        os.close(self._descriptor)


@dataclass(frozen=True)
class Chunk:
    """Whole events read from a journal, and the offset behind the last of them."""

    events: list[dict[str, Any]]
    offset: int


def read_events(path: Path, offset: int, limit: int = READ_BYTES) -> Chunk:
    """Read the whole lines between `offset` and about `limit` bytes further.

    A line that is still being written is left for later; a line that is no event (torn by a kill, or longer than any)
    is passed over.
    """
    try:
        with path.open("rb") as file:
            file.seek(max(0, offset - 1))
            if offset and file.read(1) != b"\n":
                return _pass_over_line(file, offset, limit)
            data = file.read(limit)
            # A line longer than the limit would otherwise never be passed.
            if b"\n" not in data and len(data) == limit:
                data += file.readline(LINE_BYTES)
    except FileNotFoundError:
        return Chunk([], offset)
    end = data.rfind(b"\n") + 1
    if not end and len(data) > LINE_BYTES:
        end = len(data)
    return Chunk(list(_parse_lines(data[:end])) if data[:end].endswith(b"\n") else [], offset + end)


def _pass_over_line(file: BufferedReader, offset: int, limit: int) -> Chunk:
    """Go on to the end of a line whose beginning was passed over, however far that is."""
    while piece := file.readline(limit):
        offset += len(piece)
        if piece.endswith(b"\n"):
            break
    return Chunk([], offset)


def _parse_lines(data: bytes) -> Iterator[dict[str, Any]]:
    for line in data.split(b"\n"):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict) and isinstance(record.get("event"), str):
            yield record


def last_end(path: Path, attempt: int) -> dict[str, Any] | None:
    """The end that an attempt wrote, or None. Code that runs while the process ends may have logged behind it."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            data = file.read()
    except FileNotFoundError:
        return None
    events = _parse_lines(data[: data.rfind(b"\n") + 1])
    ends = [event for event in events if event["event"] == "end" and event.get("attempt") == attempt]
    return ends[-1] if ends else None
