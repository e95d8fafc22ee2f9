"""The console keeps a bounded part of what is printed, and counts the rest to the byte, whatever comes."""

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.processes.server import wait_for
from training import console
from training.console import MARK, Console, mark

ROOT = Path(__file__).resolve().parents[2]
MAX_BYTES = 4096
Output = list[tuple[bytes, int, bool]]

# Longer than the file together, often enough; some are written at once and some wait.
outputs = st.lists(st.tuples(st.binary(max_size=200), st.integers(1, 20), st.booleans()), max_size=12)


def names_in(folder: str) -> set[str]:
    return {path.name for path in Path(folder).iterdir()}


def parts(content: bytes) -> tuple[bytes, int, bytes]:
    """The first part, the count, and the newest part of what a console kept."""
    found = MARK.search(content)
    if found is None:
        return content, 0, b""
    return content[: found.start()], int(found[1].replace(b",", b"")), content[found.end() :]


def assert_kept(path: Path, printed: bytes, max_bytes: int = MAX_BYTES) -> None:
    content = path.read_bytes() if path.exists() else b""
    assert len(content) <= max_bytes
    first, left_out, newest = parts(content)
    assert printed.startswith(first)
    assert printed.endswith(newest)
    assert len(first) + left_out + len(newest) == len(printed)
    if len(printed) <= max_bytes:
        assert content == printed
    else:
        assert len(first) == max_bytes // 5
        assert len(content) >= max_bytes // 2


@given(st.lists(outputs, max_size=4))
def test_first_and_newest_are_kept_and_the_rest_is_counted_over_all_attempts(
    attempts: list[Output],
) -> None:
    with TemporaryDirectory() as folder:
        path, printed = Path(folder) / "console.log", b""
        for attempt in attempts:
            kept = Console(path, MAX_BYTES)
            for data, times, is_written in attempt:
                kept.add(data * times)
                printed += data * times
                if is_written:
                    kept.write()
            kept.finish()
            assert_kept(path, printed)
            assert names_in(folder) <= {"console.log"}


@given(st.lists(st.tuples(outputs, st.integers(4096, 20_000)), min_size=1, max_size=4))
def test_the_bound_may_change_between_attempts(attempts: list[tuple[Output, int]]) -> None:
    with TemporaryDirectory() as folder:
        path, printed = Path(folder) / "console.log", 0
        for output, max_bytes in attempts:
            kept = Console(path, max_bytes)
            for data, times, _ in output:
                kept.add(data * times)
                printed += len(data * times)
            kept.finish()
        content = path.read_bytes() if path.exists() else b""
        first, left_out, newest = parts(content)
        assert len(first) + left_out + len(newest) == printed
        assert len(content) <= max(max_bytes for _, max_bytes in attempts)


@contextmanager
def disk_that_takes(count: int) -> Iterator[None]:
    """No file of this process can grow beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@given(st.integers(100, 6000), outputs, outputs)
def test_what_a_full_disk_does_not_take_is_counted(room: int, before: Output, after: Output) -> None:
    with TemporaryDirectory() as folder:
        path, printed = Path(folder) / "console.log", b""
        with disk_that_takes(room):
            kept = Console(path, MAX_BYTES)
            for data, times, is_written in before:
                kept.add(data * times)
                printed += data * times
                if is_written:
                    kept.write()
            kept.finish()
        for _ in range(2):
            content = path.read_bytes() if path.exists() else b""
            first, left_out, newest = parts(content)
            assert len(first) + left_out + len(newest) == len(printed)
            assert printed.startswith(first)
            assert printed.endswith(newest)
            assert names_in(folder) <= {"console.log"}
            later = Console(path, MAX_BYTES)  # the next attempt, with room again
            for data, times, _ in after:
                later.add(data * times)
                printed += data * times
            later.finish()


def test_a_disk_that_has_room_again_is_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "REWRITE_AFTER_SECONDS", 0.0)
    monkeypatch.setattr(console, "WRITE_AFTER_SECONDS", 0.0)
    path = tmp_path / "console.log"
    kept = Console(path, MAX_BYTES)
    with disk_that_takes(1000):
        kept.add(b"a" * 5000)
        kept.write()
    assert path.read_bytes() == b"a" * 1000
    kept.add(b"b" * 10)
    kept.write()
    assert kept.seconds_until_write is None
    assert_kept_about(path, 5010, b"bbbbbbbbbb")


def assert_kept_about(path: Path, printed_bytes: int, end: bytes) -> None:
    first, left_out, newest = parts(path.read_bytes())
    assert len(first) + left_out + len(newest) == printed_bytes
    assert newest.endswith(end)


def test_without_a_place_to_write_it_reads_on(tmp_path: Path) -> None:
    process = start(tmp_path / "nowhere" / "console.log")
    assert process.stdin is not None
    for _ in range(100):
        process.stdin.write(bytes(1 << 20))
    process.stdin.close()
    assert process.wait(30) == 0


def test_a_reader_always_sees_a_whole_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of records that tell their own place: what stands behind the mark is what the count says."""
    monkeypatch.setattr(console, "REWRITE_AFTER_SECONDS", 0.0)
    path, records = tmp_path / "console.log", 20_000
    kept = Console(path, 40_000)
    kept.add(b"%015d\n" % 0)
    kept.write()

    def flood() -> None:
        for number in range(1, records):
            kept.add(b"%015d\n" % number)
            if number % 7 == 0:
                kept.write()
        kept.finish()

    writer = threading.Thread(target=flood)
    writer.start()
    looks = 0
    while writer.is_alive() or not looks:
        first, left_out, newest = parts(path.read_bytes())
        assert len(first) + left_out + len(newest) <= records * 16
        if newest:
            at = len(first) + left_out
            start_of_record = -at % 16
            record = newest[start_of_record : start_of_record + 16]
            assert len(record) < 16 or int(record) == (at + start_of_record) // 16
        looks += 1
    writer.join()
    assert_kept(path, b"".join(b"%015d\n" % number for number in range(records)), 40_000)


def start(path: Path, max_bytes: int = 1_000_000) -> subprocess.Popen[bytes]:
    """A console as the supervisor starts it; its stdin is the pipe."""
    return subprocess.Popen(
        [sys.executable, "-S", "-m", "training.console", str(path), str(max_bytes)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        start_new_session=True,
    )


def print_from(process: subprocess.Popen[bytes], code: str) -> subprocess.Popen[bytes]:
    """A process that prints to a console, which nobody else holds open then."""
    assert process.stdin is not None
    writer = subprocess.Popen([sys.executable, "-c", f"import os, sys, time\n{code}"], stdout=process.stdin)
    process.stdin.close()
    return writer


def test_a_line_is_there_soon_and_the_last_words_of_who_is_killed_too(tmp_path: Path) -> None:
    path = tmp_path / "console.log"
    process = start(path)
    writer = print_from(process, "print('first', flush=True); time.sleep(60)")
    wait_for(lambda: path.exists() and path.read_bytes() == b"first\n", 20, "the first line")
    writer.kill()
    writer.wait()
    assert process.wait(10) == 0
    writer = print_from(process := start(path), "os.write(1, b'last'); os.kill(os.getpid(), 9)")
    assert writer.wait() == -signal.SIGKILL
    assert process.wait(10) == 0
    assert path.read_bytes() == b"first\nlast"


def test_signals_do_not_end_it_before_its_trainer(tmp_path: Path) -> None:
    path = tmp_path / "console.log"
    process = start(path)
    writer = print_from(process, "print('ready', flush=True); time.sleep(60)")
    wait_for(path.exists, 20, "the first line")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.killpg(process.pid, number)
    time.sleep(0.1)
    assert process.poll() is None
    writer.kill()
    writer.wait()
    assert process.wait(10) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "printed_bytes"),
    [
        ("for _ in range(500): os.write(1, b'x' * 1_000_000)", 500_000_000),  # one line without an end
        ("for _ in range(3000): os.write(1, b'\\xff\\xfe\\x00\\n' * 10_000)", 120_000_000),
        ("for number in range(300_000): print('line', number)", 3_488_890),
    ],
    ids=["one line", "no text", "lines"],
)
def test_a_flood_is_bounded_in_memory_and_on_disk(tmp_path: Path, code: str, printed_bytes: int) -> None:
    path = tmp_path / "console.log"
    process = start(path, 3_000_000)
    hold = os.dup(process.stdin.fileno())  # type: ignore[union-attr]
    assert print_from(process, code).wait() == 0
    status = Path(f"/proc/{process.pid}/status").read_text()
    peak_kilobytes = int(status.split("VmHWM:")[1].split()[0])
    os.close(hold)
    assert process.wait(30) == 0
    assert path.stat().st_size <= 3_000_000
    first, left_out, newest = parts(path.read_bytes())
    assert len(first) + left_out + len(newest) == printed_bytes
    assert peak_kilobytes < 60_000
    assert not list(tmp_path.glob(".*"))


def test_the_mark_says_what_it_counts() -> None:
    assert mark(1234567) == b"\n[1,234,567 bytes of output are left out here]\n"
    assert MARK.fullmatch(mark(0))
