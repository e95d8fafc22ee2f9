"""Processes that end with the one that started them, even when that one is killed: the kernel sees to it."""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def end_with_parent(parent_pid: int) -> None:
    """Have the kernel kill this process when the one that started it dies. Ends it now when that is gone already."""
    _set_signal(signal.SIGKILL)
    if os.getppid() != parent_pid:
        sys.exit("The process that started this one is gone.")


def outlive_parent() -> None:
    """From now on the death of the parent means nothing."""
    _set_signal(0)


def _set_signal(number: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, number, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
