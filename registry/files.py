"""Files on their way into the registry: written aside while they are hashed, and under their name only when whole."""

import hashlib
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CHUNK_BYTES = 1 << 20
UNFINISHED = ".part"
ABANDONED_AFTER_SECONDS = 24 * 3600


@dataclass(frozen=True)
class IncomingFile:
    """A file that is whole and on the disk, but not yet in its place."""

    path: Path
    size_bytes: int
    sha256: str

    def move_to(self, place: Path) -> None:
        """Put the file in its place, in the folder where it was received; it stays there when the power fails."""
        self.path.rename(place)
        fsync_folder(place.parent)


@contextmanager
def receive(chunks: Iterable[bytes], folder: Path) -> Iterator[IncomingFile]:
    """Write chunks to a file aside in `folder`. What has not been moved away by the end of the block is gone."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f".{secrets.token_hex(8)}{UNFINISHED}"
    digest = hashlib.sha256()
    try:
        with path.open("xb") as file:
            for chunk in chunks:
                digest.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        yield IncomingFile(path, path.stat().st_size, digest.hexdigest())
    finally:
        path.unlink(missing_ok=True)


def remove_unfinished(folder: Path, suffix: str = UNFINISHED) -> int:
    """Delete what a killed process left in the middle of receiving; returns how many files went.

    A file that was written to lately is somebody's who still lives.
    """
    oldest = time.time() - ABANDONED_AFTER_SECONDS
    removed = 0
    for path in folder.glob(f"*{suffix}"):
        if path.stat().st_mtime < oldest:
            path.unlink(missing_ok=True)
            removed += 1
    return removed


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
