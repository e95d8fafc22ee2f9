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
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from django.conf import settings

from training import leash
from training.catalogue import ENTRY_POINTS, Architecture, Catalogue, LeftOut

logger = logging.getLogger(__name__)

COMMAND = [sys.executable, "-m", "training.engine.catalogue"]
ENGINE = Path(__file__).parent / "engine"
PATIENCE_SECONDS = 300.0  # importing torch takes seconds; somebody's module may never come to an end
SERVER_SECRETS = frozenset({"SECRET_KEY", "API_KEYS", leash.VARIABLE})


class CatalogueUnavailable(Exception):
    """The engine could not say what it can train."""


@dataclass(frozen=True)
class Installation:
    """What can be trained, and what was to bring more and could not."""

    architectures: Catalogue
    left_out: tuple[LeftOut, ...]


def catalogue() -> Catalogue:
    """The architectures by name. Raises CatalogueUnavailable."""
    return installation().architectures


def installation() -> Installation:
    """What this installation can train. Raises CatalogueUnavailable."""
    return _installation(tuple(settings.ARCHITECTURE_MODULES))


def engine_environment() -> dict[str, str]:
    """The environment for processes that run the engine.

    They run code for its owner: the server's own secrets are none of its business.
    """
    environment = {name: value for name, value in os.environ.items() if name not in SERVER_SECRETS}
    return environment | {"ARCHITECTURE_MODULES": ",".join(settings.ARCHITECTURE_MODULES)}


@lru_cache(maxsize=1)
def _installation(modules: tuple[str, ...]) -> Installation:
    """Once for the life of a process: what is installed afterwards is there after the next start."""
    path = settings.DATA_DIR / "catalogue.json"
    fingerprint = _fingerprint(modules)
    try:
        kept = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        kept = {}
    if kept.get("fingerprint") != fingerprint:
        kept = {"fingerprint": fingerprint, **_ask_engine()}
        aside = path.with_name(f".{path.name}.{os.getpid()}.part")
        aside.write_text(json.dumps(kept), encoding="utf-8")
        aside.replace(path)
    return Installation(
        {entry["name"]: Architecture(**{**entry, "takes": tuple(entry["takes"])}) for entry in kept["architectures"]},
        tuple(LeftOut(**entry) for entry in kept["left_out"]),
    )


def _ask_engine() -> dict[str, Any]:
    try:
        answer = subprocess.run(
            COMMAND,
            cwd=settings.BASE_DIR,
            env=engine_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE_SECONDS,
            check=True,
        )
    except subprocess.TimeoutExpired as error:
        raise CatalogueUnavailable(
            f"The engine did not list its architectures within {PATIENCE_SECONDS:.0f} seconds: "
            "look at the modules of ARCHITECTURE_MODULES and at the packages that bring architectures."
        ) from error
    except subprocess.CalledProcessError as error:
        logger.error("%s", error.stderr.strip())
        raise CatalogueUnavailable("The engine could not list its architectures; the server's log says why.") from error
    if answer.stderr:
        logger.warning("%s", answer.stderr.strip())
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def _fingerprint(modules: tuple[str, ...]) -> str:
    """Changes when the catalogue may: with what is installed, the files of what brings architectures, the setting."""
    packages = [str(path) for folder in sys.path for path in sorted(Path(folder).glob("*.dist-info"))]
    points = [point.value for point in metadata.entry_points(group=ENTRY_POINTS)]
    sources = [ENGINE, *(place for name in (*modules, *points) for place in _places(name))]
    files = [(str(path), path.stat().st_mtime_ns) for place in sources for path in _python_files(place)]
    return hashlib.sha256(repr((packages, files, modules, sys.version)).encode()).hexdigest()


def _places(module: str) -> list[Path]:
    """Where the package of a module lies, found without importing anything of it."""
    try:
        spec = find_spec(module.partition(":")[0].strip().partition(".")[0])
    except (ImportError, ValueError):
        return []
    if spec is None:
        return []
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    return folders or [Path(spec.origin or "")]


def _python_files(place: Path) -> Iterator[Path]:
    yield from sorted(place.rglob("*.py")) if place.is_dir() else [place] if place.is_file() else []
