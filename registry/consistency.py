"""Rows and files, held against each other: what a killed process left behind goes, what does not fit is told.

Only what bears the mark of something unfinished is ever deleted. A file without a row that bears none may be an
administrator's, or belong to a database that this one has taken the place of.
"""

import logging
import re
import shutil
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from django.conf import settings

from registry.files import abandoned, is_locked, mark_of, marks, sha256_of
from registry.formats import decoded
from registry.models import Dataset, Model, StoredFile

NONCE = "[0-9a-f]{8,16}"
STORED_NAME = re.compile(rf".+-(?P<nonce>{NONCE})(\.[a-z]+)?")
KINDS: tuple[type[StoredFile], ...] = (Dataset, Model)
# An upload has a name for a moment at most, on file systems that cannot do without.
NAMELESS_AFTER_SECONDS = 60

logger = logging.getLogger(__name__)


def folders() -> list[Path]:
    """Where the files of the rows lie."""
    return list(dict.fromkeys((Path(settings.DATASETS_DIR), Path(settings.MODELS_DIR))))


def is_named(file_name: str) -> bool:
    """Whether a row names this file."""
    return any(kind._default_manager.filter(stored_name=file_name).exists() for kind in KINDS)


def remove_leftovers() -> int:
    """Delete what uploads and deletes left behind that were cut off; returns how many there were."""
    removed = 0
    for folder in folders():
        for nonce in abandoned(folder, NONCE):
            # Asked with the mark's lock held, so that nobody is about to commit a row with this nonce.
            for path in folder.glob(f"*-{nonce}*"):
                if not is_named(path.name):
                    path.unlink(missing_ok=True)
            logger.warning("Removed what was left of the unfinished file %s in %s.", nonce, folder)
            removed += 1
    for path in leftover_uploads():
        path.unlink(missing_ok=True)
        logger.warning("Removed the unfinished upload %s.", path)
        removed += 1
    for path in chain(decoded.leftovers(decoded_folder()), decoded_of_nobody()):
        shutil.rmtree(path, ignore_errors=True)
        logger.warning("Removed what was left of a decoded dataset in %s.", path)
        removed += 1
    return removed


def decoded_folder() -> Path:
    return Path(settings.DATASETS_DIR) / decoded.FOLDER


def decoded_of_nobody() -> Iterator[Path]:
    """What was kept of datasets that are deleted. It can go at any time: it would be made again."""
    for path in sorted(decoded_folder().glob("*")):
        if re.fullmatch("[0-9a-f]{64}", path.name) and not Dataset.objects.filter(sha256=path.name).exists():
            yield path


def leftover_uploads() -> Iterator[Path]:
    """Files of uploads whose process died between making them and taking their names away."""
    oldest = time.time() - NAMELESS_AFTER_SECONDS
    for path in Path(settings.UPLOADS_DIR).glob("tmp*"):
        try:
            if path.is_file() and path.stat().st_mtime < oldest:
                yield path
        except FileNotFoundError:
            continue


def misfits(*, with_hashes: bool = False) -> Iterator[str]:
    """A sentence for each row whose file is missing or another, and for each file of ours that no row names."""
    for kind in KINDS:
        for row in kind._default_manager.all().iterator():
            problem = misfit(row, with_hashes)
            # Rows come and go while they are looked at; files come before their rows, and go after them.
            if problem and kind._default_manager.filter(pk=row.pk).exists():
                yield f"{kind._meta.verbose_name} {row.name}: {problem}"
    # The row of what was being made is there before its mark goes, so the marks are asked first.
    made = [path for folder in folders() for path in sorted(folder.iterdir()) if is_made(path)]
    named = {name for kind in KINDS for name in kind._default_manager.values_list("stored_name", flat=True)}
    yield from (f"{path} belongs to no row" for path in made if path.name not in named and path.is_file())
    yield from (f"{path} is of no dataset" for path in decoded_of_nobody())


def is_made(path: Path) -> bool:
    """Whether this is a file of ours that nobody is storing any more."""
    match = STORED_NAME.fullmatch(path.name)
    return match is not None and not is_locked(mark_of(path.parent, match["nonce"]))


def misfit(row: StoredFile, with_hash: bool) -> str | None:
    """What is wrong with a row's file, if anything is."""
    try:
        size_bytes = row.path.stat().st_size
        if size_bytes != row.size_bytes:
            return f"its file {row.path} has {size_bytes} bytes and not {row.size_bytes}"
        if with_hash and sha256_of(row.path) != row.sha256:
            return f"its file {row.path} is not what was stored: it has another sha256"
    except OSError as error:
        return f"its file {row.path} cannot be read: {error.strerror}"
    return None


def temporary_files() -> Iterator[Path]:
    """What is on its way into the registry, and nobody is at it any more."""
    for folder in folders():
        yield from (path for path in marks(folder, NONCE) if not is_locked(path))
    yield from leftover_uploads()
    yield from decoded.leftovers(decoded_folder())
