"""What takes the disk's room, by kind.

Sessions may have left millions of files. So this is no part of a page: it is asked for behind it, counted within a
time, and kept for a while.
"""

import os
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.db.models import Sum

from registry.consistency import decoded_folder
from registry.models import Dataset, Model, StoredFile

COUNTING_SECONDS = 5.0
KEPT_SECONDS = 60
UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")

_turn = threading.Lock()


@dataclass(frozen=True)
class Share:
    """What one kind of files takes. `name` tells its color."""

    name: str
    title: str
    size_bytes: int
    percent: float = 0.0  # of the disk
    left: float = 0.0  # where it begins on the disk's bar, in percent

    @property
    def size(self) -> str:
        return in_words(self.size_bytes)


@dataclass(frozen=True)
class DiskUse:
    """The disk of DATA_DIR. `is_whole` is False where there was no time to count every file of a session."""

    shares: list[Share]
    free_bytes: int
    total_bytes: int
    is_whole: bool

    @classmethod
    def now(cls) -> Self:
        """As it was within the last minute. Of those who ask at once, one counts."""
        with _turn:
            use: Self | None = cache.get("disk_use")
            if use is None:
                use = cls.measure()
                cache.set("disk_use", use, KEPT_SECONDS)
            return use

    @classmethod
    def measure(cls) -> Self:
        disk = shutil.disk_usage(settings.DATA_DIR)
        sessions = SessionFiles.count(Path(settings.SESSIONS_DIR), time.monotonic() + COUNTING_SECONDS)
        shares = [
            Share("datasets", "Datasets", stored_bytes(Dataset)),
            Share("decoded", "Decoded datasets", sum(path.stat().st_size for path in files_in(decoded_folder()))),
            Share("models", "Models", stored_bytes(Model)),
            Share("checkpoints", "Sessions: checkpoints and weights", sessions.checkpoints),
            Share("logs", "Sessions: logs and journals", sessions.logs),
            Share("database", "Database", database_bytes()),
        ]
        others = disk.used - sum(share.size_bytes for share in shares)
        shares.append(Share("others", "All else on this disk", max(0, others)))
        return cls(lay_out(shares, disk.total), disk.free, disk.total, sessions.are_all)

    @property
    def free(self) -> str:
        return in_words(self.free_bytes)

    @property
    def total(self) -> str:
        return in_words(self.total_bytes)

    @property
    def free_percent(self) -> float:
        return 100 * self.free_bytes / self.total_bytes


@dataclass
class SessionFiles:
    """What the directories of sessions hold, the newest counted first."""

    checkpoints: int = 0
    logs: int = 0
    are_all: bool = True

    @classmethod
    def count(cls, folder: Path, until: float) -> Self:
        found = cls()
        newest_first = sorted(os.scandir(folder), key=lambda entry: entry.stat().st_mtime, reverse=True)
        for directory in newest_first:
            for path in files_in(Path(directory.path)):
                found.add(path)
                if time.monotonic() > until:
                    found.are_all = False
                    return found
        return found

    def add(self, path: Path) -> None:
        try:
            file = path.stat()
        except FileNotFoundError:  # a trainer replaces its checkpoints
            return
        if file.st_nlink > 1:
            return  # another name of a model's file, which is counted there
        if path.suffix in (".log", ".jsonl", ".json") and "checkpoints" not in path.parts:
            self.logs += file.st_size
        else:
            self.checkpoints += file.st_size


def files_in(folder: Path) -> Iterator[Path]:
    """Every file below a folder; links are not followed. What vanishes meanwhile is passed over."""
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            if not path.is_symlink() and path.exists():
                yield path


def stored_bytes(kind: type[StoredFile]) -> int:
    return kind._default_manager.aggregate(size=Sum("size_bytes"))["size"] or 0


def database_bytes() -> int:
    """What the database takes, its files that are not yet part of it included; 0 for one on another machine."""
    if connection.vendor != "sqlite":
        return 0
    path = Path(settings.DATABASES["default"]["NAME"])
    return sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))


def lay_out(shares: list[Share], total_bytes: int) -> list[Share]:
    """The shares side by side on a bar that stands for the disk."""
    laid, left = [], 0.0
    for share in shares:
        percent = 100 * share.size_bytes / total_bytes
        laid.append(Share(share.name, share.title, share.size_bytes, round(percent, 3), round(left, 3)))
        left += percent
    return laid


def in_words(size_bytes: float) -> str:
    """A size for people, in the largest unit that it has one of."""
    power = 0
    while size_bytes >= 1024 and power < len(UNITS) - 1:
        size_bytes /= 1024
        power += 1
    return f"{size_bytes:.1f} {UNITS[power]}" if power else f"{size_bytes:.0f} bytes"
