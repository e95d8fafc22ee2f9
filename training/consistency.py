"""Everything that is stored, held against the rows that name it."""

from collections.abc import Iterator

from django.db import DatabaseError, connection

from registry.consistency import misfits, temporary_files
from training.models import TrainingSession
from training.recovery import directories_of_nobody, unfinished_directories
from training.state import ENDED


def problems() -> Iterator[str]:
    """A sentence for each thing that is missing, damaged, left over or nobody's; none where all is well."""
    try:
        damages = database_damages()
        yield from damages
        if not damages:
            yield from misfits(with_hashes=True)
            yield from directory_problems()
            yield from (f"{path} is left over from something unfinished" for path in temporary_files())
    except (DatabaseError, OSError) as error:
        yield f"the check could not be completed: {error}"


def database_damages() -> list[str]:
    """What the database finds wrong with itself; other databases than SQLite look after that on their own."""
    if connection.vendor != "sqlite":
        return []
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA integrity_check")
        found = [line for (line,) in cursor.fetchall()]
    return [] if found == ["ok"] else [f"the database is damaged: {line}" for line in found]


def directory_problems() -> Iterator[str]:
    """What lies among the session directories and should not."""
    yield from (f"{path} belongs to no session" for path in directories_of_nobody())
    yield from (f"{path} is left over from something unfinished" for path in unfinished_directories())
    for session in TrainingSession.objects.filter(state__in=ENDED, cleaned_up_at=None).iterator():
        for path in session.directory.half_written():
            yield f"{path} is left over from a trainer that was killed"
