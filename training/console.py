"""A trainer's console: a process of its own that reads what the trainer prints and keeps a bounded part of it.

    python -S -m training.console CONSOLE_LOG MAX_BYTES < PIPE

It keeps the first fifth and the newest part, and between them a line that counts the bytes left out. It lives until
nobody can write to the pipe any more, whoever else has ended by then. No Django and no torch here, and nothing that
takes long to import.
"""

import fcntl
import mmap
import os
import re
import select
import signal
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

# As much as an ordinary user may ask for.
PIPE_BYTES = 1 << 20
HEAD_SHARE = 5
# What comes faster than the file is written anew passes through so much memory.
MEMORY_BYTES = 8 << 20
BLOCK_BYTES = 1 << 18
# So much at a time goes into the file while there is room; the rest of a pause's output follows when this has passed.
PORTION_BYTES = 1 << 20
WRITE_AFTER_SECONDS = 0.05
# A full file is written anew no more often, however much is printed.
REWRITE_AFTER_SECONDS = 2.0
# A reader that waits for every line has to be woken by the writer for every line.
NAP_SECONDS = 0.001

MARK = re.compile(rb"\n\[([0-9,]{1,26}) bytes of output are left out here\]\n")


def mark(left_out: int) -> bytes:
    """The line between the first part and the newest."""
    return f"\n[{left_out:,} bytes of output are left out here]\n".encode()


MARK_BYTES = len(mark(10**19))


class Queue:
    """Bytes that come in at the end and leave at the front, without being moved about."""

    def __init__(self) -> None:
        self._blocks: deque[bytearray] = deque()
        self.size = 0

    def __iter__(self) -> Iterator[bytearray]:
        return iter(self._blocks)

    @property
    def first(self) -> bytearray:
        return self._blocks[0]

    def add(self, data: bytes) -> None:
        if self._blocks and len(self._blocks[-1]) + len(data) <= BLOCK_BYTES:
            self._blocks[-1] += data
        else:
            self._blocks.append(bytearray(data))
        self.size += len(data)

    def drop(self, count: int) -> None:
        """Let so many bytes go, from the front."""
        self.size -= count
        while count and count >= len(self.first):
            count -= len(self._blocks.popleft())
        if count:
            del self.first[:count]


class Console:
    """A file that never gets longer than `max_bytes`, however much is added. One process at a time writes it.

    Whoever reads it sees a whole file: it grows, or is replaced by another under its name.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._path = path
        self._aside = path.with_name(f".{path.name}.part")
        self._max_bytes = max_bytes
        self._memory_bytes = min(MEMORY_BYTES, (max_bytes - max_bytes // HEAD_SHARE - MARK_BYTES) // 2)
        self._waiting = Queue()  # what is not in the file yet
        self._waits_since = 0.0
        self._lost_bytes = 0  # what came between the file's end and what is waiting
        self._rewrite_at = 0.0
        # What the file holds: the first part up to `_head_bytes`, the newest from `_tail_start` to `_size`.
        self._file: int | None = None
        self._size = self._head_bytes = self._tail_start = self._left_out = 0

    @property
    def seconds_until_write(self) -> float | None:
        """How long what is waiting may still wait; None while nothing is."""
        if not self._waiting.size and not self._lost_bytes:
            return None
        due_at = self._waits_since + WRITE_AFTER_SECONDS
        if self._lost_bytes or self._size >= self._max_bytes:
            due_at = max(due_at, self._rewrite_at)
        return max(0.0, due_at - time.monotonic())

    def add(self, data: bytes) -> None:
        """Take output in. It stands in the file soon, or is counted."""
        if not self._waiting.size:
            self._waits_since = time.monotonic()
        self._waiting.add(data)
        if self._waiting.size >= min(PORTION_BYTES, self._memory_bytes):
            with suppress(OSError):
                self._append()
        self._lose(self._waiting.size - self._memory_bytes)

    def write(self) -> None:
        """Bring what is waiting into the file. Where that cannot be, it is tried again after a while."""
        try:
            self._append()
            if self._waiting.size or self._lost_bytes:
                self._rewrite()
        except OSError:
            self._waits_since = self._rewrite_at = time.monotonic() + REWRITE_AFTER_SECONDS

    def finish(self) -> None:
        """Bring all that is left into the file; on a full disk, into the space that the file has."""
        self.write()
        if self._file is not None and (self._waiting.size or self._lost_bytes):
            with suppress(OSError):
                self._overwrite(self._file)

    def _lose(self, count: int) -> None:
        """Let the oldest go of what is waiting."""
        if count > 0:
            self._waiting.drop(count)
            self._lost_bytes += count

    def _append(self) -> None:
        """Write as much as there is room for, unless something is missing before it. Raises OSError."""
        file = self._open()
        while not self._lost_bytes and (room := self._max_bytes - self._size) > 0 and self._waiting.size:
            with memoryview(self._waiting.first) as block:
                written = os.pwrite(file, block[:room], self._size)
            self._waiting.drop(written)
            self._size += written
            if not self._left_out:
                self._head_bytes = self._tail_start = min(self._size, self._max_bytes // HEAD_SHARE)

    def _rewrite(self) -> None:
        """Replace the file by one with room at its end. Raises OSError; then nothing has changed."""
        old = self._open()
        head_bytes = min(self._head_bytes, self._max_bytes // HEAD_SHARE)
        half = (self._max_bytes - head_bytes - MARK_BYTES) // 2
        tail_bytes = 0 if self._lost_bytes else min(self._size - self._tail_start, max(0, half - self._waiting.size))
        line = mark(left_out := self._count(head_bytes, tail_bytes))
        new = os.open(self._aside, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            _copy(old, new, 0, head_bytes)
            _write(new, line)
            _copy(old, new, self._size - tail_bytes, tail_bytes)
            for block in self._waiting:
                _write(new, block)
            self._aside.replace(self._path)
        except OSError:
            os.close(new)
            self._aside.unlink(missing_ok=True)
            raise
        os.close(old)
        self._file = new
        self._settle(head_bytes, head_bytes + len(line), tail_bytes + self._waiting.size, left_out)
        self._rewrite_at = time.monotonic() + REWRITE_AFTER_SECONDS

    def _overwrite(self, file: int) -> None:
        """Put the mark and the newest part over the file's end, which needs no space. Raises OSError."""
        head_bytes = min(self._head_bytes, max(0, self._size - MARK_BYTES))
        room = max(0, self._size - head_bytes - MARK_BYTES)
        self._lose(self._waiting.size - room)
        line = mark(left_out := self._count(head_bytes, 0))
        os.pwrite(file, line + b"".join(self._waiting), head_bytes)
        self._settle(head_bytes, head_bytes + len(line), self._waiting.size, left_out)
        os.ftruncate(file, self._size)

    def _count(self, head_bytes: int, tail_bytes: int) -> int:
        """The bytes left out once so much of the file's two parts is kept, and all that is waiting."""
        kept_bytes = head_bytes + tail_bytes
        return self._left_out + self._head_bytes + self._size - self._tail_start - kept_bytes + self._lost_bytes

    def _settle(self, head_bytes: int, tail_start: int, tail_bytes: int, left_out: int) -> None:
        """What the file holds now."""
        self._head_bytes, self._tail_start, self._size = head_bytes, tail_start, tail_start + tail_bytes
        self._left_out, self._lost_bytes = left_out, 0
        self._waiting.drop(self._waiting.size)

    def _open(self) -> int:
        """The file; one that earlier attempts have left is gone on with. Raises OSError."""
        if self._file is None:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                self._take_up(file)
            except OSError:
                os.close(file)
                raise
            self._file = file
        return self._file

    def _take_up(self, file: int) -> None:
        """Find out what a file holds that was there before. Raises OSError."""
        self._size = os.fstat(file).st_size
        self._head_bytes = self._tail_start = min(self._size, self._max_bytes // HEAD_SHARE)
        if self._size:
            with mmap.mmap(file, 0, access=mmap.ACCESS_READ) as content:
                if found := MARK.search(content):
                    self._left_out = int(found[1].replace(b",", b""))
                    self._head_bytes, self._tail_start = found.span()


def _copy(source: int, target: int, start: int, count: int) -> None:
    """Add a part of one file to another. Raises OSError."""
    while count:
        copied = os.sendfile(target, source, start, count)
        if not copied:
            raise OSError(f"{count} bytes of the file are gone")
        start, count = start + copied, count - copied


def _write(file: int, data: bytes | bytearray) -> None:
    with memoryview(data) as view:
        written = 0
        while written < len(view):
            written += os.write(file, view[written:])


def read_to_end(pipe: int, console: Console) -> None:
    """Give a console all that comes through a pipe, until nobody holds its other end."""
    with suppress(OSError):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    enough_bytes = fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ) // 4
    while True:
        seconds = console.seconds_until_write
        if seconds == 0.0 or not select.select([pipe], [], [], seconds)[0]:
            console.write()
            continue
        data = os.read(pipe, PIPE_BYTES)
        if not data:
            return console.finish()
        console.add(data)
        if len(data) < enough_bytes:
            time.sleep(NAP_SECONDS)


def main() -> None:
    """Keep the console of one trainer."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends when its trainer has
    path, max_bytes = sys.argv[1:]
    read_to_end(sys.stdin.fileno(), Console(Path(path), int(max_bytes)))


if __name__ == "__main__":
    main()
