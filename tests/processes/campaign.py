"""A server whose processes are killed at random moments while a client keeps it busy.

    python -m tests.processes.campaign

KILLS is how often each kind of process is killed (30), SEED repeats an earlier choice of victims and moments. Ends
with a non-zero status when anything was seen that must not be; tests/processes/history.py says what that is.
"""

import os
import random
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import psutil

from tests.processes.history import ENDED, History
from tests.processes.server import Server, wait_for
from training.journal import read_events

# All that a resume has to restore: dropout, batch normalisation, momentum, a schedule with its warm-up, and gradients
# that are open in the middle of a step.
CONFIG = {
    "model_architecture": "cnn",
    "model_args": {"width": 4, "depth": 1, "dropout": 0.3},
    "learning_rate": 0.05,
    "batch_size": 64,
    "epochs": 80,
    "optimizer": "sgd",
    "momentum": 0.9,
    "scheduler": "cosine",
    "warmup_steps": 20,
    "gradient_accumulation": 3,
    "compile": "off",
    "num_threads": 1,
    "seed": 3,
    "checkpoint_every_seconds": 0.2,
}
MOST_AT_ONCE = 2
# Whoever is killed so often before a new epoch would be given up, rightly.
ENVIRONMENT = {
    "MAX_CONCURRENT_SESSIONS": str(MOST_AT_ONCE),
    "CRASH_ATTEMPTS": "1000000",
    "SAMPLE_EVERY_SECONDS": "0.5",
    "LOG_LEVEL": "INFO",
}
WEB_OPTIONS = ["--workers", "2"]
TARGETS = (
    "trainer",
    "console of a trainer",
    "watch",
    "main of a cluster",
    "guard of a cluster",
    "busy worker",
    "web master",
    "web worker",
    "sampler",
    "everything",
)
RECOVERY_SECONDS = 90
KILLED_AGAIN_AT_ONCE = 0.25  # the share of kills that strike before the service has recovered from the last


class RestlessClient:
    """Keeps sessions coming, and stops, pauses, resumes and cancels some of them."""

    def __init__(self, history: History, seed: int) -> None:
        self.history = history
        self.random = random.Random(seed)
        self.client = history.new_client()
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self.run, name="client")

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.is_over.set()
        self.thread.join()
        self.client.close()

    def run(self) -> None:
        while not self.is_over.wait(self.random.uniform(0.1, 0.6)):
            try:
                self.turn()
            except httpx.TransportError:
                continue
            except Exception as error:
                self.history.violate(f"the client ended: {error!r}")
                return

    def turn(self) -> None:
        """Do one thing to one session or to the queue, or start a session."""
        listed = self.client.get("/training/sessions", params={"limit": 30}).json()
        states = {entry["session_id"]: entry["status"]["state"] for entry in listed}
        if sum(state in ("queued", "running") for state in states.values()) < MOST_AT_ONCE + 1:
            self.start(self.random.choice(listed)["session_id"])
            return
        session_id = self.random.choice([key for key, state in states.items() if state not in ENDED])
        if states[session_id] == "paused":
            self.act("POST", f"/training/{session_id}/resume")
            return
        match self.random.random():
            case chance if chance < 0.08:
                self.act("POST", f"/training/{session_id}/pause")
            case chance if chance < 0.10:
                self.act("POST", f"/training/{session_id}/stop")
            case chance if chance < 0.11:
                self.act("POST", f"/training/{session_id}/kill")
            case chance if chance < 0.12:
                self.act("DELETE", f"/training/queue/{session_id}")
            case chance if chance < 0.14:
                self.act("POST", "/training/queue/drain")
                self.act("POST", "/training/queue/resume")
            case chance if chance < 0.25:
                self.act("POST", "/training/queue/resume")  # where the web process died between those two

    def start(self, other: str) -> None:
        """A new session: one of its own, or another one once more, from its beginning or as a fork."""
        match self.random.random():
            case chance if chance < 0.6:
                self.submit("/training/start", CONFIG | {"dataset_name": "digits"})
            case chance if chance < 0.7:
                self.submit(f"/training/{other}/restart", {})
            case _:
                self.submit(f"/training/{other}/restart", {"from_checkpoint": "newest"})

    def submit(self, path: str, body: dict[str, Any]) -> None:
        """Ask for one session, and ask until that is answered: under one key there will be one."""
        key = uuid.UUID(int=self.random.getrandbits(128)).hex
        while True:
            with suppress(httpx.TransportError):
                answer = self.client.post(path, json=body, headers={"Idempotency-Key": key})
                code = None if answer.status_code == 200 else answer.json()["error"]["code"]
                if code is None:
                    self.history.note_start(answer.json()["session_id"])
                if code not in (None, "NO_CHECKPOINT", "IDEMPOTENCY_KEY_IN_USE"):
                    self.history.violate(f"POST {path} was answered {answer.status_code}: {answer.text}")
                if code != "IDEMPOTENCY_KEY_IN_USE":
                    return
            time.sleep(0.2)

    def act(self, method: str, path: str) -> None:
        answer = self.client.request(method, path)
        if answer.status_code not in (200, 409):  # 409: it has changed since the list was read
            self.history.violate(f"{method} {path} was answered {answer.status_code}: {answer.text}")

    def resume_all(self) -> None:
        """Leave nothing paused."""
        self.act("POST", "/training/queue/resume")
        for entry in self.client.get("/training/sessions", params={"limit": 100}).json():
            if entry["status"]["state"] == "paused":
                self.act("POST", f"/training/{entry['session_id']}/resume")


class Campaign:
    """One server, and series of kills of one kind of process after another."""

    def __init__(self, server: Server, seed: int) -> None:
        self.server = server
        self.random = random.Random(seed)
        self.history = History(server, MOST_AT_ONCE)
        self.client = RestlessClient(self.history, seed)

    def __enter__(self) -> Self:
        self.server.start_web(*WEB_OPTIONS)
        self.server.start_worker()
        self.server.start_sampler()
        self.server.upload_digits()
        undisturbed = self.server.submit(**CONFIG)
        self.history.note_start(undisturbed)
        assert self.server.wait_for_end(undisturbed)["state"] == "completed"
        self.history.take_as_undisturbed(undisturbed)
        self.history.__enter__()
        self.client.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.__exit__(kind, error, trace)
        self.history.__exit__(kind, error, trace)

    def finish(self) -> None:
        """Let everything come to its end, and check it."""
        self.client.is_over.set()
        self.client.thread.join()
        self.client.resume_all()
        self.history.wait_for_silence(seconds=120)
        self.history.check_everything()

    # --- Victims ---

    def find(self, target: str) -> psutil.Process | None:
        """One living process of this kind, if there is one."""
        try:
            process = self.victims()[target]()
            return process if process and process.status() != psutil.STATUS_ZOMBIE else None
        except (psutil.NoSuchProcess, IndexError):
            return None

    def victims(self) -> dict[str, Callable[[], psutil.Process | None]]:
        choose = self.random.choice
        processes = self.server.processes
        return {
            "trainer": lambda: choose(choose(list(self.server.trainers_by_session().values()))),
            "console of a trainer": lambda: choose(self.server.processes_of_module("training.console")),
            "watch": lambda: psutil.Process(processes["worker"].pid),
            "main of a cluster": self.main_of_a_cluster,
            "guard of a cluster": lambda: (main := self.main_of_a_cluster()) and main.children()[0],
            "busy worker": lambda: choose([one for key in self.running() if (one := self.server.supervisor_of(key))]),
            "web master": lambda: psutil.Process(processes["web"].pid),
            "web worker": lambda: choose(psutil.Process(processes["web"].pid).children()),
            "sampler": lambda: psutil.Process(processes["sampler"].pid),
        }

    def main_of_a_cluster(self) -> psutil.Process | None:
        return self.server.cluster(self.random.choice(("default", "training")))

    def running(self) -> list[str]:
        return [key for (key,) in self.read("SELECT session_id FROM sessions WHERE state = 'running'")]

    def read(self, statement: str) -> list[Any]:
        database = self.history.open_database()
        try:
            return database.execute(statement).fetchall()
        finally:
            database.close()

    # --- Kills ---

    def run_series(self, target: str, kills: int) -> list[float]:
        """Kill processes of one kind; the seconds that each recovery took that was waited for."""
        recoveries: list[float] = []
        for number in range(1, kills + 1):
            time.sleep(self.random.uniform(0, 2))
            killed_at, sessions = self.kill(target)
            if number == kills or self.random.random() >= KILLED_AGAIN_AT_ONCE:
                recoveries += self.see_recovery(target, killed_at, sessions)
        return recoveries

    def kill(self, target: str) -> tuple[float, list[str]]:
        """SIGKILL to a process of this kind; the moment, and the sessions whose trainers died of it."""
        if target == "everything":
            sessions = list(self.server.trainers_by_session())
            self.server.kill_family()
            return time.time(), sessions

        def find() -> psutil.Process | None:
            self.server.revive()
            return self.find(target)

        while True:
            victim = wait_for(find, RECOVERY_SECONDS, f"the wait for a {target}")
            trainers = self.server.trainers_by_session()
            with suppress(psutil.NoSuchProcess):  # it ended in this moment
                victim.kill()
                return time.time(), [session_id for session_id, found in trainers.items() if victim in found]

    def see_recovery(self, target: str, killed_at: float, sessions: list[str]) -> list[float]:
        """Wait until all that must run does, and sessions get on; the seconds since the kill.

        Where trainers died, those that each of them took to be ready to train again.
        """
        before = self.deeds()

        def is_well() -> bool:
            self.server.revive()
            return self.server.is_healthy() and self.deeds() > before

        wait_for(is_well, RECOVERY_SECONDS, f"the recovery from the death of {target}")
        if not sessions:
            return [time.time() - killed_at]
        return [seconds for session_id in sessions for seconds in self.see_trainer(session_id, killed_at)]

    def see_trainer(self, session_id: str, killed_at: float) -> list[float]:
        """Wait for the session's next trainer; the seconds from the kill until it was ready, if one had to come."""
        ready_at: list[float] = []

        def is_settled() -> bool:
            ready_at[:] = [at for at in self.moments(session_id, "record") if at > killed_at]
            return bool(ready_at) or session_id not in self.running()

        wait_for(is_settled, RECOVERY_SECONDS, f"the next trainer of {session_id}")
        return [ready_at[0] - killed_at] if ready_at else []

    def moments(self, session_id: str, event: str) -> list[float]:
        """When the trainers of a session wrote such an event."""
        return [moment(one) for one in self.journal(session_id) if one["event"] == event]

    def journal(self, session_id: str) -> list[dict[str, Any]]:
        return read_events(self.server.data_dir / "sessions" / session_id / "events.jsonl", 0, limit=1 << 30).events

    def redone_seconds(self) -> list[float]:
        """For each attempt that went on from a checkpoint, how much older that was than the last deed before it."""
        redone = []
        for session_id in self.history.started:
            saved_at: dict[str, float] = {}
            last_at = 0.0
            for event in self.journal(session_id):
                if event["event"] == "start" and event["resumed_from"] in saved_at:
                    redone.append(last_at - saved_at[event["resumed_from"]])
                elif event["event"] == "checkpoint":
                    saved_at[event["name"]] = moment(event)
                if event["event"] in ("epoch", "points", "checkpoint"):
                    last_at = moment(event)
        return redone

    def deeds(self) -> int:
        """Grows with each epoch and each change of a session."""
        return int(self.read("SELECT (SELECT count(*) FROM metrics) + (SELECT count(*) FROM transitions)")[0][0])


def moment(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["at"]).timestamp()


def describe(name: str, kills: int, violations: int, recoveries: list[float]) -> str:
    median, longest = statistics.median(recoveries or [0]), max(recoveries, default=0)
    recovered = f"well again after {median:.1f} s, at most {longest:.1f} s"
    return f"{name:20} {kills:5} kills  {violations:3} violations  {recovered}"


def seconds_to_import_torch() -> float:
    began_at = time.monotonic()
    subprocess.run([sys.executable, "-c", "import torch"], check=True)
    return time.monotonic() - began_at


def run(campaign: Campaign, kills: int) -> list[str]:
    """All series, a line for each; what was seen that must not be."""
    history = campaign.history
    with campaign:
        for target in TARGETS:
            before = len(history.violations)
            try:
                recoveries = campaign.run_series(target, kills)
            except AssertionError as error:
                history.violate(f"{target}: {error}")
                break
            print(describe(target, kills, len(history.violations) - before, recoveries), flush=True)
        campaign.finish()
    return history.violations


def main() -> int:
    kills = int(os.environ.get("KILLS") or 30)
    seed = int(os.environ.get("SEED") or secrets.randbelow(2**32))
    print(f"SEED={seed}; import torch takes {seconds_to_import_torch():.1f} s here", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    server = Server(folder, **ENVIRONMENT)
    try:
        campaign = Campaign(server, seed)
        violations = run(campaign, kills)
    finally:
        server.kill_everything()
    print(f"{len(campaign.history.started)} sessions, {len(campaign.history.answered)} requests answered")
    redone = max(campaign.redone_seconds(), default=0)
    print(
        f"an attempt did at most {redone:.2f} s again; a checkpoint comes every {CONFIG['checkpoint_every_seconds']} s"
    )
    if violations:
        print(*violations, f"{len(violations)} violations; everything is kept in {folder}", sep="\n")
        return 1
    shutil.rmtree(folder)
    print("No violation.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
