"""What a client saw of a server while it was disturbed, and what must hold of it whatever happened.

I1  A start that was answered is there for ever, and nothing is there that was not answered.
I2  Nothing changes after the end, and there is exactly one end.
I3  The history is epochs 1 to N without gap or repeat, and equal to that of an undisturbed session, its weights too.
I4  There are never two living trainers of one session, and never more than allowed.
I5  Every request that was answered has its row in the audit log.
I6  Every row's file is there with its hash, no other file is left, and the database is whole.
"""

import hashlib
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from types import TracebackType
from typing import Any, Self

import httpx
import psutil

from tests.processes.server import Server

ENDED = ("completed", "failed", "stopped")
METRICS = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy")
# A list of sessions is looked at so far while the campaign runs; at the end every one is.
NEWEST = 100
TURN_SECONDS = {"sessions": 0.5, "trainers": 0.05}


class History:
    """Watches a server from outside, in threads of its own, and collects what must not be."""

    def __init__(self, server: Server, most_at_once: int) -> None:
        self.server = server
        self.most_at_once = most_at_once
        self.violations: list[str] = []
        self.started: list[str] = []  # in the order of their answers
        self.ended: dict[str, Any] = {}  # the first status of each after its end
        self.answered: list[str] = []  # ids of requests
        self.undisturbed: tuple[list[Any], str] | None = None  # metrics and hash of the weights
        self.client = self.new_client()
        # Held from the question to the check: an answer that was overtaken by another one is older than it seems.
        self.asking = threading.Lock()
        self.is_over = threading.Event()
        self.threads = [
            threading.Thread(target=self.repeat, args=(look, TURN_SECONDS[name]), name=name)
            for name, look in (("sessions", self.look_at_sessions), ("trainers", self.look_at_trainers))
        ]

    def __enter__(self) -> Self:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.is_over.set()
        for thread in self.threads:
            thread.join()
        self.client.close()

    def new_client(self) -> httpx.Client:
        """A client of the server whose answers are taken down here."""
        return httpx.Client(
            base_url=self.server.client.base_url,
            headers=self.server.client.headers,
            timeout=60,
            event_hooks={"response": [self.note_answer]},
        )

    def note_answer(self, response: httpx.Response) -> None:
        self.answered.append(response.headers["X-Request-ID"])
        if response.status_code >= 500:
            response.read()
            request = response.request
            self.violate(f"{request.method} {request.url.path} was answered {response.status_code}: {response.text}")

    def note_start(self, session_id: str) -> None:
        self.started.append(session_id)

    def violate(self, what: str) -> None:
        if what not in self.violations:
            self.violations.append(what)

    # --- While it runs ---

    def repeat(self, look: Callable[[], None], seconds: float) -> None:
        while not self.is_over.wait(seconds):
            try:
                look()
            except httpx.TransportError:
                continue  # the web process is away
            except Exception as error:
                self.violate(f"the watching of {threading.current_thread().name} ended: {error!r}")
                return

    def ask(self, path: str, **parameters: Any) -> Any:
        answer = self.client.get(path, params=parameters)
        if answer.status_code != 200:
            self.violate(f"GET {path} was answered {answer.status_code}: {answer.text}")
            return []
        return answer.json()

    def look_at_sessions(self) -> None:
        """What the server says of its newest sessions, held against what it said before."""
        started = self.started[-NEWEST // 2 :]
        with self.asking:
            listed = {entry["session_id"]: entry["status"] for entry in self.ask("/training/sessions", limit=NEWEST)}
            for session_id, status in listed.items():
                self.check_status(session_id, status)
        for missing in set(started) - set(listed):
            self.violate(f"I1: {missing} was answered and is not listed")
        running = [session_id for session_id, status in listed.items() if status["state"] == "running"]
        if len(running) > self.most_at_once:
            self.violate(f"I4: {len(running)} sessions are running, {self.most_at_once} may")
        for session_id in running:
            self.check_history(session_id, self.ask(f"/training/{session_id}/history"))
            self.check_transitions(session_id, self.ask(f"/training/{session_id}/transitions"))
        for entry in self.ask("/training/queue"):
            if entry["status"]["state"] != "queued":
                self.violate(f"I2: {entry['session_id']} is in the queue as {entry['status']['state']}")

    def look_at_trainers(self) -> None:
        trainers = self.server.trainers_by_session()
        if not self.are_too_many(trainers):
            return
        # Nobody sees all processes in one moment: only who is there a second time was there all the while.
        again = self.server.trainers_by_session()
        both = {key: [process for process in found if process in again.get(key, [])] for key, found in trainers.items()}
        if self.are_too_many(both):
            self.violate(f"I4: too many trainers at once: {both}")

    def are_too_many(self, trainers: dict[str, list[psutil.Process]]) -> bool:
        counts = [len(processes) for processes in trainers.values()]
        return max(counts, default=0) > 1 or sum(counts) > self.most_at_once

    def check_status(self, session_id: str, status: dict[str, Any]) -> None:
        if status["state"] in ENDED:
            first = self.ended.setdefault(session_id, status)
            if status != first:
                self.violate(f"I2: {session_id} has changed after its end from {first} to {status}")
        elif session_id in self.ended:
            self.violate(f"I2: {session_id} had ended and is {status['state']}")

    def check_history(self, session_id: str, history: list[dict[str, Any]]) -> None:
        """A history may be shorter than the undisturbed one, and not differ from it in anything else."""
        figures = [[metric[name] for name in METRICS] for metric in history]
        if [metric["epoch"] for metric in history] != list(range(1, len(history) + 1)):
            self.violate(f"I3: the epochs of {session_id} are {[metric['epoch'] for metric in history]}")
        elif self.undisturbed and figures != self.undisturbed[0][: len(figures)]:
            self.violate(f"I3: the metrics of {session_id} are not those of an undisturbed session")

    def check_transitions(self, session_id: str, transitions: Iterable[dict[str, Any]]) -> None:
        """Each begins where the last one led, and one alone leads to the end."""
        state = ""
        for transition in transitions:
            origin, target = transition["from"] or "", transition["to"]
            if origin != state or state in ENDED:
                self.violate(f"I2: {session_id} went from {origin} to {target} when it was {state}")
            state = target

    # --- At the end ---

    def take_as_undisturbed(self, session_id: str) -> None:
        """What all other sessions are to come to: those of a campaign have one configuration."""
        history = self.ask(f"/training/{session_id}/history")
        figures = [[metric[name] for name in METRICS] for metric in history]
        self.undisturbed = (figures, self.hash_of_model(session_id))

    def hash_of_model(self, session_id: str) -> str:
        """Of the weights as the registry hands them out."""
        name = self.ask(f"/training/{session_id}/status")["model_name"]
        return hashlib.sha256(self.client.get(f"/models/{name}").content).hexdigest()

    def wait_for_silence(self, seconds: float) -> None:
        """Until every session has ended; one that has not by then is found by the check."""
        deadline = time.monotonic() + seconds
        while open_ones := [session_id for session_id in self.started if session_id not in self.ended]:
            for session_id in open_ones:
                with self.asking:
                    self.check_status(session_id, self.server.status(session_id))
            if time.monotonic() > deadline:
                return
            time.sleep(0.5)

    def check_everything(self) -> None:
        """What must hold when every session has ended."""
        for session_id in self.started:
            with self.asking:
                status = self.ask(f"/training/{session_id}/status")
                if status:
                    self.check_status(session_id, status)
            if not status:
                continue
            history = self.ask(f"/training/{session_id}/history")
            self.check_history(session_id, history)
            self.check_transitions(session_id, self.ask(f"/training/{session_id}/transitions"))
            if status["state"] not in ENDED:
                self.violate(f"I2: {session_id} does not end, it is {status['state']}")
            if status["state"] == "completed":
                if len(history) != status["total_epochs"]:
                    self.violate(f"I3: {session_id} has completed with {len(history)} epochs")
                if self.undisturbed and self.hash_of_model(session_id) != self.undisturbed[1]:
                    self.violate(f"I3: the weights of {session_id} are not those of an undisturbed session")
        self.check_database()
        self.check_files()

    def check_database(self) -> None:
        """The rows, read past the server."""
        answered = set(self.answered)
        with closing(self.open_database()) as database:
            rows = {session_id for (session_id,) in database.execute("SELECT session_id FROM sessions")}
            audited = {request_id for (request_id,) in database.execute("SELECT request_id FROM auth_logs")}
        for session_id in rows.symmetric_difference(self.started):
            self.violate(f"I1: {session_id} is {'stored' if session_id in rows else 'answered'} alone")
        if missing := answered - audited:
            self.violate(f"I5: {len(missing)} of {len(answered)} requests have no audit row: {missing}")

    def open_database(self) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{self.server.data_dir}/api_data.db?mode=ro", uri=True)

    def check_files(self) -> None:
        """Every row's file, the database, and that nothing is left over once a worker has swept."""
        try:
            self.server.manage("verifyfiles", "--sweep")
        except subprocess.CalledProcessError as error:
            self.violate(f"I6: {error.stdout}{error.stderr}")
