"""Files on their way into the registry: written aside while they are hashed, and under their name only when whole.

What is being made is marked by a file that is locked: who holds the lock is alive. Its name holds a nonce, and so do
the names of all that belongs to it. When a process dies, its lock is free and the mark tells what it left behind;
whatever else lies in a folder is nobody's to delete.
"""

import errno
import fcntl
import hashlib
import logging
import os
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

CHUNK_BYTES = 1 << 20
UNFINISHED = ".part"

# What the system says when there is no room, and when a disk or a folder cannot be used at all.
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
UNUSABLE = frozenset({errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.ENODEV, errno.ENXIO})
NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS})

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class IncomingFile:
    """A file that is whole and on the disk, but not yet in its place, whose name must hold the nonce."""

    path: Path
    nonce: str
    size_bytes: int
    sha256: str

    def move_to(self, place: Path) -> None:
        """Put the file in its place, in the folder where it was received; it stays there when the power fails."""
        try:
            os.link(self.path, place)  # the other name stays until the block ends, and marks this one
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            self.path.rename(place)
        fsync_folder(place.parent)


@contextmanager
def receive(chunks: Iterable[bytes], folder: Path) -> Iterator[IncomingFile]:
    """Write chunks to a file aside in `folder`. What has not been moved away by the end of the block is gone."""
    folder.mkdir(parents=True, exist_ok=True)
    nonce = secrets.token_hex(6)
    digest = hashlib.sha256()
    mark = Mark(folder, nonce)
    try:
        for chunk in chunks:
            digest.update(chunk)
            mark.file.write(chunk)
        mark.file.flush()
        os.fsync(mark.file.fileno())
        yield IncomingFile(mark.path, nonce, mark.file.tell(), digest.hexdigest())
    finally:
        mark.remove()


class Mark:
    """Says, as long as somebody holds it, that what bears this nonce is being made in a folder; an empty file.

    Whoever dies or forgets it lets go of it, and `abandoned` finds it.
    """

    def __init__(self, folder: Path, nonce: str) -> None:
        self.path = mark_of(folder, nonce)
        self.file = self._open_locked()

    def _open_locked(self) -> BinaryIO:
        while True:
            file = self.path.open("xb")
            fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file.fileno()).st_nlink:
                return file
            file.close()  # somebody who looked for abandoned ones came between, and deleted it

    def remove(self) -> None:
        """Say that it is made, or will not be."""
        self.path.unlink(missing_ok=True)
        self.file.close()

    def __del__(self) -> None:
        if hasattr(self, "file"):
            self.file.close()


def mark_of(folder: Path, nonce: str) -> Path:
    """Where the mark lies of what bears this nonce."""
    return aside_of(folder / nonce)


def abandoned(folder: Path, nonce: str) -> Iterator[str]:
    """The nonces, of the form of this expression, of what dead processes left unfinished in a folder.

    Each is the caller's until he asks for the next: he deletes what bears it, and then its mark goes.
    """
    for path in marks(folder, nonce):
        with suppress(FileNotFoundError), path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # who makes it is alive
            yield path.name[1 : -len(UNFINISHED)]
            path.unlink(missing_ok=True)


def marks(folder: Path, nonce: str) -> Iterator[Path]:
    """The marks in a folder whose nonces have the form of this expression."""
    for path in sorted(folder.glob(f".*{UNFINISHED}")):
        if re.fullmatch(nonce, path.name[1 : -len(UNFINISHED)]) and path.is_file() and not path.is_symlink():
            yield path


def is_locked(path: Path) -> bool:
    """Whether a living process holds the lock of this file. Nobody holds what does not exist."""
    with suppress(FileNotFoundError, IsADirectoryError), path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared, so that two who ask do not mistake each other
        except BlockingIOError:
            return True
    return False


def mark_leaving(place: Path, nonce: str) -> None:
    """Mark that a file is to go, so that it is found when nobody comes to delete it."""
    try:
        os.link(place, mark_of(place.parent, nonce))
    except OSError as error:  # a delete must not fail for want of room, nor for a mark or a file's absence
        logger.debug("%s is deleted without a mark: %s", place, error)


def remove_leaving(place: Path, nonce: str) -> None:
    """Delete a file, then its mark."""
    place.unlink(missing_ok=True)
    mark_of(place.parent, nonce).unlink(missing_ok=True)


def aside_of(place: Path) -> Path:
    """Where something is written that is to be in its place whole, or not at all."""
    return place.with_name(f".{place.name}{UNFINISHED}")


@contextmanager
def replacing(place: Path) -> Iterator[Path]:
    """The path to write a file to that takes its place at the end of the block; one that failed is gone."""
    aside = aside_of(place)
    try:
        yield aside
        aside.replace(place)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    fsync_folder(place.parent)


def write_to_disk(path: Path, text: str) -> None:
    """Write a text file that stays when the power fails, once its name is on the disk, too."""
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def read_chunks(path: Path) -> Iterator[bytes]:
    """The bytes of a file, a piece at a time."""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def sha256_of(path: Path) -> str:
    """The hash of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fsync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
