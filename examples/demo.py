"""From nothing to a trained network, over HTTP: what `make demo` runs.

It starts the server and then knows only its API, like any other client. Whatever happens, it stops what it started.
"""

import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import httpx
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

REPOSITORY = Path(__file__).resolve().parents[1]
DIGITS = REPOSITORY / "examples" / "digits.npz"
PORT = os.environ.get("API_PORT", "8000")
SERVER = f"http://127.0.0.1:{PORT}"
START_SECONDS = 60
STOP_SECONDS = 15
POLL_SECONDS = 0.2
LOG_LINES = 30
ENDING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}

CONFIG: dict[str, Any] = {
    "model_architecture": "mlp",
    "dataset_name": "digits",
    "optimizer": "adam",
    "learning_rate": 0.001,
    "batch_size": 64,
    "epochs": 100,
}

console = Console(highlight=False)


class DemoFailed(Exception):
    """Why the demo cannot go on, in a sentence for the person who started it."""


@contextmanager
def running_server(key: str) -> Iterator[httpx.Client]:
    """Start web, worker and sampler, yield a client that holds the key, and stop them all."""
    environment = os.environ | {
        "API_HOST": "127.0.0.1",
        "API_KEYS": ",".join(filter(None, [os.environ.get("API_KEYS"), key])),
    }
    prepare(environment)
    console.print("Starting web, worker and sampler …")
    with tempfile.TemporaryFile() as log:
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)  # a Ctrl-C before the `try` would leave a server behind
        server = subprocess.Popen(
            [sys.executable, "-m", "servermgmt.procfile"],
            cwd=REPOSITORY,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that Ctrl-C comes here alone, and the server is stopped in order
            preexec_fn=let_endings_through,
        )
        try:
            let_endings_through()
            with httpx.Client(base_url=SERVER, headers={"Authorization": f"Bearer {key}"}, trust_env=False) as client:
                wait_until_healthy(client, server, log)
                yield client
        except httpx.HTTPError as error:
            raise DemoFailed(f"The server does not answer any more ({error}). Its log ends:\n{end_of(log)}") from error
        finally:
            stop(server)


def prepare(environment: dict[str, str]) -> None:
    """Make the database ready, and whatever else a server needs before its start."""
    command = [sys.executable, "manage.py", "prepare", "--without-credentials"]
    with subprocess.Popen(command, cwd=REPOSITORY, env=environment, start_new_session=True) as process:
        try:
            failed = process.wait()
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)  # with what it has started itself
            raise
    if failed:
        raise DemoFailed("The server could not be prepared; the reason stands above.")


def let_endings_through() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)


def wait_until_healthy(client: httpx.Client, server: subprocess.Popen[bytes], log: IO[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            if client.get("/health").is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(POLL_SECONDS)
    raise DemoFailed(f"The server did not start. Its log ends:\n{end_of(log)}")


def end_of(log: IO[bytes]) -> str:
    log.seek(0)
    return "\n".join(log.read().decode(errors="replace").splitlines()[-LOG_LINES:])


def stop(server: subprocess.Popen[bytes]) -> None:
    """Stop the server, and do not let an impatient second Ctrl-C leave half of it behind."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    server.terminate()
    try:
        server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()


def call(client: httpx.Client, method: str, path: str, **options: Any) -> Any:
    """Call the API; what it refuses is told in its own words."""
    response = client.request(method, f"/api/v1{path}", timeout=30, **options)
    if response.is_error:
        raise DemoFailed(f"{method} {path} was answered {response.status_code}: {response.json()['detail']}")
    return response.json()


def register_digits(client: httpx.Client) -> None:
    if any(dataset["name"] == "digits" for dataset in call(client, "GET", "/datasets")):
        return
    with DIGITS.open("rb") as file:
        call(client, "POST", "/datasets", params={"dataset_name": "digits"}, files={"file": file})


def watch(client: httpx.Client, session_id: str) -> dict[str, Any]:
    """Show the session's progress until it ends; returns its last metrics."""
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("epoch {task.completed}/{task.total}  {task.fields[figures]}"),
        TimeElapsedColumn(),
        console=console,
    )
    with progress:
        bar = progress.add_task("queued", total=CONFIG["epochs"], figures="")
        while True:
            status = call(client, "GET", f"/training/{session_id}/status")
            metrics = call(client, "GET", f"/training/{session_id}/metrics")
            progress.update(bar, description=status["state"], completed=status["current_epoch"] or 0)
            if metrics:
                figures = f"loss {metrics['loss']:.3f}  validation accuracy {metrics['val_accuracy']:.1%}"
                progress.update(bar, figures=figures)
            if status["state"] == "completed":
                return dict(metrics)
            if status["state"] in ("failed", "stopped"):
                raise DemoFailed(f"The session {status['state']}: {status['error_message']}")
            time.sleep(POLL_SECONDS)


def train(client: httpx.Client) -> None:
    """Train on the digits and tell what came of it."""
    register_digits(client)
    models_before = {model["name"] for model in call(client, "GET", "/models")}
    session_id = call(client, "POST", "/training/start", json=CONFIG)["session_id"]
    console.print(f"Training on 1,797 handwritten digits, as session {session_id}:")
    try:
        metrics = watch(client, session_id)
    except (KeyboardInterrupt, SystemExit):
        with suppress(DemoFailed, httpx.HTTPError):
            call(client, "POST", f"/training/{session_id}/stop")
        raise
    console.print(f"\nOf the digits it had never seen, it reads [bold]{metrics['val_accuracy']:.1%}[/bold] right.")
    for model in call(client, "GET", "/models"):
        if model["name"] not in models_before:
            console.print(f"The model lies in {model['file_path']}", soft_wrap=True)


def main() -> int:
    for number in ENDING - {signal.SIGINT}:
        signal.signal(number, lambda received, _frame: sys.exit(128 + received))
    try:
        with running_server(secrets.token_urlsafe(32)) as client:
            train(client)
            console.print("Stopping the server …")
    except DemoFailed as failure:
        print(failure, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        console.print("Stopped.")
        return 130
    console.print(
        "\nTo look further: [bold]make run[/bold]. It shows you a key and a password, and then there are\n"
        f"  {SERVER}/admin/    sessions, metrics, logs, models\n"
        f"  {SERVER}/docs      the API, to try in the browser\n"
        f"  {SERVER}/api/v1/training/sessions    the session you have just watched",
        soft_wrap=True,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
