"""What happens, told to all who listen: one thread of a web process asks the database and writes to all connections.

Each listener has a position of his own, and is told what lies behind it as fast as he takes it: who is slow, was away
or wants the past gets it a page at a time from the database, and nothing is kept for him. Those at the same place are
told the same bytes. While nobody listens there is no thread.
"""

import logging
import selectors
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from django.conf import settings
from django.db import Error as DatabaseTrouble
from django.db import connection
from django.db.models import Model

from training.events import Event, Interest, Position
from training.listener import HEARTBEAT, Listener, status_event
from training.models import LogEntry, Metric, SeriesPoint, TrainingSession, Transition
from training.status_board import StatusBoard, written

TURN_SECONDS = 0.08
STATUS_SECONDS = 1.0
HEARTBEAT_SECONDS = 15.0
STALLED_SECONDS = 60.0  # without a byte taken
PAUSE_AFTER_ERROR_SECONDS = 1.0

logger = logging.getLogger(__name__)


class TooManyStreams(Exception):
    """This process has as many listeners as it may have."""

    wait = 5

    def __init__(self) -> None:
        super().__init__("The server has as many event streams open as it may have. Close some, or try again later.")


class Broadcaster:
    """The places for listeners in this process, and the thread that serves them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._places = 0  # that are taken, or promised
        self._arrivals: list[Listener] = []
        self._thread: threading.Thread | None = None
        self._is_over = False

    def take_place(self) -> None:
        """Keep a place for a listener. Raises TooManyStreams."""
        with self._lock:
            if self._places >= settings.MAX_EVENT_STREAMS:
                raise TooManyStreams
            self._places += 1

    def give_place_back(self) -> None:
        with self._lock:
            self._places -= 1

    def welcome(self, listener: Listener) -> None:
        """Serve somebody for whom a place was kept."""
        with self._lock:
            self._arrivals.append(listener)
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="event streams", daemon=True)
                self._thread.start()

    def say_goodbye(self) -> None:
        """End all streams, since the process is about to end. Their clients come back, to whoever is there then."""
        self._is_over = True
        if (thread := self._thread) is not None:
            thread.join(timeout=1)

    def _serve(self) -> None:
        audience = Audience(self.give_place_back)
        try:
            while (arrivals := self._new_listeners(audience)) is not None:
                audience.admit(arrivals)
                take_turn_whatever_happens(audience)
        except Exception:
            logger.exception("The event streams of this process have ended; their clients come back.")
            with self._lock:
                self._thread = None  # the next one to come finds another thread
        finally:
            audience.dismiss()
            connection.close()

    def _new_listeners(self, audience: "Audience") -> list[Listener] | None:
        """Who has come since; None when there is nobody left to serve, and the thread is to end."""
        with self._lock:
            if self._is_over or not (audience or self._arrivals):
                self._thread = None
                return None
            arrivals, self._arrivals = self._arrivals, []
            return arrivals


class Audience:
    """Those whom one thread serves."""

    def __init__(self, when_one_goes: Callable[[], None]) -> None:
        self._listeners: set[Listener] = set()
        self._when_one_goes = when_one_goes
        self._selector = selectors.DefaultSelector()
        self._statuses = StatusBoard()
        self._statuses_due_at = 0.0
        self._heartbeats_due_at = time.monotonic() + HEARTBEAT_SECONDS
        self._newest: Position | None = None

    def __len__(self) -> int:
        return len(self._listeners)

    def admit(self, arrivals: list[Listener]) -> None:
        for listener in arrivals:
            self._listeners.add(listener)
            self._selector.register(listener.connection, selectors.EVENT_READ, listener)
            self._statuses_due_at = 0.0  # his is perhaps not known yet

    def dismiss(self) -> None:
        """Part with all."""
        for listener in list(self._listeners):
            self._part_with(listener)
        self._selector.close()

    def take_turn(self) -> None:
        """Wait a moment for what listeners do, then tell them what has happened."""
        for key, _ in self._selector.select(TURN_SECONDS):
            self._serve(key.data, attend_to)
        newest, now = Position.newest(), time.monotonic()
        before = self._newest or newest
        looks_again = now >= self._statuses_due_at or newest.transition != before.transition
        if looks_again:
            self._statuses.update(each.interest.session for each in self._listeners if each.interest.session)
            self._statuses_due_at = now + STATUS_SECONDS
        self._tell_all(before, newest, looks_again)
        self._newest = newest
        if now >= self._heartbeats_due_at:
            self._look_after_all(now)
            self._heartbeats_due_at = now + HEARTBEAT_SECONDS

    def _tell_all(self, before: Position, newest: Position, statuses_too: bool) -> None:
        """Tell each who has taken all so far what he was not told yet, or the first of it."""
        concerned = sessions_between(before, newest)
        news: dict[tuple[Interest, Position], tuple[bytes, Position]] = {}
        ready = (each for each in self._listeners if statuses_too or each.position != newest)
        for listener in [each for each in ready if not each.is_behind]:
            place = listener.interest, listener.position
            if place not in news:
                is_concerned = listener.position != before or listener.interest.session in {None, *concerned}
                news[place] = write_news(*place, newest, is_concerned)
            self._serve(listener, self._tell, *news[place])

    def _tell(self, listener: Listener, news: bytes, position: Position) -> None:
        statuses = self._statuses.of(listener.interest.session)
        if listener.is_new:
            listener.tell_statuses(statuses)
        listener.tell(news)
        listener.position = position
        if not listener.is_behind:  # who is slow is told the newest later, and not each
            listener.tell_statuses(statuses)

    def _look_after_all(self, now: float) -> None:
        """Part with who takes nothing any more or may be told nothing any more; tell the others that we are here."""
        for listener in list(self._listeners):
            if not listener.may_go_on():
                self._part_with(listener)
            elif not listener.is_behind:
                self._serve(listener, Listener.tell, HEARTBEAT)
            elif now - listener.took_at > STALLED_SECONDS:
                self._part_with(listener)

    def _serve(self, listener: Listener, deed: Callable[..., None], *arguments: Any) -> None:
        """Do something for a listener, who may have gone."""
        try:
            deed(listener, *arguments)
        except OSError:
            self._part_with(listener)
        else:
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if listener.is_behind else 0)
            if self._selector.get_key(listener.connection).events != events:
                self._selector.modify(listener.connection, events, listener)

    def _part_with(self, listener: Listener) -> None:
        self._listeners.remove(listener)
        self._selector.unregister(listener.connection)
        listener.part()
        self._when_one_goes()


def take_turn_whatever_happens(audience: Audience) -> None:
    """One turn; while the database cannot be asked, the listeners wait."""
    try:
        audience.take_turn()
    except DatabaseTrouble:
        logger.exception("The event streams could not ask the database; they try again.")
        connection.close()
        time.sleep(PAUSE_AFTER_ERROR_SECONDS)


def attend_to(listener: Listener) -> None:
    listener.notice()
    listener.flush()


TABLES: dict[str, type[Model]] = {"transition": Transition, "metric": Metric, "points": SeriesPoint, "log": LogEntry}


def write_news(interest: Interest, since: Position, newest: Position, is_concerned: bool) -> tuple[bytes, Position]:
    """What to write to who was told all up to `since`, and how far he is then; of sessions only if he is concerned."""
    until = newest if is_concerned else replace(since, resources=newest.resources)
    events, reached = interest.happened(since, until)
    return encode(events, interest), newest if reached == until else reached


def encode(events: list[Event], interest: Interest) -> bytes:
    """Events as they are sent: to who is told of all sessions, with the status of each whose state has changed."""
    text = b"".join(map(Event.encode, events))
    if interest.session is None and (changed := {e.data["session_id"] for e in events if e.name == "transition"}):
        statuses = written(TrainingSession.objects.filter(session_id__in=changed))
        text += b"".join(status_event(status, events[-1].position) for status in statuses.values())
    return text


def sessions_between(earlier: Position, later: Position) -> set[int]:
    """The numbers of the sessions to which something has happened between two positions."""
    found: set[int] = set()
    for name, table in TABLES.items():
        since, until = getattr(earlier, name), getattr(later, name)
        if since < until:
            rows = table._default_manager.filter(pk__gt=since, pk__lte=until).order_by()
            found.update(rows.values_list("session_id", flat=True).distinct())
    return found


def told_at_once(interest: Interest, position: Position) -> Iterator[bytes]:
    """What has happened behind a position until now, for who does not wait for more."""
    newest = Position.newest()
    statuses = StatusBoard()
    statuses.update([] if interest.session is None else [interest.session])
    yield b"".join(status_event(status, position) for status in statuses.of(interest.session).values())
    while position != newest:
        events, position = interest.happened(position, newest)
        yield encode(events, interest)


broadcaster = Broadcaster()
