"""Whatever code logs in a trainer, the journal stays readable in little memory, and the database small."""

import logging
import tracemalloc
from pathlib import Path

import pytest

from training import journal
from training.engine.failures import as_failure
from training.engine.journal_log import JournalHandler
from training.journal import ENTRY_CHARACTERS, JournalWriter, last_end, read_events


def messages(path: Path) -> list[str]:
    found, offset = [], 0
    while (chunk := read_events(path, offset)).offset > offset:
        found += [event["message"] for event in chunk.events if event["event"] == "log"]
        offset = chunk.offset
    assert offset == path.stat().st_size
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def logger_into(writer: JournalWriter, name: str) -> logging.Logger:
    logger = logging.Logger(name)
    logger.addHandler(JournalHandler(writer))
    return logger


@pytest.mark.parametrize("character", ["a", "\0", "\ud800", "\U0001f600"])
def test_a_long_entry_loses_its_middle(path: Path, character: str) -> None:
    writer = JournalWriter(path, 1)
    writer.log("INFO", "begin" + character * 500_000 + "end")
    (message,) = messages(path)
    assert len(message) < ENTRY_CHARACTERS + 100
    assert message.startswith("begin")
    assert message.endswith("end")
    assert f"[{500_008 - ENTRY_CHARACTERS:,} characters are left out here]" in message
    writer.close()


def test_others_may_log_so_much_and_the_engine_always(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "LOG_BYTES", 1 << 20)
    writer = JournalWriter(path, 1)
    somebody, engine = logger_into(writer, "somebody.training.engine"), logger_into(writer, "training.engine.trainer")
    for number in range(3000):
        somebody.warning("%d %s", number, "x" * 1000)
    engine.error("a traceback")
    writer.end("failed", failure_code="user_code", error_message="y" * 1_000_000)
    found = messages(path)
    kept = [message for message in found if message[0].isdecimal() and "x" in message]
    assert 1000 < len(kept) < 1060
    assert found[len(kept) :] == [
        "This attempt has logged 1 MB: further entries are left out.",
        "a traceback",
        f"{3000 - len(kept):,} log entries of this attempt were left out.",
    ]
    end = last_end(path, 1)
    assert end is not None
    assert end["failure_code"] == "user_code"
    assert path.stat().st_size < 1_500_000
    writer.close()


def test_what_cannot_be_formatted_ends_no_training(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    writer = JournalWriter(path, 1)
    somebody = logger_into(writer, "somebody")

    class Hostile:
        def __str__(self) -> str:
            raise RuntimeError("no words")

    somebody.warning("%d", "no number")
    somebody.warning("%s", Hostile())
    somebody.warning("and on")
    assert messages(path) == ["and on"]
    assert "Logging error" in capsys.readouterr().err
    assert "cannot be shown" in str(as_failure(HostileError()))
    assert len(str(as_failure(ValueError("z" * 1_000_000)))) < 5000
    writer.close()


class HostileError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_a_line_longer_than_any_event_is_passed_over_in_little_memory(path: Path) -> None:
    writer = JournalWriter(path, 1)
    writer.log("INFO", "before")
    with path.open("ab") as file:
        for _ in range(100):
            file.write(b"x" * 1_000_000)
    tracemalloc.start()
    chunk = read_events(path, 0)
    offset = chunk.offset
    assert [event["message"] for event in chunk.events] == ["before"]
    for _ in range(3):  # while it is still being written
        chunk = read_events(path, offset)
        assert chunk.events == []
        offset = chunk.offset
    assert offset == path.stat().st_size
    with path.open("ab") as file:
        file.write(b'{"event": "log", "message": "inside"}\n')
    writer.log("INFO", "after")
    found = []
    while (chunk := read_events(path, offset)).offset > offset:
        found += [event["message"] for event in chunk.events]
        offset = chunk.offset
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == ["after"]
    assert peak_bytes < 20_000_000
    writer.close()
