"""Calls to the disk that fail, or kill the process that makes them, one after the other."""

import errno
import io
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

# All that writes a checkpoint goes through these, shutil.rmtree and pathlib included.
CALLS = ("open", "fsync", "rename", "replace", "mkdir", "rmdir", "unlink")

Fault = Callable[[], None]


class FaultyDisk:
    """Counts the calls to the disk; the one with the number `at` meets the fault, or each from there on."""

    def __init__(self, fault: Fault, at: int, lasts: bool = False) -> None:
        self.fault, self.at, self.lasts = fault, at, lasts
        self.calls: list[str] = []

    @property
    def was_met(self) -> bool:
        return len(self.calls) >= self.at

    @property
    def is_met_next(self) -> bool:
        return len(self.calls) + 1 == self.at or (self.lasts and self.was_met)

    def call(self, name: str) -> None:
        is_met = self.is_met_next
        self.calls.append(name)
        if is_met:
            self.fault()


class FaultyFile(io.FileIO):
    """A file on such a disk: a write that meets the fault has written half by then."""

    def __init__(self, disk: FaultyDisk, path: str, mode: str) -> None:
        super().__init__(path, mode)
        self.disk = disk

    def write(self, data: Any) -> int:
        if self.disk.is_met_next:
            super().write(memoryview(data)[: len(data) // 2])
        self.disk.call("write")
        return super().write(data)


@contextmanager
def faults(disk: FaultyDisk) -> Iterator[None]:
    """All that this process writes goes to that disk."""
    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, _through(disk, name, getattr(os, name)))
        real_open = io.open

        def open_there(path: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
            disk.call("open")
            if "w" not in mode:
                return real_open(path, mode, *arguments, **options)
            file = io.BufferedWriter(FaultyFile(disk, os.fspath(path), "w"))
            return file if "b" in mode else io.TextIOWrapper(file, encoding="utf-8")

        patch.setattr(io, "open", open_there)
        yield


def _through(disk: FaultyDisk, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        disk.call(name)
        return real(*arguments, **options)

    return call


def refuse(number: int) -> Fault:
    """The call fails with this errno."""

    def fail() -> None:
        raise OSError(number, os.strerror(number))

    return fail


REFUSALS = {errno.errorcode[number]: refuse(number) for number in (errno.ENOSPC, errno.EIO)}


def every_fault(act: Callable[[], object], prepare: Callable[[], object], fault: Fault, lasts: bool) -> Iterator[bool]:
    """Do it again and again, with the fault one call later each time, until it is not met; whether it was said."""
    for at in count(1):
        prepare()
        disk, was_said = FaultyDisk(fault, at, lasts), False
        with faults(disk):
            try:
                act()
            except Exception:
                was_said = True
        if not disk.was_met:
            assert not was_said
            assert {"open", "write", "fsync"} <= set(disk.calls)
            assert at > 5
            return
        yield was_said


def every_death(act: Callable[[], object], prepare: Callable[[], object]) -> Iterator[None]:
    """As every_fault(), in a process of its own that is killed at the call."""
    for at in count(1):
        prepare()
        status = _fork(act, at)
        if status == 0:
            assert at > 5
            return
        assert os.WTERMSIG(status) == signal.SIGKILL
        yield


def _fork(act: Callable[[], object], at: int) -> int:
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1]
    try:
        with faults(FaultyDisk(lambda: os.kill(os.getpid(), signal.SIGKILL), at)):
            act()
        os._exit(0)
    finally:
        os._exit(1)


def fill_anew(folder: Path, template: Path) -> None:
    """Bring a folder back to what the template holds."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(template, folder)
