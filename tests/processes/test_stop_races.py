"""Stops and cancels that come at the worst moments, and two who claim the same session, with real processes."""

import random
import subprocess
import sys
import time
from typing import Any

import httpx
import numpy as np
import pytest

from tests.processes.campaign import CONFIG
from tests.processes.history import History
from tests.processes.server import ROOT, Server, wait_for
from training.engine.checkpoint import find_newest

pytestmark = pytest.mark.slow

QUICK = {"epochs": 3, "compile": "off", "num_threads": 1}

CLAIM_ALL = """
import sys, time
from training.models import TrainingSession
print("ready", flush=True)
sys.stdin.readline()
while session := TrainingSession.objects.claim_next(by="test"):
    print(session.session_id, flush=True)
"""


def ask(server: Server, method: str, path: str) -> httpx.Response:
    """What may come too late, and is then refused."""
    answer = server.client.request(method, path)
    assert answer.status_code in (200, 409), answer.text
    return answer


@pytest.mark.parametrize("server", [{"MAX_CONCURRENT_SESSIONS": "2"}], indirect=True)
def test_a_stop_or_a_cancel_in_the_wrong_moment_ends_a_session_once(server: Server) -> None:
    server.start_web()
    server.upload_digits()
    server.start_worker()
    chance = random.Random(1)
    with History(server, most_at_once=2) as history:

        def start(**config: Any) -> str:
            session_id = server.submit(**config)
            history.note_start(session_id)
            return session_id

        # Stopped within 50 ms of the start: while it is queued, claimed, or its trainer comes to be.
        stopped = []
        for _ in range(6):
            stopped.append(start(**QUICK | {"epochs": 1000}))
            time.sleep(chance.uniform(0, 0.05))
            ask(server, "POST", f"/training/{stopped[-1]}/stop")
        for session_id in stopped:
            assert server.wait_for_end(session_id)["state"] == "stopped"

        # Cancelled while it is claimed: it never runs, or the client is told that it does.
        answers = {}
        for _ in range(10):
            session_id = start(**QUICK)
            time.sleep(chance.uniform(0, 0.15))
            answers[session_id] = ask(server, "DELETE", f"/training/queue/{session_id}")
        for session_id, answer in answers.items():
            status = server.wait_for_end(session_id)
            if answer.status_code == 200:
                assert (status["state"], status["start_time"], status["attempt"]) == ("stopped", None, 0)
            else:
                assert status["state"] == "completed"
                assert answer.json()["error"]["details"]["state"] in ("running", "completed")

        # Stopped in the last epochs: it has completed or it is stopped, with all that belongs to it.
        for _ in range(3):
            session_id = start(**CONFIG | {"epochs": 12})
            server.wait_for_epoch(session_id, 9)
            time.sleep(chance.uniform(0, 0.12))
            answer = ask(server, "POST", f"/training/{session_id}/stop")
            status = server.wait_for_end(session_id)
            assert (server.data_dir / "sessions" / session_id / "weights" / "model.pt").stat().st_size > 0
            if status["state"] == "completed":
                assert status["current_epoch"] == 12
            else:
                assert (answer.status_code, status["state"]) == (200, "stopped")
        history.wait_for_silence(60)
        history.check_everything()
    assert not history.violations


@pytest.mark.parametrize("server", [{"MAX_CONCURRENT_SESSIONS": "1000"}], indirect=True)
def test_of_two_processes_that_claim_each_session_goes_to_one(server: Server) -> None:
    server.start_web()
    server.upload_digits()
    submitted = [server.submit(**QUICK) for _ in range(40)]
    claimers = [
        subprocess.Popen(
            [sys.executable, "manage.py", "shell", "--no-imports", "-c", CLAIM_ALL],
            cwd=ROOT,
            env=server.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for claimer in claimers:
        assert claimer.stdout
        assert claimer.stdout.readline() == "ready\n"
    for claimer in claimers:
        assert claimer.stdin
        claimer.stdin.write("\n")
        claimer.stdin.flush()
    claimed = [claimer.communicate(timeout=60)[0].split() for claimer in claimers]
    assert sorted(claimed[0] + claimed[1]) == sorted(submitted)
    for mine in claimed:
        assert mine == [session_id for session_id in submitted if session_id in mine], "not in the queue's order"


def test_a_loss_that_is_not_finite_ends_the_session_and_keeps_its_newest_checkpoint(server: Server) -> None:
    server.start_web()
    rows = np.random.default_rng(0).normal(size=(200, 3))
    csv = "\n".join(["a,b,target", *(f"{a:.4f},{b:.4f},{a - b + c:.4f}" for a, b, c in rows)]).encode()
    server.post("/datasets", params={"dataset_name": "plane"}, files={"file": csv})
    server.start_worker()
    session_id = server.submit(
        dataset_name="plane",
        loss_function="mse",
        optimizer="sgd",
        momentum=0.99,
        learning_rate=0.9,
        epochs=1000,
        batch_size=40,
        checkpoint_every_seconds=0,
        compile="off",
    )
    status = server.wait_for_end(session_id)
    assert (status["state"], status["failure_code"]) == ("failed", "non_finite_loss")
    assert server.epochs(session_id) == list(range(1, (status["current_epoch"] or 0) + 1))
    newest, damaged = find_newest(server.data_dir / "sessions" / session_id / "checkpoints")
    assert newest is not None
    assert not damaged
    assert all(bool(value.isfinite().all()) for value in newest.load()["model"].values())
    wait_for(lambda: not server.trainers(), 10, "the end of the trainer")
