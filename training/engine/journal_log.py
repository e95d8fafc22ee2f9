"""What the engine logs goes into the journal, from where it becomes the session's log entries, and to the console."""

import logging

from training.journal import JournalWriter


class JournalHandler(logging.Handler):
    """Writes log records into the journal."""

    def __init__(self, journal: JournalWriter) -> None:
        super().__init__()
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._journal.log(record.levelname, self.format(record))
        except OSError:
            self.handleError(record)


def send_logs_to(journal: JournalWriter | None) -> None:
    """Log to the console, and to a journal; without one, only what is out of order."""
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    if journal is not None:
        handlers.append(JournalHandler(journal))
        logging.getLogger("training.engine").setLevel(logging.INFO)
    logging.basicConfig(handlers=handlers, format="%(message)s")
    logging.captureWarnings(True)
