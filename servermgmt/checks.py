"""What is refused of a server that is meant for others: `manage.py check --deploy`. docs/decisions/0013 says why here.

Nothing of it holds up `make run`, which is for one person and a fresh clone.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register

SHORTEST_KEY = 32  # what could be guessed is not told from what could not, but by its length


@register(Tags.security, deploy=True)
def check_deployment(**kwargs: Any) -> list[CheckMessage]:
    return [] if settings.DEBUG else [*_data_in_the_source_tree(), *_without_tls(), *_short_keys()]


def _data_in_the_source_tree() -> Iterator[CheckMessage]:
    found: list[Path] = []
    for name in ("DATA_DIR", "DATABASE_PATH", "MODELS_DIR", "DATASETS_DIR", "SESSIONS_DIR"):
        path = getattr(settings, name)
        is_said = any(path.is_relative_to(other) for other in found)
        if not is_said and path.is_relative_to(settings.BASE_DIR) and os.access(path, os.W_OK):
            found.append(path)
            yield Error(
                f"{name} is in the source tree, {path}: what clients send would lie beside the code that runs.",
                hint=f"Set {name} to a folder elsewhere, as in DATA_DIR=/srv/training/data.",
                id="servermgmt.E001",
            )


def _without_tls() -> Iterator[CheckMessage]:
    if not settings.BEHIND_TLS:
        yield Error(
            "API keys and the admin's password go over the network in clear.",
            hint="Put a proxy that speaks TLS in front, as docs/operations.md says, and set BEHIND_TLS=true.",
            id="servermgmt.E002",
        )


def _short_keys() -> Iterator[CheckMessage]:
    for number, key in enumerate(settings.API_KEYS, start=1):
        if len(key) < SHORTEST_KEY:
            yield Warning(
                f"Key {number} of API_KEYS is shorter than {SHORTEST_KEY} characters, and may be guessed.",
                hint="Make one with `manage.py createapikey NAME`, or with `openssl rand -hex 32` for API_KEYS.",
                id="servermgmt.W003",
            )
