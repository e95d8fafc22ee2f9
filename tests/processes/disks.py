"""File systems of a test's own, small enough to be filled and free to be broken."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from itertools import count
from pathlib import Path

import pytest

BALLAST, NAMES = "ballast", "ballast of names"


class Disk:
    """A small file system in memory, mounted on a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fill(self, leave_bytes: int = 0) -> None:
        """Take all the room that there is, or all but so much."""
        ballast = self.path / BALLAST
        with ballast.open("wb", buffering=0) as file:
            with pytest.raises(OSError, match="No space left"):
                write_for_ever(file)
            if leave_bytes:
                file.truncate(file.tell() - leave_bytes)

    def fill_inodes(self) -> None:
        """Leave room, but none for one more file."""
        folder = self.path / NAMES
        folder.mkdir()
        with pytest.raises(OSError, match="No space left"):
            make_files_for_ever(folder)

    def make_read_only(self) -> None:
        """Nothing on it may be open for writing."""
        subprocess.run(["mount", "-o", "remount,ro", str(self.path)], check=True, capture_output=True)

    def mend(self) -> None:
        """Undo all of that."""
        subprocess.run(["mount", "-o", "remount,rw", str(self.path)], check=True, capture_output=True)
        (self.path / BALLAST).unlink(missing_ok=True)
        shutil.rmtree(self.path / NAMES, ignore_errors=True)


def write_for_ever(file: FileIO) -> None:
    while True:
        file.write(bytes(1 << 16))


def make_files_for_ever(folder: Path) -> None:
    for number in count():
        (folder / str(number)).touch()


@contextmanager
def mounted(path: Path, size: str, inodes: int = 0) -> Iterator[Disk]:
    """A disk on a folder, as long as the block lasts. Skips the test where nothing may be mounted."""
    path.mkdir(parents=True, exist_ok=True)
    options = f"size={size}" + (f",nr_inodes={inodes}" if inodes else "")
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)]
    try:
        answer = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no mount command here")
    if answer.returncode:
        pytest.skip(f"this user may mount nothing: {answer.stderr.strip()}")
    try:
        yield Disk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)
