"""How a session is handed to a trainer that is warm already: over a Unix socket, with the session's lock.

No Django and no torch here. The trainer greets whoever connects first, and from then on is there for nobody else. Only
then does it get the session: so the lock is never with a trainer that may not be alive, and a caller that is not
greeted may start another trainer without fear that there are two.
"""

import json
import os
import socket
import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

GREETING = b"ready"
# A trainer that waits greets within a millisecond; one that does not is hung.
GREETING_SECONDS = 0.05
MESSAGE_BYTES = 1 << 16


@dataclass(frozen=True)
class Order:
    """The session that is handed over."""

    session_dir: str
    attempt: int

    def to_bytes(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        return cls(**json.loads(data))


def bind(path: Path) -> socket.socket:
    """A socket at this path, which refuses connections until it listens."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with _Folder(path.parent) as folder:
        listener.bind(folder.address(path.name))
    return listener


def give(path: Path, order: Order, descriptors: Sequence[int]) -> int | None:
    """Hand a session to the trainer that waits at this path; its pid, or None when it does not answer."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection, _Folder(path.parent) as folder:
        connection.settimeout(GREETING_SECONDS)
        try:
            connection.connect(folder.address(path.name))
            if connection.recv(len(GREETING)) != GREETING:
                return None
            socket.send_fds(connection, [order.to_bytes()], descriptors)
        except OSError:
            return None
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        pid: int = struct.unpack("3i", credentials)[0]
        return pid


def accept(listener: socket.socket, path: Path) -> socket.socket:
    """Wait for a caller, and be there for nobody else: who is connected already meets the end of the socket."""
    listener.listen(1)
    connection, _ = listener.accept()
    path.unlink()
    listener.close()
    return connection


def receive(connection: socket.socket, descriptor_count: int) -> tuple[Order, list[int]] | None:
    """Greet the caller, and get a session and its descriptors; None when the caller is gone without giving one."""
    with connection:
        connection.sendall(GREETING)
        data, descriptors, _, _ = socket.recv_fds(connection, MESSAGE_BYTES, descriptor_count)
    return (Order.from_bytes(data), descriptors) if data else None


class _Folder:
    """An open folder, by which files in it have addresses that fit into the 108 bytes of a Unix socket's."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def address(self, name: str) -> str:
        return f"/proc/self/fd/{self._descriptor}/{name}"

    def __enter__(self) -> Self:
        self._descriptor = os.open(self._path, os.O_PATH | os.O_DIRECTORY)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
