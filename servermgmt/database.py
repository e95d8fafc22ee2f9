"""Which database the rows lie in, and how it is opened for a server."""

import sys
from pathlib import Path
from typing import Any

import environ

from servermgmt.sqlite import WritableConnection

POSTGRES = ("postgres://", "postgresql://")
WAIT_SECONDS = 20  # for a lock that another process holds


def database(url: str, sqlite_path: Path) -> dict[str, Any]:
    """Django's settings of the database: PostgreSQL where a URL names it, else SQLite. Any other URL ends the start."""
    if not url:
        return sqlite(sqlite_path)
    try:
        settings = postgres(url) if url.startswith(POSTGRES) else {}
    except ValueError:  # a port that is no number, an address without its bracket
        settings = {}
    if not settings.get("NAME"):
        # The URL is not shown: it holds a password.
        sys.exit(
            "DATABASE_URL must be written like postgres://USER:PASSWORD@HOST:5432/NAME, or not be set, which means "
            "the SQLite database at DATABASE_PATH. Correct it in the environment."
        )
    return settings


def sqlite(path: Path) -> dict[str, Any]:
    """SQLite opened for a server: in the default deferred mode four writers in five fail with "database is locked"."""
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": path,
        "CONN_MAX_AGE": None,
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": WAIT_SECONDS,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            "factory": WritableConnection,
        },
        # A file and not memory: tests open it from threads and processes.
        "TEST": {"NAME": str(path.parent / "test.db")},
    }


def postgres(url: str) -> dict[str, Any]:
    """PostgreSQL, with a connection for each thread that is kept, and no pool: processes that fork would share it."""
    settings: dict[str, Any] = environ.Env.db_url_config(url)
    options = {
        "connect_timeout": 10,
        "tcp_user_timeout": 30_000,  # milliseconds; a server that has vanished is noticed
        "application_name": "training-server",
        "options": f"-c lock_timeout={WAIT_SECONDS}s -c idle_in_transaction_session_timeout=5min",
    }
    return settings | {
        "ENGINE": "servermgmt.postgres",
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,  # one that broke while the server was restarted fails nobody's request
        "OPTIONS": options | settings.get("OPTIONS", {}),
    }
