"""Disks that are full or cannot be written to, a locked database, uploads that are cut off: nothing is lost or left."""

import hashlib
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.processes.disks import Disk, mounted
from tests.processes.server import Server, wait_for

pytestmark = pytest.mark.slow

SEED = 20261123
ROWS = b"a,b,label\n" + b"1.25,2.5,0\n3.75,4.5,1\n" * 20_000  # about half a megabyte
FREE_NAME = {"datasets": "dataset_name", "models": "model_name"}


@contextmanager
def serving(data_dir: Path, **environment: str) -> Iterator[Server]:
    """A server whose disks are mounted already, and are smaller than what sessions usually wait for."""
    server = Server(data_dir, MIN_FREE_DISK_BYTES="0", **environment)
    try:
        yield server
    finally:
        server.client.close()
        server.kill_everything()


def upload(server: Server, collection: str, name: str, data: bytes = ROWS) -> httpx.Response:
    return server.client.post(f"/{collection}", params={FREE_NAME[collection]: name}, files={"file": data})


def assert_refused(answer: httpx.Response, status: int, *codes: str) -> None:
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert body["error"]["code"] in codes
    assert body["detail"] == body["error"]["message"]
    assert "Traceback" not in answer.text
    assert "/" not in body["detail"]  # nothing of the inside


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"decoded"}


def test_uploads_to_a_broken_disk(tmp_path: Path) -> None:
    """Wherever the room runs out, the client is told, nothing is kept, and the next upload works again."""
    with (
        mounted(tmp_path / "uploads", "4m", inodes=100) as uploads,
        mounted(tmp_path / "datasets", "4m", inodes=100) as datasets,
        mounted(tmp_path / "models", "4m", inodes=100) as models,
        serving(tmp_path) as server,
    ):
        server.start_web()
        faults: list[tuple[Callable[[Disk], None], int, str]] = [
            (lambda disk: disk.fill(leave_bytes=1 << 18), 507, "STORAGE_FULL"),
            (Disk.fill_inodes, 507, "STORAGE_FULL"),
            (Disk.make_read_only, 503, "STORAGE_UNAVAILABLE"),
        ]
        for disk, collection in (
            (uploads, "datasets"),
            (uploads, "models"),
            (datasets, "datasets"),
            (models, "models"),
        ):
            for break_disk, status, code in faults:
                break_disk(disk)
                assert_refused(upload(server, collection, "refused"), status, code)
                assert server.get(f"/{collection}") == []
                disk.mend()
                assert not files_in(tmp_path / collection)
                assert not files_in(tmp_path / "uploads")
        for collection in FREE_NAME:
            assert upload(server, collection, "refused").status_code == 200
            assert [row["name"] for row in server.get(f"/{collection}")] == ["refused"]
        server.manage("verifyfiles")


def test_a_database_without_room_or_on_a_read_only_disk(tmp_path: Path) -> None:
    """Whatever was answered with 200 is there, whatever was not is not, and the server needs no restart."""
    unavailable = ("AUDIT_UNAVAILABLE", "DATABASE_UNAVAILABLE")
    with mounted(tmp_path / "db", "8m") as disk, serving(tmp_path, DATABASE_PATH="db/api_data.db") as server:
        server.start_web()
        server.upload_digits()
        started: set[str] = set()

        def start() -> httpx.Response:
            config = {"model_architecture": "mlp", "dataset_name": "digits", "learning_rate": 0.01}
            answer = server.client.post("/training/start", json=config | {"batch_size": 64, "epochs": 1})
            if answer.status_code == 200:
                started.add(answer.json()["session_id"])
            return answer

        def refused() -> httpx.Response | None:
            answer = start()
            return answer if answer.status_code != 200 else None

        disk.fill()
        assert_refused(wait_for(refused, 60, "a database without room"), 503, *unavailable)
        assert_refused(server.client.get("/training/sessions"), 503, *unavailable)
        assert_refused(upload(server, "models", "refused"), 503, *unavailable)
        assert server.is_healthy()
        disk.mend()
        start()
        assert {session["session_id"] for session in server.get("/training/sessions")} == started
        assert server.get("/models") == []

        server.kill_everything()
        disk.make_read_only()
        server.start_web()
        for _ in range(3):
            assert_refused(start(), 503, *unavailable)
        disk.mend()
        start()
        assert {session["session_id"] for session in server.get("/training/sessions")} == started
        server.manage("verifyfiles")


def test_training_while_the_disk_is_full(tmp_path: Path) -> None:
    """Everything lies on one disk: trainer, supervisor and database run out of room, and go on when there is some."""
    epochs = 60
    with mounted(tmp_path, "64m", inodes=2000) as disk, serving(tmp_path, CHECKPOINT_EVERY_SECONDS="0.2") as server:
        server.start_web()
        server.upload_digits()
        server.start_worker()
        session_id = server.submit(epochs=epochs)
        server.wait_for_epoch(session_id, 3)
        disk.fill()
        disk.fill_inodes()
        wait_for(lambda: not server.trainers(), what="the death of the trainer")
        disk.mend()
        status = server.wait_for_end(session_id)
        reached = server.epochs(session_id)
        assert reached == list(range(1, len(reached) + 1))
        if status["state"] == "completed":
            assert len(reached) == epochs
        else:
            assert (status["state"], status["failure_code"]) == ("failed", "disk_full"), status
            assert server.wait_for_end(server.submit(epochs=1))["state"] == "completed"
        server.manage("verifyfiles", "--sweep")


@contextmanager
def locked_database(server: Server) -> Iterator[None]:
    database = sqlite3.connect(server.data_dir / "api_data.db", isolation_level=None, timeout=20)
    try:
        database.execute("BEGIN EXCLUSIVE")
        yield
    finally:
        database.close()


def test_a_database_that_somebody_else_has_locked(server: Server) -> None:
    """For ten seconds everything waits. For sixty, clients are told, the trainer trains, and no epoch is lost."""
    epochs = 300
    server.start_web()
    server.upload_digits()
    server.start_worker()
    session_id = server.submit(epochs=epochs)
    server.wait_for_epoch(session_id, 2)

    answers: list[Any] = []

    def ask() -> None:
        answers.append(server.client.get(f"/training/{session_id}/status"))

    with locked_database(server):
        asking = threading.Thread(target=ask)
        asking.start()
        time.sleep(10)
        assert not answers
    asking.join()
    assert answers.pop().json()["state"] == "running"

    with locked_database(server):
        until = time.monotonic() + 60
        ask()
        assert_refused(answers.pop(), 503, "AUDIT_UNAVAILABLE")
        assert server.is_healthy()
        time.sleep(until - time.monotonic())
    status = server.wait_for_end(session_id)
    assert (status["state"], status["attempt"]) == ("completed", 1)
    assert server.epochs(session_id) == list(range(1, epochs + 1))
    transitions = [transition["to"] for transition in server.get(f"/training/{session_id}/transitions")]
    assert transitions == ["queued", "running", "completed"]


class ClientGone(Exception):
    """The client goes away in the middle of its request."""


def slowly(data: bytes, generator: random.Random, for_seconds: float) -> Iterator[bytes]:
    """The body of an upload, in pieces and with pauses. Raises ClientGone when the time is over before its end."""
    deadline = time.monotonic() + for_seconds
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    body = head + data + b"\r\n--x--\r\n"
    while body:
        size = generator.randrange(1, 200_000)
        yield body[:size]
        body = body[size:]
        time.sleep(generator.uniform(0, 0.01))
        if time.monotonic() > deadline:
            raise ClientGone


def test_uploads_that_are_cut_off(server: Server) -> None:
    """Clients go away and web processes are killed at random moments: what was answered is there, and nothing else."""
    generator = random.Random(SEED)
    stored: dict[str, str] = {}
    server.start_web()

    def send(collection: str, name: str, data: bytes, for_seconds: float) -> None:
        body = slowly(data, random.Random(name), for_seconds)
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        with suppress(httpx.TransportError, ClientGone):
            answer = server.client.post(
                f"/{collection}", params={FREE_NAME[collection]: name}, content=body, headers=headers
            )
            assert answer.status_code == 200, answer.text
            stored[name] = hashlib.sha256(data).hexdigest()

    for number in range(8):
        moment = generator.uniform(0, 0.4)
        upload = (generator.choice(["datasets", "models"]), f"upload-{number}", ROWS + b"5,6,%d\n" % number)
        send(*upload, moment)
        sending = threading.Thread(target=send, args=(upload[0], f"{upload[1]}-killed", upload[2], 60))
        sending.start()
        time.sleep(moment)
        for worker in psutil.Process(server.processes["web"].pid).children():
            worker.kill()
        sending.join()
        wait_for(server.is_healthy, what="another web process")

    assert "Every row has its file" in server.manage("verifyfiles", "--sweep")
    names = {row["name"] for collection in FREE_NAME for row in server.get(f"/{collection}")}
    assert names >= set(stored)
    for collection in FREE_NAME:
        for path in (server.data_dir / collection).glob("upload-*"):
            name = path.name.rpartition("-")[0]
            assert name in names
            assert hashlib.sha256(path.read_bytes()).hexdigest() == stored.get(name, row_hash(server, name))


def row_hash(server: Server, name: str) -> str:
    """Of what was stored although its client heard no answer, the hash that its row has."""
    with sqlite3.connect(server.data_dir / "api_data.db") as database:
        query = "SELECT sha256 FROM datasets WHERE name = ? UNION SELECT sha256 FROM models WHERE name = ?"
        (sha256,) = database.execute(query, (name, name)).fetchone()
    database.close()
    return str(sha256)
