"""Requests at a steady rate to a web server that is killed again and again: every change has its row, and the reverse.

    python -m tests.processes.audited

REQUESTS is how many are sent (120,000), RATE how many a second (200), KILL_SECONDS the time between two deaths of the
web server, all of its processes (60). Ends with a non-zero status when anything was seen that must not be.
"""

import os
import random
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from authkeys import keys
from tests.processes.server import Server, wait_for

CLIENTS = 24  # while the web server is dead, this many wait; the others' turns come later
SCOPES = ["models:read"]


@dataclass
class Seen:
    """What clients were answered."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    statuses: dict[str, int] = field(default_factory=dict)  # by request id
    made: set[int] = field(default_factory=set)  # ids of keys
    revoked: set[int] = field(default_factory=set)
    seconds: list[float] = field(default_factory=list)
    unanswered: int = 0
    violations: list[str] = field(default_factory=list)

    def note(self, answer: httpx.Response, began_at: float) -> None:
        with self.lock:
            self.seconds.append(time.monotonic() - began_at)
            request_id = answer.headers.get("X-Request-ID", "")
            self.statuses[request_id] = answer.status_code
            if answer.status_code >= 500:
                self.violations.append(f"{answer.request.method} {answer.url} was answered {answer.text}")


class Client(threading.Thread):
    """Takes its turns: mostly it looks, sometimes it makes or revokes a key, or guesses at one."""

    def __init__(self, server: Server, seen: Seen, turns: "Turns", seed: int) -> None:
        super().__init__(name=f"client {seed}")
        self.server = server
        self.seen = seen
        self.turns = turns
        self.random = random.Random(seed)
        self.http = httpx.Client(base_url=server.client.base_url, headers=server.client.headers, timeout=30)
        self.own: list[int] = []  # keys that it made, which nobody else revokes

    def run(self) -> None:
        while self.turns.wait_for_next():
            try:
                self.turn()
            except httpx.TransportError:
                with self.seen.lock:
                    self.seen.unanswered += 1
        self.http.close()

    def turn(self) -> None:
        match self.random.random():
            case chance if chance < 0.20:
                answer = self.ask("POST", "/keys", json={"name": self.name, "scopes": SCOPES})
                if answer.status_code == 200:
                    self.own.append(answer.json()["id"])
                    with self.seen.lock:
                        self.seen.made.add(self.own[-1])
            case chance if chance < 0.30 and self.own:
                key_id = self.own.pop()
                if self.ask("DELETE", f"/keys/{key_id}").status_code == 200:
                    with self.seen.lock:
                        self.seen.revoked.add(key_id)
            case chance if chance < 0.35:
                self.ask("GET", "/models", headers={"X-API-Key": keys.make()})
            case chance if chance < 0.40:
                self.ask("POST", "/keys", json={"name": "", "scopes": SCOPES})
            case chance if chance < 0.70:
                self.ask("GET", "/keys/self")
            case _:
                self.ask("GET", "/models")

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        began_at = time.monotonic()
        answer = self.http.request(method, path, **options)
        self.seen.note(answer, began_at)
        return answer


class Turns:
    """When each request is due."""

    def __init__(self, count: int, rate: float) -> None:
        self.count = count
        self.rate = rate
        self.lock = threading.Lock()
        self.taken = 0
        self.began_at = time.monotonic()

    def wait_for_next(self) -> bool:
        """Wait until it is due; False when there is none any more."""
        with self.lock:
            number = self.taken
            if number >= self.count:
                return False
            self.taken += 1
        time.sleep(max(0, self.began_at + number / self.rate - time.monotonic()))
        return True


def kill_web(server: Server) -> None:
    """SIGKILL to all of its processes at once; then it is started again."""
    master = psutil.Process(server.processes["web"].pid)
    for process in [master, *master.children()]:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    server.processes["web"].wait()
    server.revive()
    wait_for(server.is_healthy, 60, "the new web server")


def send(server: Server, requests: int, rate: float, kill_seconds: float) -> tuple[Seen, int]:
    """What was seen, and how often the web server was killed."""
    seen, turns, kills = Seen(), Turns(requests, rate), 0
    clients = [Client(server, seen, turns, seed) for seed in range(CLIENTS)]
    for client in clients:
        client.start()
    while any(client.is_alive() for client in clients):
        due = time.monotonic() + kill_seconds
        while time.monotonic() < due and any(client.is_alive() for client in clients):
            time.sleep(0.1)
        if any(client.is_alive() for client in clients):
            kill_web(server)
            kills += 1
    return seen, kills


def check(server: Server, seen: Seen) -> list[str]:
    """What must not be: in the database, past the server."""
    violations = seen.violations
    with closing(sqlite3.connect(f"file:{server.data_dir}/api_data.db?mode=ro", uri=True)) as database:
        rows = database.execute("SELECT request_id, status, method, endpoint FROM auth_logs").fetchall()
        found = dict(database.execute("SELECT id, revoked_at FROM api_keys"))
    times = Counter(request_id for request_id, *_ in rows)
    if twice := [request_id for request_id, count in times.items() if count > 1]:
        violations.append(f"{len(twice)} requests have two rows: {twice[:5]}")
    recorded = {request_id: status for request_id, status, *_ in rows}
    if wrong := [one for one, status in seen.statuses.items() if recorded.get(one) != status]:
        violations.append(f"{len(wrong)} answers have no row, or one that tells another: {wrong[:5]}")
    if lost := seen.made - found.keys():
        violations.append(f"{len(lost)} keys that were answered are not there: {sorted(lost)[:5]}")
    if alive := [key_id for key_id in seen.revoked if found.get(key_id) is None]:
        violations.append(f"{len(alive)} keys that were revoked are not: {alive[:5]}")
    # Also of what was not answered: a change without a row, or a row without its change.
    made = sum(status == 200 and (method, path) == ("POST", "/api/v1/keys") for _, status, method, path in rows)
    revoked = {int(path.rsplit("/", 1)[1]) for _, status, method, path in rows if (status, method) == (200, "DELETE")}
    if made != len(found):
        violations.append(f"{len(found)} keys were made, and {made} rows tell of it")
    if revoked != {key_id for key_id, revoked_at in found.items() if revoked_at}:
        violations.append("the keys that are revoked are not those of which rows tell it")
    try:
        server.manage("verifyaudit")
    except subprocess.CalledProcessError as error:
        violations.append(f"verifyaudit: {error.stderr}")
    return violations


def describe(seen: Seen, kills: int, rate: float) -> str:
    slowest = sorted(seen.seconds)[int(len(seen.seconds) * 0.99)]
    return (
        f"{len(seen.statuses):,} requests answered at up to {rate:.0f}/s, {seen.unanswered:,} not, {kills} deaths of "
        f"the web server; {len(seen.made):,} keys made, {len(seen.revoked):,} revoked; an answer took "
        f"{statistics.median(seen.seconds) * 1000:.1f} ms, 99 % less than {slowest * 1000:.0f} ms"
    )


def main() -> int:
    requests = int(os.environ.get("REQUESTS") or 120_000)
    rate = float(os.environ.get("RATE") or 200)
    kill_seconds = float(os.environ.get("KILL_SECONDS") or 60)
    folder = Path(tempfile.mkdtemp(prefix="audited-"))
    server = Server(folder)
    try:
        server.start_web("--workers", "2")
        began_at = time.monotonic()
        seen, kills = send(server, requests, rate, kill_seconds)
        print(f"{time.monotonic() - began_at:.0f} s: {describe(seen, kills, rate)}")
        violations = check(server, seen)
    finally:
        server.client.close()
        server.kill_everything()
    if violations:
        print(*violations[:20], f"{len(violations)} violations; everything is kept in {folder}", sep="\n")
        return 1
    shutil.rmtree(folder)
    print("No violation.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
