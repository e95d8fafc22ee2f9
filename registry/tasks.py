"""What django-q2 calls."""

import logging

from registry.consistency import misfits, remove_leftovers

logger = logging.getLogger(__name__)


def remove_unfinished_uploads() -> int:
    """Free what uploads and deletes left behind that were cut off, and say which rows and files do not fit."""
    removed = remove_leftovers()
    for problem in misfits():
        logger.warning("%s; `manage.py verifyfiles` checks them all.", problem)
    return removed
