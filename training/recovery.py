"""What the rows say, held against locks and files: finds sessions that nobody supervises, and what is left over."""

import logging
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings
from django.db import transaction

from registry.files import Mark, abandoned, is_locked, mark_of, marks
from training.journal import Lock, SessionDirectory
from training.models import TrainingSession
from training.state import ENDED

SESSION_ID = "sess_[0-9a-f]{12}"

# A supervisor says every second that it is at work.
FROZEN_AFTER_SECONDS = 15.0

logger = logging.getLogger(__name__)


def unsupervised_sessions() -> Iterator[TrainingSession]:
    """Running sessions without a living supervisor: their worker died or let go, their trainer may live."""
    for session in TrainingSession.objects.running():
        if not Lock.is_held(session.directory.supervisor_lock):
            yield session


def frozen_supervisors() -> list[TrainingSession]:
    """Running sessions whose supervisor holds its lock and does nothing: somebody stopped its process."""
    return [
        session
        for session in TrainingSession.objects.running()
        if Lock.is_held(lock := session.directory.supervisor_lock)
        and (Lock.seconds_since_beat(lock) or 0.0) > FROZEN_AFTER_SECONDS
    ]


def work_waits() -> bool:
    """Whether a free worker would find something to do."""
    return TrainingSession.objects.queue_moves() or any(True for _ in unsupervised_sessions())


@contextmanager
def being_made(directory: SessionDirectory) -> Iterator[None]:
    """Make a session's directory before its row is committed. When the block fails, or the commit, the directory goes.

    Its mark is locked until then. A rollback or the death of the process leaves it, with nobody to hold the lock.
    """
    mark = Mark(directory.root.parent, directory.root.name)
    try:
        directory.create()
        yield
    except BaseException:
        shutil.rmtree(directory.root, ignore_errors=True)
        mark.remove()
        raise
    transaction.on_commit(mark.remove)


def remove_leftovers() -> int:
    """Delete what killed processes left among the session directories; returns how many pieces that were."""
    removed = 0
    for session_id in abandoned(Path(settings.SESSIONS_DIR), SESSION_ID):
        # Asked with the mark's lock held, so that nobody is about to commit this session.
        if not TrainingSession.objects.filter(session_id=session_id).exists():
            shutil.rmtree(Path(settings.SESSIONS_DIR) / session_id, ignore_errors=True)
        logger.warning("Removed what was left of the making of session %s.", session_id)
        removed += 1
    for session in TrainingSession.objects.filter(state__in=ENDED, cleaned_up_at=None).iterator():
        if pieces := session.directory.remove_half_written():
            logger.warning("Removed %d half-written pieces of session %s.", pieces, session)
            removed += pieces
    return removed


def unfinished_directories() -> Iterator[Path]:
    """The marks of session directories whose making was cut off."""
    yield from (path for path in marks(Path(settings.SESSIONS_DIR), SESSION_ID) if not is_locked(path))


def directories_of_nobody() -> Iterator[Path]:
    """Session directories that no row names. They may be those of a database that this one has taken the place of."""
    ours = (path for path in sorted(Path(settings.SESSIONS_DIR).iterdir()) if re.fullmatch(SESSION_ID, path.name))
    # The row of what was being made is there before its mark goes, so the marks are asked first.
    made = [path for path in ours if not is_locked(mark_of(path.parent, path.name))]
    named = set(TrainingSession.objects.values_list("session_id", flat=True))
    yield from (path for path in made if path.name not in named)
