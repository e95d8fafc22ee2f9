"""The supervisor, with a scripted trainer in a real process: every way in which an attempt can end."""

import errno
import hashlib
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.db import OperationalError
from pytest_django import Settings

from registry.models import Model
from tests.conftest import Script
from tests.training.conftest import MakeSession
from training import death
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
    assert supervisor.console is not None
    supervisor.process.wait()
    supervisor.console.wait()


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
    assert (
        supervisor.register_model(session.directory.weights / "model.pt") == session.model
    )  # as after a crash right behind it
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

    Model.objects.store("base", [b"weights"])
    session = start_from(make_session, "base")
    monkeypatch.setattr(os, "link", refuse)
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


def consoles() -> list[int]:
    """The processes that keep a console for this process, zombies included."""
    return [child.pid for child in psutil.Process().children() if child.status() == "zombie" or is_console(child)]


def is_console(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return "training.console" in process.cmdline()
    return False


def test_what_all_attempts_print_is_kept_and_no_process_or_descriptor_stays(
    supervisor: Supervisor, script: Script
) -> None:
    script("crash-once")
    before = sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names are enough
    poll_until(supervisor, lambda: supervisor.session.has_ended)
    assert supervisor.directory.console.read_text() == "this is attempt 1\nthis is attempt 2\n"
    assert not consoles()
    assert sorted(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_a_console_ends_with_its_own_trainer_whoever_else_trains(make_session: MakeSession, script: Script) -> None:
    script("wait")
    one, other = (Supervisor.take_up(make_session(state=State.RUNNING)) for _ in range(2))
    for supervisor in (one, other):
        poll_until(supervisor, lambda watched=supervisor: watched.session.current_epoch == 1)  # type: ignore[misc]
    one.session.request_stop(by="test")
    poll_until(one, lambda: one.session.has_ended)
    assert other.console is not None
    assert consoles() == [other.console.pid]
    other.session.request_kill(by="test")
    poll_until(other, lambda: other.session.has_ended)
    assert not consoles()


def test_who_holds_on_to_the_console_of_a_dead_trainer_is_cut_off(
    supervisor: Supervisor, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.supervisor.CONSOLE_SECONDS", 0.3)
    script("leave")
    poll_until(supervisor, lambda: supervisor.session.has_ended)
    assert supervisor.session.state == State.COMPLETED
    assert supervisor.directory.console.read_text() == "this is attempt 1\n"
    assert not consoles()


def test_an_attempt_whose_trainer_never_lived_is_no_crash(make_session: MakeSession, script: Script) -> None:
    """The worker was killed between counting the attempt and starting its trainer, again and again."""
    script("complete")
    session = make_session(state=State.RUNNING)
    session.directory.create()
    for _ in range(5):
        session.begin_attempt()
        Lock.acquire(session.directory.lock).release()
    supervisor = Supervisor.take_up(session)
    poll_until(supervisor, lambda: session.has_ended)
    assert (session.state, session.attempt) == (State.COMPLETED, 6)
    assert not session.log_entries.filter(level="WARNING")


@pytest.mark.django_db(transaction=True)
def test_a_death_counts_once_whatever_the_database_refuses(
    supervisor: Supervisor, script: Script, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is locked just when the next attempt is to begin, and when the end is to be written."""
    monkeypatch.setattr("training.supervisor.PAUSE_AFTER_ERROR_SECONDS", 0.0)
    settings.CRASH_ATTEMPTS = 2
    script("crash")
    refusals = 0

    def refuse_at_first(method: str) -> None:
        original = getattr(TrainingSession, method)

        def refusing(self: TrainingSession, *arguments: Any) -> None:
            nonlocal refusals
            refusals += 1
            if refusals % 4:
                raise OperationalError("database is locked")
            original(self, *arguments)

        monkeypatch.setattr(TrainingSession, method, refusing)

    refuse_at_first("begin_attempt")
    refuse_at_first("fail")
    session = supervisor.session
    deadline = time.monotonic() + 30
    while not session.has_ended and time.monotonic() < deadline:
        supervisor.poll_whatever_happens()
        time.sleep(0.01)
    assert (session.failure_code, session.attempt, session.crashes_since_epoch) == ("crash_loop", 2, 2)
    assert refusals == 12
    assert [entry.level for entry in session.log_entries.order_by("id")] == ["WARNING", "ERROR"]
    assert not consoles()


def test_a_machine_that_was_started_again_is_no_crash_of_the_trainer(
    make_session: MakeSession, script: Script, settings: Settings
) -> None:
    settings.CRASH_ATTEMPTS = 1
    script("complete")
    session = make_session(state=State.RUNNING, attempt=1)
    session.directory.create()
    with Lock.acquire(session.directory.lock) as lock:
        lock.write_pid(1)
    death.KernelsTale("another start", 5).write(session.directory.root / death.KEPT_AS)
    poll_until(Supervisor.take_up(session), lambda: session.has_ended)
    assert (session.state, session.attempt, session.crashes_since_epoch) == (State.COMPLETED, 2, 0)
    assert "started again in attempt 1" in session.log_entries.get(level="WARNING").message


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"session_id": 1}'])
def test_a_spec_that_cannot_be_read_is_made_again(supervisor: Supervisor, script: Script, content: bytes) -> None:
    script("complete")
    supervisor.directory.spec.write_bytes(content)
    poll_until(supervisor, lambda: supervisor.session.has_ended)
    assert supervisor.session.state == State.COMPLETED
    assert "spec.json" in supervisor.session.log_entries.get(level="WARNING").message


def test_a_stopped_trainer_is_killed_after_the_grace(
    supervisor: Supervisor, script: Script, settings: Settings
) -> None:
    """SIGSTOP: it cannot obey, and SIGKILL takes it all the same."""
    settings.STOP_GRACE_SECONDS = 0.2
    script("wait")
    poll_until(supervisor, lambda: supervisor.session.current_epoch == 1)
    supervisor.directory.signal_trainer(signal.SIGSTOP)
    supervisor.session.request_pause(by="test")
    poll_until(supervisor, lambda: supervisor.session.state != State.RUNNING)
    assert (supervisor.session.state, supervisor.session.crashes_since_epoch) == (State.PAUSED, 0)


END = '{"event":"end","attempt":ATTEMPT'


@pytest.mark.parametrize(
    "line",
    [
        f"{END}}}",
        f'{END},"ending":"perfect"}}',
        f'{END},"ending":["completed"]}}',
        f'{END},"ending":"completed"}}',
        f'{END},"ending":"completed","weights":"model.pt"}}',
        f'{END},"ending":"completed","weights":"../spec.json"}}',
        f'{END},"ending":"completed","weights":"/etc/passwd"}}',
        f'{END},"ending":"completed","weights":".."}}',
        f'{END},"ending":"completed","weights":7}}',
        f'{END},"ending":"completed","weights":"a\\u0000b"}}',
        '{"event":"end","attempt":99,"ending":"completed"}',
        '{"event":"end","ending":"completed"}',
    ],
)
def test_a_last_word_that_cannot_be_true_is_none(
    supervisor: Supervisor, script: Script, settings: Settings, line: str
) -> None:
    settings.CRASH_ATTEMPTS = 1
    script(f"say:{line}")
    poll_until(supervisor, lambda: supervisor.session.has_ended)
    assert (supervisor.session.state, supervisor.session.failure_code) == (State.FAILED, "crash_loop")
    assert not Model.objects.exists()


@pytest.mark.parametrize(
    ("fields", "code", "message"),
    [
        (
            '"failure_code":"cuda_oom","error_message":"half \\ud800, none \\u0000"',
            "cuda_oom",
            "half \ufffd, none \ufffd",
        ),
        ('"failure_code":"made_up_by_somebody","error_message":"why"', "user_code", "why"),
        ('"failure_code":["host_oom"],"error_message":{"no":"text"}', "user_code", "{'no': 'text'}"),
    ],
)
def test_a_failure_is_told_whatever_its_words(
    supervisor: Supervisor, script: Script, fields: str, code: str, message: str
) -> None:
    script(f'say:{END},"ending":"failed",{fields}}}')
    poll_until(supervisor, lambda: supervisor.session.has_ended)
    session = supervisor.session
    assert (session.state, session.failure_code, session.error_message) == (State.FAILED, code, message)


def test_what_is_logged_behind_the_end_changes_nothing(supervisor: Supervisor, script: Script) -> None:
    log = '{"event":"log","attempt":1,"at":"2026-01-01T00:00:00Z","level":"INFO","message":"at exit"}'
    script(f'say:{END},"ending":"failed","failure_code":"bad_dataset","error_message":"why"}}\n{log}')
    poll_until(supervisor, lambda: supervisor.session.has_ended)
    assert supervisor.session.failure_code == "bad_dataset"
    assert supervisor.session.log_entries.get().message == "at exit"
