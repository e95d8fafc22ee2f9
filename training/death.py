"""How a trainer died that left no word: by the kernel for lack of memory, of a full disk, or nobody knows of what.

No Django here. What the kernel tells is read below `proc`, so that tests can tell something else.
"""

import errno
import json
import re
import signal
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Self

PROC = Path("/proc")
# Where a session keeps what the kernel told before the attempt.
KEPT_AS = "before_attempt.json"
# A disk that does not take this is full: a trainer needs far more.
PROBE_BYTES = 1 << 16

Cause = Literal["host_oom", "disk_full", "crash_loop"]


@dataclass(frozen=True)
class KernelsTale:
    """Which start of the machine this is, and how many processes the kernel has killed in it for lack of memory.

    The count is the whole machine's, in whatever cgroup: a trainer need not be in ours.
    """

    boot_id: str
    oom_kills: int

    @classmethod
    def now(cls, proc: Path = PROC) -> Self | None:
        """What the kernel tells now; None where it does not."""
        try:
            counted = re.search(r"^oom_kill (\d+)$", (proc / "vmstat").read_text(), re.MULTILINE)
            boot_id = (proc / "sys" / "kernel" / "random" / "boot_id").read_text().strip()
        except OSError:
            return None
        return cls(boot_id, int(counted[1])) if counted else None

    def write(self, path: Path) -> None:
        """Keep it for whoever looks after the trainer when it dies. Raises OSError."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """What was kept; None where that is nothing that can be read."""
        try:
            return cls(**json.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError):
            return None


@dataclass(frozen=True)
class Death:
    """What a trainer died of. The code is the session's if it is the last of too many deaths."""

    code: Cause
    deed: str
    manner: str = ""

    def in_words(self, attempt: int) -> str:
        """A sentence, so far without its end."""
        return f"The trainer {self.deed} in attempt {attempt}{self.manner}"

    @classmethod
    def of(
        cls, status: int | None, before: KernelsTale | None, after: KernelsTale | None, *, disk_is_full: bool
    ) -> Self:
        """The death that these circumstances tell of; `status` is None where the process was not ours to wait for."""
        if was_killed(status) and memory_ran_out(before, after):
            return cls("host_oom", "was killed by the kernel for lack of memory")
        if disk_is_full:
            return cls("disk_full", "died on a full disk", end_in_words(status))
        return cls("crash_loop", "died", end_in_words(status))


def was_killed(status: int | None) -> bool:
    """Whether SIGKILL may have ended a process, or one that it could not live without: shells count from 128."""
    return status in (None, -signal.SIGKILL, 128 + signal.SIGKILL)


def memory_ran_out(before: KernelsTale | None, after: KernelsTale | None) -> bool:
    """Whether the kernel has killed for lack of memory meanwhile. Its count starts again with the machine."""
    if before is None or after is None or before.boot_id != after.boot_id:
        return False
    return after.oom_kills > before.oom_kills


def has_restarted(before: KernelsTale | None, after: KernelsTale | None) -> bool:
    """Whether the machine was started again meanwhile."""
    return before is not None and after is not None and before.boot_id != after.boot_id


def end_in_words(status: int | None) -> str:
    """How a process ended, where that is known."""
    if status is None:
        return ""
    if status >= 0:
        return f" with exit status {status}"
    try:
        return f" by {signal.Signals(-status).name}"
    except ValueError:
        return f" by signal {-status}"  # a real-time signal, most of which have no name


def is_full(folder: Path) -> bool:
    """Whether a disk, or what its user may have of it, has no room for one more small file."""
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as probe:
            probe.write(bytes(PROBE_BYTES))
    except OSError as error:
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return False
