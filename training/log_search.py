"""Searching a session's log: pages of it that take the same time wherever they lie, and however little is found."""

import heapq
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from django.db.models import BooleanField, QuerySet, Value
from django.db.models.expressions import RawSQL

from training.models import LogEntry, TrainingSession

# So long a page reads messages to find what is searched for; then another page goes on.
LOOK_SECONDS = 0.02
# Messages read at once while searching. They may be long.
BLOCK = 1000
BEYOND = 2**63 - 1  # every line
IN_PLACE: "BooleanField[bool, bool]" = BooleanField()


@dataclass(frozen=True)
class LogSearch:
    """The entries of a session's log that fit, in pages.

    The first page holds the newest of them, or, where a line is named to start `after`, the oldest behind that; either
    way each page is oldest first.
    """

    session: TrainingSession
    levels: tuple[str, ...] = ()
    text: str | None = None  # casefolded
    regex: Any = None  # compiled by re2, which has no types
    after: int | None = None
    before: int | None = None

    @property
    def ascends(self) -> bool:
        """Whether pages lead to newer entries."""
        return self.after is not None

    @property
    def reads_messages(self) -> bool:
        return self.text is not None or self.regex is not None

    @property
    def salt(self) -> str:
        """What a place of this search is signed with: it means nothing in another log, nor in the other direction."""
        return f"logs:{self.session.session_id}:{self.ascends}"

    def page_behind(self, place: int | None, limit: int) -> tuple[list[LogEntry], int | None]:
        """The next entries that fit, at most `limit`, and the line behind which the next page goes on, if there is one.

        Messages are looked at for LOOK_SECONDS: a page may hold few entries, or none, and another follow all the same.
        """
        lines, place = self._look(place, limit)
        return list(self.session.log_entries.filter(line__in=lines).order_by("line")), place

    def fits(self, message: str) -> bool:
        if self.text is not None and self.text not in message.casefold():
            return False
        return self.regex is None or self.regex.search(message.encode()) is not None

    def _look(self, place: int | None, limit: int) -> tuple[list[int], int | None]:
        deadline = time.monotonic() + LOOK_SECONDS if self.reads_messages else math.inf
        found: list[int] = []
        for line, message in self._candidates(place, BLOCK if self.reads_messages else limit + 1):
            if self.fits(message):
                if len(found) == limit:
                    return found, found[-1]
                found.append(line)
            if time.monotonic() > deadline:
                return found, line
        return found, None

    def _candidates(self, place: int | None, block: int) -> Iterator[tuple[int, str]]:
        """The lines behind a place whose level fits. Each level is a walk of its own, since a rare one needs no search
        among the others, by the index."""
        walks = [self._walk(level, place, block) for level in self.levels or (None,)]
        return heapq.merge(*walks, key=itemgetter(0), reverse=not self.ascends)

    def _walk(self, level: str | None, place: int | None, block: int) -> Iterator[tuple[int, str]]:
        while True:
            entries = self._of_level(level, *self._bounds(place))
            rows = entries if self.ascends else entries.reverse()
            found = list(rows.values_list("line", "message" if self.reads_messages else Value(""))[:block])
            yield from found
            if len(found) < block:
                return
            place = found[-1][0]

    def _of_level(self, level: str | None, low: int, high: int) -> QuerySet[LogEntry]:
        """The entries between two lines, in order, by the one index that has them so.

        PostgreSQL would look for a level among all lines where it takes that for common, as it may be elsewhere. Told
        where in the index to begin and to end, it has no such choice.
        """
        if level is None:
            return self.session.log_entries.filter(line__gt=low, line__lt=high).order_by("line")
        entries = LogEntry.objects.order_by("session_id", "level", "line")
        for side, line in ((">", low), ("<", high)):
            place = RawSQL(f"(session_id, level, line) {side} (%s, %s, %s)", (self.session.pk, level, line), IN_PLACE)  # noqa: S611
            entries = entries.filter(place)
        return entries

    def _bounds(self, place: int | None) -> tuple[int, int]:
        """Between which lines there is still to look; one bound at each end: of two a database may take either."""
        low, high = self.after or 0, self.before or BEYOND
        if place is None:
            return low, high
        return (max(low, place), high) if self.ascends else (low, min(high, place))
