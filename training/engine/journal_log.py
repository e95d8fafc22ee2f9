"""What the engine logs goes into the journal, from where it becomes the session's log entries, and to the console."""

import logging
import select
import sys
from contextlib import suppress

from training.journal import JournalWriter

# What the engine says itself is little, and is to be read whatever others say.
OURS = "training.engine"


class JournalHandler(logging.Handler):
    """Writes log records into the journal: all of the engine's own, of others' as many as an attempt may."""

    def __init__(self, journal: JournalWriter) -> None:
        super().__init__()
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        try:
            is_ours = record.name == OURS or record.name.startswith(f"{OURS}.")
            self._journal.log(record.levelname, self.format(record), always=is_ours)
        except OSError as error:
            with suppress(OSError):
                print(f"The line above is not in the journal: {error}", file=sys.stderr)
        except Exception:  # what cannot be formatted ends no training
            self.handleError(record)


def send_logs_to(journal: JournalWriter | None) -> None:
    """Log to the console, and to a journal; without one, only what is out of order."""
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    if journal is not None:
        handlers.append(JournalHandler(journal))
        logging.getLogger(OURS).setLevel(logging.INFO)
    logging.basicConfig(handlers=handlers, format="%(message)s")
    logging.captureWarnings(True)


def console_is_gone() -> bool:
    """Whether nobody reads any more what this process prints, so that printing fails."""
    poll = select.poll()
    for descriptor in (1, 2):
        poll.register(descriptor, 0)
    return any(events & select.POLLERR for _, events in poll.poll(0))
