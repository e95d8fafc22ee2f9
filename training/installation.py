"""What this installation can train: the engine's catalogue, asked for once and kept in DATA_DIR.

The engine knows it after importing torch and everybody's architectures, which no web process should: a process of its
own writes it down.
"""

import hashlib
import json
import logging
import os
import subprocess
import sys
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from django.conf import settings

from training.catalogue import ENTRY_POINTS, Architecture, Catalogue

logger = logging.getLogger(__name__)

COMMAND = [sys.executable, "-m", "training.engine.catalogue"]
ENGINE = Path(__file__).parent / "engine"


class CatalogueUnavailable(Exception):
    """The engine could not say what it can train."""


def catalogue() -> Catalogue:
    """The architectures by name. Raises CatalogueUnavailable."""
    return _catalogue(_fingerprint())


@lru_cache(maxsize=1)
def _catalogue(fingerprint: str) -> Catalogue:
    path = settings.DATA_DIR / "catalogue.json"
    try:
        kept = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        kept = {}
    if kept.get("fingerprint") != fingerprint:
        kept = {"fingerprint": fingerprint, "architectures": _ask_engine()}
        aside = path.with_name(f".{path.name}.{os.getpid()}.part")
        aside.write_text(json.dumps(kept), encoding="utf-8")
        aside.replace(path)
    return {entry["name"]: Architecture(**{**entry, "takes": tuple(entry["takes"])}) for entry in kept["architectures"]}


def _ask_engine() -> list[dict[str, Any]]:
    answer = subprocess.run(COMMAND, cwd=settings.BASE_DIR, capture_output=True, text=True)
    if answer.stderr:
        logger.warning("%s", answer.stderr.strip())
    if answer.returncode:
        raise CatalogueUnavailable("The engine could not list its architectures; the server's log says why.")
    found: list[dict[str, Any]] = json.loads(answer.stdout)
    return found


def _fingerprint() -> str:
    """Changes when the catalogue may: with the engine's files, the packages that bring architectures, the setting."""
    points = metadata.entry_points(group=ENTRY_POINTS)
    brought = [(point.name, point.value, point.dist and point.dist.version) for point in points]
    files = [(path.name, path.stat().st_mtime_ns) for path in sorted(ENGINE.rglob("*.py"))]
    return hashlib.sha256(repr((brought, files, settings.ARCHITECTURE_MODULES, sys.version)).encode()).hexdigest()
