"""Whatever is killed, a session completes with each epoch recorded once, and ends with the same weights."""

import hashlib

import psutil
import pytest

from tests.processes.server import Server, wait_for

pytestmark = pytest.mark.slow

EPOCHS = 150  # some seconds on the digits: long enough to be killed in


def weights_of(server: Server, session_id: str) -> str:
    """The hash of what the registry hands out for a completed session."""
    name = server.status(session_id)["model_name"]
    return hashlib.sha256(server.client.get(f"/models/{name}").content).hexdigest()


def assert_completed(server: Server, session_id: str) -> None:
    status = server.wait_for_end(session_id)
    assert status["state"] == "completed", status
    assert server.epochs(session_id) == list(range(1, EPOCHS + 1))


def test_kill_of_the_trainer(server: Server) -> None:
    server.start_web()
    server.upload_digits()
    server.start_worker()
    undisturbed = server.submit(epochs=EPOCHS)
    assert_completed(server, undisturbed)

    session_id = server.submit(epochs=EPOCHS)
    server.wait_for_epoch(session_id, 3)
    server.kill_trainer()
    assert_completed(server, session_id)
    assert server.status(session_id)["attempt"] == 2
    assert weights_of(server, session_id) == weights_of(server, undisturbed)
    assert (
        server.get(f"/training/{session_id}/history")[-1]["loss"]
        == (server.get(f"/training/{undisturbed}/history")[-1]["loss"])
    )


def test_kill_of_the_worker(server: Server) -> None:
    """The trainer never notices; the next worker adopts it."""
    server.start_web()
    server.upload_digits()
    server.start_worker()
    session_id = server.submit(epochs=EPOCHS * 4)
    server.wait_for_epoch(session_id, 2)
    (trainer,) = server.trainers()
    server.kill("worker")
    server.start_worker()
    assert server.status(session_id)["state"] == "running"
    assert [process.pid for process in server.trainers()] == [trainer.pid]
    reached = server.status(session_id)["current_epoch"]
    server.wait_for_epoch(session_id, reached + 1)
    assert server.wait_for_end(session_id)["state"] == "completed"
    assert server.epochs(session_id) == list(range(1, EPOCHS * 4 + 1))
    assert server.status(session_id)["attempt"] == 1


def process_of_the_cluster(server: Server, role: str) -> psutil.Process:
    """One process of django-q2's training cluster: `main`, its child `guard`, or the guard's first child, `worker`."""
    watch = server.processes["worker"].pid
    main = next(
        process
        for process in server.family()
        if process.environ().get("Q_CLUSTER_NAME") == "training" and process.ppid() == watch
    )
    guard = main.children()[0]
    return {"main": main, "guard": guard, "worker": guard.children()[0]}[role]


@pytest.mark.parametrize("role", ["main", "guard", "worker"])
def test_kill_of_a_process_of_the_cluster(server: Server, role: str) -> None:
    """Whichever process of django-q2's cluster dies, the watch brings it back and the session goes on."""
    server.start_web()
    server.upload_digits()
    server.start_worker()
    session_id = server.submit(epochs=EPOCHS)
    server.wait_for_epoch(session_id, 1)
    process_of_the_cluster(server, role).kill()
    assert_completed(server, session_id)


def test_kill_of_an_idle_worker(server: Server) -> None:
    """It can hang the cluster for good: the watch sees that work is left undone, and starts the cluster again."""
    server.start_web()
    server.upload_digits()
    server.start_worker()
    server.wait_for_end(server.submit(epochs=1))
    process_of_the_cluster(server, "worker").kill()
    session_id = server.submit(epochs=2)
    assert server.wait_for_end(session_id)["state"] == "completed"


def test_kill_of_everything(server: Server) -> None:
    server.start_web()
    server.upload_digits()
    server.start_worker()
    session_id = server.submit(epochs=EPOCHS)
    waiting = server.submit(epochs=2)
    server.wait_for_epoch(session_id, 2)
    server.kill_everything()
    server.start_web()
    assert server.status(session_id)["state"] == "running"
    assert [session["session_id"] for session in server.get("/training/queue")] == [waiting]
    server.start_worker()
    assert_completed(server, session_id)
    assert server.wait_for_end(waiting)["state"] == "completed"


def test_a_worker_that_is_stopped_lets_its_trainers_live(server: Server) -> None:
    server.start_web()
    server.upload_digits()
    server.start_worker()
    session_id = server.submit(epochs=1000)
    server.wait_for_epoch(session_id, 1)
    assert server.stop("worker", seconds=5) == 0
    (trainer,) = server.trainers()
    (console,) = [process for process in server.family() if "training.console" in process.cmdline()]
    assert {process.pid for process in server.family()} - {trainer.pid, console.pid} == {
        process.pid for process in server.family() if "gunicorn" in " ".join(process.cmdline())
    }


def test_a_worker_that_stops_its_trainers_leaves_nothing_behind(server: Server) -> None:
    server.start_web()
    server.upload_digits()
    server.start_worker("--stop-trainers")
    session_id = server.submit(epochs=1000)
    server.wait_for_epoch(session_id, 1)
    assert server.stop("worker", seconds=5) == 0
    wait_for(lambda: not server.trainers(), 2, "the end of the trainer")
    assert server.status(session_id)["state"] == "running"
    server.start_worker()
    reached = server.status(session_id)["current_epoch"]
    server.wait_for_epoch(session_id, reached + 1)
    server.post(f"/training/{session_id}/stop")
    assert server.wait_for_end(session_id)["state"] == "stopped"


def test_a_trainer_that_does_not_end_in_time_is_ended_and_its_session_goes_on(server: Server) -> None:
    server.start_web()
    server.upload_digits()
    server.start_worker("--stop-trainers")
    session_id = server.submit(epochs=EPOCHS)
    server.wait_for_epoch(session_id, 1)
    (trainer,) = server.trainers()
    trainer.suspend()  # it hears nothing
    assert server.stop("worker", seconds=8) == 0
    assert not server.trainers()
    server.start_worker()
    assert_completed(server, session_id)
    assert server.status(session_id)["attempt"] == 2
    # Nobody calls that a crash: three in a row would end the session as failed.
    assert not [entry for entry in server.get(f"/training/{session_id}/logs?limit=1000") if "died" in entry["message"]]


def test_a_second_worker_on_the_same_data_is_refused(server: Server) -> None:
    server.start_web()
    server.start_worker()
    wait_for(lambda: (server.data_dir / "worker.lock").exists(), 20, "the worker's lock")
    first = server.processes.pop("worker")
    server.start_worker()
    assert server.processes["worker"].wait(30) == 1
    assert b"stop it first" in (server.data_dir / "worker.log").read_bytes()
    assert first.poll() is None
    first.terminate()
    first.wait(10)
