"""What a dataset looks like: found out once in a process of its own, and kept beside what is decoded of it."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from django.conf import settings
from django.core.cache import cache

from registry.formats.preview import LAYOUT
from registry.models import Dataset

logger = logging.getLogger(__name__)

COMMAND = [sys.executable, "-m", "registry.formats.preview"]
LOOKING_SECONDS = 120.0
# What took too long is not tried again at once.
REMEMBERED_SECONDS = 600
TOO_LONG = f"The dataset is too large to be looked at within {LOOKING_SECONDS:.0f} seconds."

_turn = threading.Lock()


class LookingBusy(Exception):
    """Another dataset is being looked at; of each web process, one is at a time."""


class NothingToSee(Exception):
    """The dataset could not be looked at. The message says why, for people."""


def preview(dataset: Dataset) -> dict[str, Any]:
    """What registry/formats/preview.py says of a dataset. Raises LookingBusy or NothingToSee."""
    place = dataset.decoded_folder / f"preview-{dataset.format}.json"
    kept = _read(place)
    if kept is not None:
        return kept
    if (problem := cache.get(_problem_of(dataset))) is not None:
        raise NothingToSee(problem)
    if not _turn.acquire(blocking=False):
        raise LookingBusy
    try:
        found = _look_at(dataset)
    except NothingToSee as problem:
        cache.set(_problem_of(dataset), str(problem), REMEMBERED_SECONDS)
        raise
    finally:
        _turn.release()
    try:
        _keep(found, place)
    except OSError as error:
        logger.warning("The preview of %s cannot be kept, so it is made each time: %s", dataset, error)
    return found


def _problem_of(dataset: Dataset) -> str:
    return f"nothing-to-see-{dataset.sha256}-{dataset.format}"


def _look_at(dataset: Dataset) -> dict[str, Any]:
    with subprocess.Popen(
        [*COMMAND, str(dataset.path), dataset.format, dataset.sha256],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=settings.BASE_DIR,
        # It needs nothing of ours; a thread for each core would reserve memory that it may not have.
        env={"PATH": os.environ.get("PATH", ""), "OPENBLAS_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"},
        start_new_session=True,
    ) as process:
        try:
            output, log = process.communicate(timeout=LOOKING_SECONDS)
        except subprocess.TimeoutExpired:
            raise NothingToSee(TOO_LONG) from None
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
    try:
        answer: dict[str, Any] = json.loads(output)
    except ValueError:
        logger.warning("looking at the dataset %s failed:\n%s", dataset, log[-4000:].decode(errors="replace"))
        raise NothingToSee(
            f"The process that was to look at the dataset died ({process.returncode}); the server's log says why."
        ) from None
    if "problem" in answer:
        raise NothingToSee(answer["problem"])
    found: dict[str, Any] = answer["preview"]
    return found


def _read(place: Path) -> dict[str, Any] | None:
    with suppress(OSError, ValueError):
        kept: dict[str, Any] = json.loads(place.read_bytes())
        return kept if kept.get("layout") == LAYOUT else None
    return None


def _keep(found: dict[str, Any], place: Path) -> None:
    """Put it in its place whole. Who does so at the same time writes the same."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile("w", dir=place.parent, suffix=".json", delete=False) as aside:
        json.dump(found, aside)
    Path(aside.name).replace(place)
