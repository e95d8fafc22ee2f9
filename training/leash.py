"""How a worker learns that it is to let go: a pipe whose writing end only the watch holds.

The reading end is inherited by every process of a cluster. When the watch closes its end, or dies in
whatever way, the readers see the end of the file: supervisors let go of their sessions and the cluster ends.
"""

import os
import select
import signal
import threading
import time

VARIABLE = "WORKER_LEASH_FD"
# What is left of a cluster so long after its leash was cut is killed.
LET_GO_SECONDS = 2.0


def is_cut() -> bool:
    """Whether the watch is gone or wants this process to let go. Outside a watched cluster, never."""
    descriptor = os.environ.get(VARIABLE)
    if descriptor is None:
        return False
    return bool(select.select([int(descriptor)], [], [], 0)[0])


def end_with_watch() -> None:
    """End this process group soon after its leash is cut, in the background. A group without one is left alone."""
    descriptor = os.environ.get(VARIABLE)
    if descriptor is not None:
        threading.Thread(target=_end_when_cut, args=(int(descriptor),), daemon=True).start()


def _end_when_cut(descriptor: int) -> None:
    select.select([descriptor], [], [])
    time.sleep(LET_GO_SECONDS)
    os.killpg(os.getpgrp(), signal.SIGKILL)
