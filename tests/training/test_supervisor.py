"""The supervisor, with a scripted trainer in a real process: every way in which an attempt can end."""

import errno
import hashlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_django import Settings

from registry.models import Model
from tests.conftest import Script
from tests.training.conftest import MakeSession
from training.engine.checkpoint import CheckpointStore
from training.initial_weights import keep_initial_weights
from training.journal import AlreadyLocked, Lock
from training.models import TrainingSession
from training.recovery import unsupervised_sessions, work_waits
from training.spec import SessionSpec
from training.state import State
from training.supervisor import Supervisor
from training.tasks import answer_bell

pytestmark = pytest.mark.django_db


def poll_until(supervisor: Supervisor, condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "this took too long"
        supervisor.poll()
        time.sleep(0.01)


@pytest.fixture
def supervisor(make_session: MakeSession) -> Supervisor:
    return Supervisor.take_up(make_session(state=State.RUNNING))


def test_a_session_completes_and_its_model_is_registered(make_session: MakeSession, script: Script) -> None:
    script("complete")
    session = make_session()
    answer_bell()
    session.refresh_from_db()
    assert (session.state, session.current_epoch, session.attempt) == (State.COMPLETED, 3, 1)
    assert [metric.epoch for metric in session.metrics.all()] == [1, 2, 3]
    assert session.log_entries.count() == 3
    model = Model.objects.get(session_id=session.session_id)
    assert model.name.startswith("mlp_tiny")
    assert model.path.read_bytes() == (session.directory.weights / "model.pt").read_bytes()
    assert [transition.to_state for transition in session.transitions.all()] == [State.RUNNING, State.COMPLETED]
    assert not Lock.is_held(session.directory.lock)


def test_a_stop_ends_a_running_session_and_keeps_its_weights(supervisor: Supervisor, script: Script) -> None:
    script("wait")
    session = supervisor.session
    poll_until(supervisor, lambda: session.current_epoch == 1)
    session.request_stop(by="somebody")
    session.request_stop(by="somebody else")  # asking again changes nothing
    poll_until(supervisor, lambda: session.has_ended)
    transition = session.transitions.last()
    assert transition is not None
    assert (transition.to_state, transition.by) == (State.STOPPED, "somebody")
    assert (session.directory.weights / "model.pt").exists()
    assert session.metrics.count() == 1


def test_a_stop_right_after_the_start_waits_until_the_trainer_can_obey(supervisor: Supervisor, script: Script) -> None:
    """The signal comes while Python is still starting; it must not kill the trainer."""
    script("wait")
    supervisor.poll()
    supervisor.session.request_stop(by="test")
    poll_until(supervisor, lambda: supervisor.session.has_ended)
    assert (supervisor.session.directory.weights / "model.pt").exists()


def test_a_trainer_that_does_not_obey_is_killed_after_the_grace(
    supervisor: Supervisor, script: Script, settings: Settings
) -> None:
    settings.STOP_GRACE_SECONDS = 0.2
    script("deaf")
    poll_until(supervisor, lambda: supervisor.session.current_epoch == 1)
    supervisor.session.request_stop(by="test")
    poll_until(supervisor, lambda: supervisor.session.has_ended)
    assert supervisor.session.state == State.STOPPED


def test_a_failure_says_why_and_what_to_do(supervisor: Supervisor, script: Script) -> None:
    script("fail")
    poll_until(supervisor, lambda: supervisor.session.has_ended)
    session = supervisor.session
    assert (session.state, session.failure_code) == (State.FAILED, "non_finite_loss")
    assert session.error_message == "The loss is not finite."
    assert session.remedy
    assert "Traceback" in session.log_entries.get(level="ERROR").message
    assert session.attempt == 1


def test_a_killed_trainer_goes_on_in_the_next_attempt(supervisor: Supervisor, script: Script) -> None:
    script("crash-once")
    poll_until(supervisor, lambda: supervisor.session.has_ended)
    session = supervisor.session
    assert (session.state, session.attempt) == (State.COMPLETED, 2)
    assert [metric.epoch for metric in session.metrics.all()] == [1, 2, 3]
    assert "SIGKILL" in session.log_entries.get(level="WARNING").message


def test_a_trainer_that_always_dies_is_given_up(supervisor: Supervisor, script: Script, settings: Settings) -> None:
    settings.CRASH_ATTEMPTS = 2
    script("crash")
    poll_until(supervisor, lambda: supervisor.session.has_ended)
    session = supervisor.session
    assert (session.state, session.failure_code, session.attempt) == (State.FAILED, "crash_loop", 2)
    assert session.error_message == "The trainer died in attempt 2 with exit status 3, 2 times without a new epoch."


def test_a_living_trainer_is_adopted(supervisor: Supervisor, script: Script) -> None:
    """The worker dies, its trainer does not: the next supervisor follows it from where the journal was read."""
    script("wait")
    session = supervisor.session
    poll_until(supervisor, lambda: session.current_epoch == 1)
    supervisor.lock.release()
    assert list(unsupervised_sessions()) == [session]
    assert work_waits()

    heir = Supervisor.take_up(TrainingSession.objects.get())
    heir.poll()
    assert heir.session.attempt == 1
    assert heir.process is None
    heir.session.request_stop(by="test")
    poll_until(heir, lambda: heir.session.has_ended)
    assert heir.session.state == State.STOPPED
    assert heir.session.metrics.count() == 1
    assert supervisor.process is not None
    supervisor.process.wait()


def test_a_trainer_that_was_interrupted_goes_on(supervisor: Supervisor, script: Script) -> None:
    """The machine shuts down, or the worker is told to stop its trainers: nobody asked for the session's end."""
    script("wait")
    poll_until(supervisor, lambda: supervisor.session.current_epoch == 1)
    assert supervisor.process is not None
    os.kill(supervisor.process.pid, signal.SIGTERM)
    script("complete")
    poll_until(supervisor, lambda: supervisor.session.has_ended)
    session = supervisor.session
    assert (session.state, session.attempt, session.crashes_since_epoch) == (State.COMPLETED, 2, 0)


def test_a_session_has_one_supervisor(supervisor: Supervisor) -> None:
    with pytest.raises(AlreadyLocked):
        Supervisor.take_up(supervisor.session)
    assert not list(unsupervised_sessions())


def test_an_end_that_was_read_but_not_drawn_is_drawn_by_the_next_supervisor(
    supervisor: Supervisor, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker dies between registering the model and the last transition."""
    script("complete")
    with monkeypatch.context() as patch:
        patch.setattr(TrainingSession, "complete", lambda *_: (_ for _ in ()).throw(InterruptedError))
        with pytest.raises(InterruptedError):
            poll_until(supervisor, lambda: supervisor.session.has_ended)
    supervisor.lock.release()
    assert supervisor.session.state == State.RUNNING
    answer_bell()
    supervisor.session.refresh_from_db()
    assert supervisor.session.state == State.COMPLETED
    assert Model.objects.count() == 1


def test_the_trainer_does_not_get_the_servers_secrets(
    supervisor: Supervisor, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_KEYS", "secret-one")
    monkeypatch.setenv("SECRET_KEY", "secret-two")
    script("wait")
    poll_until(supervisor, lambda: supervisor.session.current_epoch == 1)
    assert supervisor.process is not None
    assert b"secret-" not in Path(f"/proc/{supervisor.process.pid}/environ").read_bytes()
    supervisor.session.request_stop(by="test")
    poll_until(supervisor, lambda: supervisor.session.has_ended)


def test_the_queue_moves_by_itself_and_in_order(make_session: MakeSession, script: Script) -> None:
    script("complete")
    sessions = [make_session() for _ in range(3)]
    assert [session.queue_position() for session in sessions] == [1, 2, 3]
    answer_bell()
    ended = TrainingSession.objects.order_by("ended_at")
    assert [session.pk for session in ended] == [session.pk for session in sessions]
    assert {session.state for session in ended} == {State.COMPLETED}
    assert not work_waits()


def test_no_more_run_than_may(make_session: MakeSession, settings: Settings) -> None:
    settings.MAX_CONCURRENT_SESSIONS = 2
    for _ in range(3):
        make_session()
    claimed = [TrainingSession.objects.claim_next(by="test") for _ in range(3)]
    assert [session is not None for session in claimed] == [True, True, False]
    assert TrainingSession.objects.queued().count() == 1


def test_a_model_gets_the_name_that_was_asked_for(make_session: MakeSession, script: Script) -> None:
    script("complete")
    session = make_session({"model_name": "mine"})
    answer_bell()
    assert Model.objects.get().name == "mine"
    session.refresh_from_db()
    assert session.model == Model.objects.get()


def test_a_model_whose_name_was_taken_meanwhile_gets_its_own_and_is_found_again(
    make_session: MakeSession, script: Script
) -> None:
    script("complete")
    session = make_session({"model_name": "mine"})
    Model.objects.store("mine", [b"somebody else's"])
    answer_bell()
    session.refresh_from_db()
    assert session.state == State.COMPLETED
    assert session.model is not None
    assert session.model.name == f"mine_{session.session_id.removeprefix('sess_')}"
    assert session.model.name in session.log_entries.get(level="WARNING").message
    supervisor = Supervisor.take_up(session)
    assert supervisor.register_model("model.pt") == session.model  # as after a crash right behind it
    assert Model.objects.count() == 2


def start_from(make_session: MakeSession, reference: str) -> TrainingSession:
    session = make_session({"initial_weights": reference}, state=State.RUNNING)
    session.directory.create()
    return session


def test_a_session_keeps_the_registered_weights_that_it_starts_from(make_session: MakeSession, script: Script) -> None:
    script("complete")
    model = Model.objects.store("base", [b"weights"])
    session = make_session({"initial_weights": "base"})
    answer_bell()
    model.delete()
    weights = SessionSpec.read(session.directory.spec).initial_weights
    assert weights is not None
    assert (weights.name, weights.sha256) == ("base", hashlib.sha256(b"weights").hexdigest())
    assert Path(weights.path).read_bytes() == b"weights"
    assert Path(weights.path).parent == session.directory.root


def test_weights_are_copied_where_they_cannot_be_linked(
    make_session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folders lie on different disks."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    Model.objects.store("base", [b"weights"])
    session = start_from(make_session, "base")
    kept = keep_initial_weights("base", session.directory.root)
    assert Path(kept.path).read_bytes() == b"weights"


def test_a_session_that_has_ended_lends_its_final_weights_and_another_its_newest_good_checkpoint(
    make_session: MakeSession,
) -> None:
    earlier = make_session(state=State.RUNNING)
    earlier.directory.create()
    store = CheckpointStore(earlier.directory.checkpoints, keep=3)
    whole = store.save({"model": {}}, epoch=1, step=10)
    damaged = store.save({"model": {}}, epoch=2, step=20)
    (damaged.folder / "state.pt").write_bytes(b"damaged")
    (earlier.directory.weights / "model.pt").write_bytes(b"of an interruption")
    session = start_from(make_session, earlier.session_id)
    assert keep_initial_weights(earlier.session_id, session.directory.root).sha256 == whole.sha256
    TrainingSession.objects.filter(pk=earlier.pk).update(state=State.STOPPED)
    kept = keep_initial_weights(earlier.session_id, session.directory.root)
    assert Path(kept.path).read_bytes() == b"of an interruption"
    assert kept.sha256 == hashlib.sha256(b"of an interruption").hexdigest()


def test_weights_that_are_gone_at_the_start_fail_the_session_with_a_remedy(make_session: MakeSession) -> None:
    model = Model.objects.store("base", [b"weights"])
    session = make_session({"initial_weights": "base"})
    model.delete()
    answer_bell()
    session.refresh_from_db()
    assert (session.state, session.failure_code) == (State.FAILED, "bad_config")
    assert "base are not there any more" in (session.error_message or "")
    assert session.remedy
    assert session.log_entries.get(level="ERROR").message == session.error_message
    assert not Lock.is_held(session.directory.lock)
