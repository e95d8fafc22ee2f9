"""The real server in real processes, on a data directory and a port of its own."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil

ROOT = Path(__file__).resolve().parent.parent.parent
KEY = "key-of-the-tests"
# What tests send comes from one key at one address.
UNLIMITED = {"KEY_RATE": "none", "ADDRESS_RATE": "none", "FAILED_ATTEMPTS_RATE": "none"}
GUNICORN = ("-m", "gunicorn", "--config", "python:servermgmt.webserver_settings")  # as in the Procfile


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(condition: Callable[[], Any], seconds: float = 60, what: str = "this") -> Any:
    """The first true value of the condition; fails the test when none comes in time."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} took more than {seconds} s"
        time.sleep(0.05)
    return value


class Server:
    """Web and worker, started and killed one by one; the client speaks HTTP alone."""

    def __init__(self, data_dir: Path, **environment: str) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        self.environment = (
            os.environ | UNLIMITED | {"DATA_DIR": str(data_dir), "API_KEYS": KEY, "LOG_LEVEL": "WARNING"} | environment
        )
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.commands: dict[str, tuple[str, ...]] = {}  # as they were started last
        self.client = httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}/api/v1", headers={"X-API-Key": KEY}, timeout=30
        )
        self.manage("migrate", "--verbosity", "0")

    def manage(self, *arguments: str) -> str:
        command = [sys.executable, "manage.py", *arguments]
        return subprocess.run(
            command, cwd=ROOT, env=self.environment, check=True, capture_output=True, text=True
        ).stdout

    def start(self, name: str, *command: str) -> None:
        self.commands[name] = command
        log = (self.data_dir / f"{name}.log").open("ab")
        with log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, *command],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def start_web(self, *options: str) -> None:
        bind = f"127.0.0.1:{self.port}"
        self.start("web", *GUNICORN, "--bind", bind, "--workers", "1", "--threads", "8", *options)
        wait_for(self.is_healthy, what="the start of the web process")

    def is_healthy(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/health").status_code == 200
        except httpx.TransportError:
            return False

    def start_worker(self, *options: str) -> None:
        self.start("worker", "manage.py", "runworker", *options)

    def start_sampler(self) -> None:
        self.start("sampler", "manage.py", "runsampler")

    def revive(self) -> None:
        """Start again what has ended, as a service manager does."""
        for name, process in list(self.processes.items()):
            if process.poll() is not None:
                self.start(name, *self.commands[name])

    def stop(self, name: str, seconds: float = 20) -> int:
        """Ask a process to end as a service manager does; its exit status."""
        self.processes[name].terminate()
        return self.processes.pop(name).wait(seconds)

    def kill(self, name: str) -> None:
        """SIGKILL to one process; its children live on."""
        self.processes[name].kill()
        self.processes.pop(name).wait()

    def family(self) -> list[psutil.Process]:
        """Every living process that works on our data directory, whoever started it."""
        mark = str(self.data_dir)
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("DATA_DIR") == mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def kill_everything(self) -> None:
        """As if the power went: every process at once, the trainers too."""
        self.kill_family()
        self.processes.clear()

    def kill_family(self) -> None:
        """SIGKILL to every process, and to those that came to be meanwhile; revive() can start them again."""

        def is_gone() -> bool:
            for process in (family := self.family()):
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            return not family

        wait_for(is_gone, 10, "the death of all processes")
        for child in self.processes.values():
            child.wait()

    def trainers(self) -> list[psutil.Process]:
        return self.processes_of_module("training.engine")

    def processes_of_module(self, name: str) -> list[psutil.Process]:
        """The living processes that were started with `python -m NAME`."""
        return [process for process in self.family() if name in process.cmdline()]

    def trainers_by_session(self) -> dict[str, list[psutil.Process]]:
        """The living trainers of each session, by their command lines; a child of a trainer is none itself."""
        mark = f"\0{self.data_dir}/sessions/".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                command = path.read_bytes()
            except OSError:
                continue
            if b"training.engine\0" in command and mark in command:
                session_id = command.partition(mark)[2].partition(b"\0")[0].decode()
                found.append((session_id, int(path.parent.name)))
        trainers: dict[str, list[psutil.Process]] = {}
        for session_id, pid in found:
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                if (session_id, process.ppid()) not in found:
                    trainers.setdefault(session_id, []).append(process)
        return trainers

    def cluster(self, name: str) -> psutil.Process | None:
        """The main process of one of django-q2's clusters, if it lives."""
        for process in self.family():
            with suppress(psutil.NoSuchProcess):
                if process.environ().get("Q_CLUSTER_NAME") == name and process.ppid() == self.processes["worker"].pid:
                    return process
        return None

    def supervisor_of(self, session_id: str) -> psutil.Process | None:
        """The worker of django-q2 that supervises a session, if one does: it holds the lock."""
        with suppress(FileNotFoundError):
            inode = (self.data_dir / "sessions" / session_id / "supervisor.lock").stat().st_ino
            for line in Path("/proc/locks").read_text().splitlines():
                if match := re.search(rf"FLOCK +\w+ +WRITE +(\d+) \w+:\w+:{inode} ", line):
                    with suppress(psutil.NoSuchProcess):
                        return psutil.Process(int(match[1]))
        return None

    def kill_trainer(self) -> None:
        (trainer,) = self.trainers()
        os.kill(trainer.pid, signal.SIGKILL)

    # --- What a client does ---

    def get(self, path: str) -> Any:
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, **options: Any) -> Any:
        answer = self.client.post(path, **options)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def upload_digits(self) -> None:
        with (ROOT / "examples" / "digits.npz").open("rb") as file:
            self.post("/datasets", params={"dataset_name": "digits"}, files={"file": file})

    def submit(self, **config: Any) -> str:
        defaults = {
            "model_architecture": "mlp",
            "dataset_name": "digits",
            "learning_rate": 0.001,
            "batch_size": 32,
            "epochs": 5,
        }
        session_id: str = self.post("/training/start", json=defaults | config)["session_id"]
        return session_id

    def status(self, session_id: str) -> Any:
        return self.get(f"/training/{session_id}/status")

    def wait_for_epoch(self, session_id: str, epoch: int, seconds: float = 60) -> None:
        wait_for(lambda: (self.status(session_id)["current_epoch"] or 0) >= epoch, seconds, f"epoch {epoch}")

    def wait_for_end(self, session_id: str, seconds: float = 120) -> Any:
        """The status of the session once it has ended."""

        def ended() -> Any:
            status = self.status(session_id)
            return status if status["state"] in ("completed", "failed", "stopped") else None

        return wait_for(ended, seconds, f"the end of {session_id}")

    def epochs(self, session_id: str) -> list[int]:
        return [metric["epoch"] for metric in self.get(f"/training/{session_id}/history")]
