"""A warm trainer: a process that has paid for importing torch, and waits to be given a session.

    python -m training.engine.warm SOCKET --listener-fd N --parent PID

It gets one session, with the descriptors of its lock and its console, and is that session's trainer.
"""

import argparse
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from training.engine.__main__ import main as train
from training.engine.parent import end_with_parent, outlive_parent
from training.handover import accept, receive


def warm_up() -> None:
    """Import and use what every session needs, so that it is there."""
    # Another session may train beside: the two seconds of imports take what it leaves. On Linux a thread has a
    # priority of its own, and the one that will train keeps its.
    importing = threading.Thread(target=_import_in_the_background)
    importing.start()
    importing.join()
    _take_a_step()


def _import_in_the_background() -> None:
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
    import training.engine.networks
    import training.engine.trainer  # noqa: F401  (torch and all of the engine)


def _take_a_step() -> None:
    """What torch puts off until the first step: its threads, its kernels, the optimizer's imports."""
    import torch

    from training.engine.without_compiler import do_without_compiler

    do_without_compiler()
    model = torch.nn.Linear(4, 4)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    loss = torch.nn.functional.cross_entropy(model(torch.zeros(2, 4)), torch.tensor([0, 1]))
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def wait_for_session(listener: socket.socket, path: Path) -> list[str] | None:
    """The arguments of the trainer that this process is to be, its console in place; None when nothing came of it."""
    connection = accept(listener, path)
    outlive_parent()  # from here on it is a session's, not the watch's
    given = receive(connection, descriptor_count=2)
    if given is None:
        return None
    order, (lock, console) = given
    for stream in (sys.stdout, sys.stderr):
        os.dup2(console, stream.fileno())
    os.close(console)
    return [order.session_dir, "--attempt", str(order.attempt), "--lock-fd", str(lock)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Wait for a session and train it."""
    parser = argparse.ArgumentParser(prog="python -m training.engine.warm", description="Wait for a session.")
    parser.add_argument("socket", type=Path, help="where it waits")
    parser.add_argument("--listener-fd", type=int, required=True, help="a bound Unix socket, not listening yet")
    parser.add_argument("--parent", type=int, required=True, help="the process whose death ends an unused one")
    options = parser.parse_args(arguments)

    end_with_parent(options.parent)
    # Before there are other threads: a stop that comes while the session is handed over waits until it can be obeyed.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    warm_up()
    trainer = wait_for_session(socket.socket(fileno=options.listener_fd), options.socket)
    return 0 if trainer is None else train(trainer)


if __name__ == "__main__":
    sys.exit(main())
