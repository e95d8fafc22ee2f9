"""The web server as the Procfile starts it, on SQLite or on PostgreSQL, with something of everything to lose."""

import hashlib
import os
import secrets
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from django.conf import settings

from tests.processes.server import GUNICORN, UNLIMITED, free_port, wait_for

KEY = "catalogue-key"
POSTGRES = os.environ.get("TEST_DATABASE_URL", "postgres://postgres@127.0.0.1:5432/postgres")
CONFIG = {"model_architecture": "mlp", "dataset_name": "rows", "learning_rate": 0.1, "batch_size": 1, "epochs": 1}
# What requests may leave behind that change nothing: who asked, how often, and what is to be answered again.
TRACES = {"auth_logs", "audit_chain", "rates", "kept_answers", "samples", "django_session"}


class LiveServer:
    """Gunicorn, and the database and the folders behind it."""

    def __init__(self, folder: Path, database_url: str) -> None:
        self.folder = folder
        self.database_url = database_url
        self.port = free_port()
        self.log = folder.parent / f"{folder.name}.log"
        self.environment = os.environ | UNLIMITED | {
            "DATA_DIR": str(folder),
            "DATABASE_URL": database_url,
            "API_KEYS": KEY,
            "API_HOST": "127.0.0.1",
            "ALLOWED_HOSTS": "x,127.0.0.1",
            "API_PORT": str(self.port),
            "MAX_UPLOAD_BYTES": "100000000",
        }  # fmt: skip
        self.values = {"key": KEY}

    @contextmanager
    def running(self) -> Iterator["LiveServer"]:
        self.manage("prepare", "--without-credentials")
        command = [sys.executable, *GUNICORN, "--bind", f"127.0.0.1:{self.port}"]
        with self.log.open("wb") as log:
            process = subprocess.Popen(command, cwd=settings.BASE_DIR, env=self.environment, stdout=log, stderr=log)
        try:
            wait_for(lambda: self.is_healthy(process), what="the start of the web server")
            self.fill()
            yield self
        finally:
            process.terminate()
            process.wait(timeout=30)
            self.database.close()

    def is_healthy(self, process: "subprocess.Popen[bytes]") -> bool:
        assert process.poll() is None, self.log.read_text()
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/health").status_code == 200
        except httpx.TransportError:
            return False

    def fill(self) -> None:
        """Make two sessions, of which one has ended, a dataset, a model and a key."""
        rows = b"a,b,label\n" + b"".join(b"%d,%d,%d\n" % (number, number % 7, number % 2) for number in range(50))
        headers = {"X-API-Key": KEY}
        with httpx.Client(base_url=f"http://127.0.0.1:{self.port}/api/v1", headers=headers, timeout=60) as client:

            def post(path: str, **options: Any) -> Any:
                answer = client.post(path, **options)
                assert answer.status_code == 200, answer.text
                return answer.json()

            post("/datasets?dataset_name=rows", files={"file": rows})
            post("/models?model_name=weights", files={"file": b"weights"})
            queued, ended = (post("/training/start", json=CONFIG)["session_id"] for _ in range(2))
            post(f"/training/{ended}/stop")
            key_id = post("/keys", json={"name": "to keep", "scopes": ["system:read"]})["id"]
            for _ in range(8):  # until each of the two processes has read the list of architectures
                client.post("/training/start", json=CONFIG | {"epochs": 0}, headers={"Connection": "close"})
        names = {"queued": queued, "ended": ended, "model": "weights", "dataset": "rows", "key_id": str(key_id)}
        self.values |= names

    def manage(self, *arguments: str) -> str:
        """What a command says; fails where it does."""
        command = [sys.executable, "manage.py", *arguments]
        root = settings.BASE_DIR
        return subprocess.run(
            command, cwd=root, env=self.environment, check=True, stdout=subprocess.PIPE, text=True
        ).stdout

    # --- What a client sees ---

    def send(self, request: bytes) -> bytes:
        """The answer to bytes sent as they are, and then no more; sending ends where the server does not listen."""
        with closing(socket.create_connection(("127.0.0.1", self.port), timeout=30)) as connection:
            try:
                connection.sendall(request)
                connection.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # it has answered, and waits for no more
            parts = []
            try:
                while data := connection.recv(65536):
                    parts.append(data)
            except ConnectionResetError:
                pass
            return b"".join(parts)

    # --- What lies behind ---

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        return list(self.database.execute(statement).fetchall())

    @cached_property
    def database(self) -> Any:
        """A connection of our own, past the server."""
        if self.database_url:
            return psycopg.connect(self.database_url, autocommit=True)
        return sqlite3.connect(f"file:{self.folder}/api_data.db?mode=ro", uri=True)

    @cached_property
    def tables(self) -> list[str]:
        source = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
        if self.database_url:
            source = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        return sorted({name for (name,) in self.query(source)} - TRACES)

    def attempts(self) -> int:
        """The rows of the audit log."""
        ((count,),) = self.query("SELECT COUNT(*) FROM auth_logs")
        return int(count)

    def state(self) -> dict[str, str]:
        """A digest of all that a client could change: the rows of each table, and the files."""
        found = {table: digest(sorted(map(repr, self.query(f'SELECT * FROM "{table}"')))) for table in self.tables}
        files = sorted(path for path in self.folder.rglob("*") if path.is_file() and self.is_kept(path))
        return found | {str(path): f"{path.stat().st_size} {path.stat().st_mtime_ns}" for path in files}

    @staticmethod
    def is_kept(path: Path) -> bool:
        """Whether a file is one of the registry's or of a session's: the database keeps its own."""
        return not path.name.startswith(("api_data.db", "audit_heads", "idempotency.lock"))


def digest(texts: list[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


@contextmanager
def postgres_database() -> Iterator[str]:
    """The URL of an empty database on the server of the tests, which goes at the end."""
    name = f"catalogue_{secrets.token_hex(6)}"
    try:
        server = psycopg.connect(POSTGRES, autocommit=True, connect_timeout=5)
    except psycopg.OperationalError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no PostgreSQL at TEST_DATABASE_URL: {error}")
    with server:
        server.execute(f"CREATE DATABASE {name}".encode())
        try:
            yield f"{POSTGRES.rpartition('/')[0]}/{name}"
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@contextmanager
def live_server(database: str, folder: Path) -> Iterator[LiveServer]:
    """A server on `sqlite` or `postgres`, with all its data in a folder."""
    if database == "sqlite":
        with LiveServer(folder, "").running() as server:
            yield server
        return
    with postgres_database() as url, LiveServer(folder, url).running() as server:
        yield server


def timed(send: Any, *arguments: Any) -> tuple[Any, float]:
    began = time.monotonic()
    answer = send(*arguments)
    return answer, time.monotonic() - began
