"""Processes that are stopped for longer than anybody waits for them, and then go on as if nothing had been."""

import time

import psutil
import pytest

from tests.processes.campaign import CONFIG
from tests.processes.history import History
from tests.processes.server import Server, wait_for
from training.recovery import FROZEN_AFTER_SECONDS

pytestmark = pytest.mark.slow

# Long enough that every test finds its session at work.
LONG = CONFIG | {"epochs": 1000}


@pytest.fixture
def running_server(server: Server) -> Server:
    server.start_web("--timeout", "3")
    server.upload_digits()
    server.start_worker()
    return server


def goes_on(server: Server, session_id: str) -> None:
    """Whether it gets on, and in its first attempt still."""
    server.wait_for_epoch(session_id, len(server.epochs(session_id)) + 2)
    assert server.status(session_id)["attempt"] == 1


def the_trainer(server: Server, session_id: str) -> psutil.Process:
    (trainer,) = server.trainers_by_session()[session_id]
    return trainer


def test_a_frozen_supervisor_is_replaced_and_its_trainer_never_notices(running_server: Server) -> None:
    server = running_server
    with History(server, most_at_once=1) as history:
        session_id = server.submit(**LONG)
        history.note_start(session_id)
        server.wait_for_epoch(session_id, 1)
        trainer, main = the_trainer(server, session_id), server.cluster("training")
        frozen = wait_for(lambda: server.supervisor_of(session_id), what="a supervisor")
        frozen.suspend()

        def is_replaced() -> bool:
            supervisor = server.supervisor_of(session_id)
            return supervisor is not None and supervisor != frozen

        wait_for(is_replaced, FROZEN_AFTER_SECONDS + 40, "the replacement of the supervisor")
        assert frozen not in server.family()
        assert server.cluster("training") == main  # other sessions' supervisors were left alone
        goes_on(server, session_id)
        assert the_trainer(server, session_id) == trainer

        # All at once, as if the machine had slept.
        family = server.family()
        for process in family:
            process.suspend()
        time.sleep(FROZEN_AFTER_SECONDS + 1)
        for process in family:
            process.resume()
        goes_on(server, session_id)
        assert the_trainer(server, session_id) == trainer
        server.post(f"/training/{session_id}/stop")
        assert server.wait_for_end(session_id)["state"] == "stopped"
        history.check_everything()
    assert not history.violations


@pytest.mark.parametrize("server", [{"STOP_GRACE_SECONDS": "2", "STALE_AFTER_SECONDS": "1"}], indirect=True)
def test_who_is_frozen_for_a_while_goes_on_where_it_was(running_server: Server) -> None:
    server = running_server
    with History(server, most_at_once=1) as history:
        session_id = server.submit(**LONG)
        history.note_start(session_id)
        server.wait_for_epoch(session_id, 1)
        trainer = the_trainer(server, session_id)

        # A trainer: nobody gives it up, but whoever asks is told that it says nothing.
        trainer.suspend()
        wait_for(lambda: server.status(session_id)["health"] == "stale", 20, "the session to be stale")
        assert server.status(session_id)["state"] == "running"
        trainer.resume()
        goes_on(server, session_id)
        wait_for(lambda: server.status(session_id)["health"] == "ok", 20, "the session to be well")

        # The watch and the training cluster's own processes: supervision does not depend on them.
        main = server.cluster("training")
        assert main is not None
        for process in (psutil.Process(server.processes["worker"].pid), main, main.children()[0]):
            process.suspend()
            goes_on(server, session_id)
            process.resume()

        # A web process: its master replaces it, and nobody in training takes notice.
        (web,) = psutil.Process(server.processes["web"].pid).children()
        web.suspend()
        wait_for(lambda: web not in server.family(), 20, "the end of the web process")
        wait_for(server.is_healthy, what="the next web process")
        goes_on(server, session_id)
        # So it is when the web process is restarted alone.
        server.stop("web")
        server.start_web()
        goes_on(server, session_id)
        assert the_trainer(server, session_id) == trainer

        # A trainer that is to stop and cannot hear it.
        trainer.suspend()
        server.post(f"/training/{session_id}/stop")
        assert server.wait_for_end(session_id, 30)["state"] == "stopped"
        assert not server.trainers()
        history.check_everything()
    assert not history.violations


def test_a_service_that_is_told_to_end_goes_on_where_it_was_when_it_is_started_again(server: Server) -> None:
    server.environment |= {"API_HOST": "127.0.0.1", "API_PORT": str(server.port)}
    server.start("service", "-m", "servermgmt.procfile")
    wait_for(server.is_healthy, what="the start of the service")
    server.upload_digits()
    history = History(server, most_at_once=1)
    config = CONFIG | {"epochs": 40}
    undisturbed = server.submit(**config)
    history.note_start(undisturbed)
    assert server.wait_for_end(undisturbed)["state"] == "completed"
    history.take_as_undisturbed(undisturbed)
    session_id, waiting = server.submit(**config), server.submit(**config)
    history.note_start(session_id)
    history.note_start(waiting)
    server.wait_for_epoch(session_id, 5)
    server.stop("service")
    assert not server.family()

    server.start("service", "-m", "servermgmt.procfile")
    wait_for(server.is_healthy, what="the start of the service")
    for one in (session_id, waiting):
        assert server.wait_for_end(one)["state"] == "completed"
    assert server.status(session_id)["attempt"] == 2
    assert server.status(session_id)["start_time"] < server.status(waiting)["start_time"]
    history.check_everything()
    history.client.close()
    assert not history.violations
