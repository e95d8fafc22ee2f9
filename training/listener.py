"""Somebody who listens to what happens, at the other end of a connection."""

import socket
import time
from collections.abc import Callable
from contextlib import suppress

from training.events import Interest, Position

HEARTBEAT = b": still here\n\n"


class Listener:
    """What he wants to know, how far he was told, and what he has not taken yet."""

    def __init__(
        self,
        connection: socket.socket,
        interest: Interest,
        position: Position,
        may_go_on: Callable[[], bool],
        is_chunked: bool,
    ) -> None:
        connection.setblocking(False)
        self.connection = connection
        self.interest = interest
        self.position = position
        self.may_go_on = may_go_on
        self.took_at = time.monotonic()
        self._is_chunked = is_chunked
        self._waiting = bytearray()
        self._statuses: dict[int, str] = {}

    @property
    def is_behind(self) -> bool:
        """Whether he has still to take what he was told."""
        return bool(self._waiting)

    @property
    def is_new(self) -> bool:
        return not self._statuses

    def tell(self, text: bytes) -> None:
        """Write to him. Raises OSError when he has gone."""
        if text:
            self._waiting += b"%x\r\n%b\r\n" % (len(text), text) if self._is_chunked else text
            self.flush()

    def tell_statuses(self, statuses: dict[int, str]) -> None:
        """Write those to him that he does not know. Raises OSError when he has gone."""
        news = [(pk, status) for pk, status in statuses.items() if self._statuses.get(pk) != status]
        self._statuses.update(news)
        self.tell(b"".join(status_event(status, self.position) for _, status in news))

    def flush(self) -> None:
        """Give him as much as he takes now. Raises OSError when he has gone."""
        with suppress(BlockingIOError):
            while self._waiting:
                del self._waiting[: self.connection.send(self._waiting)]
                self.took_at = time.monotonic()

    def notice(self) -> None:
        """See whether he is there. Raises OSError when he has gone, or says something, as nobody does who listens."""
        with suppress(BlockingIOError):
            self.connection.recv(1)
            raise ConnectionAbortedError

    def part(self) -> None:
        """Close the connection. Who has taken all knows by its end that the answer is whole."""
        with suppress(OSError):
            if self._is_chunked and not self._waiting:
                self.connection.send(b"0\r\n\r\n")
            self.connection.shutdown(socket.SHUT_RDWR)
        self.connection.close()


def status_event(status: str, position: Position) -> bytes:
    return f"id: {position}\nevent: status\ndata: {status}\n\n".encode()
