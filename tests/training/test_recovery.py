"""Session directories without a session, and what killed trainers left: the sweep finds what is nobody's, at once."""

import os
import signal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import DatabaseError, connections, transaction
from pytest_django import Settings

from registry.models import Model
from tests.training.conftest import MakeSession
from training import consistency
from training.journal import Lock, SessionDirectory
from training.models import TrainingSession
from training.recovery import being_made, directories_of_nobody, remove_leftovers
from training.state import State
from training.tasks import remove_unfinished_sessions, sweep

SESSION_ID = "sess_0123456789ab"


def names(settings: Settings) -> list[str]:
    return sorted(path.name for path in Path(settings.SESSIONS_DIR).iterdir())


@pytest.fixture
def directory(settings: Settings) -> SessionDirectory:
    return SessionDirectory(Path(settings.SESSIONS_DIR) / SESSION_ID)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_committed", [False, True])
def test_a_process_killed_while_it_makes_a_session(
    settings: Settings, make_session: MakeSession, directory: SessionDirectory, is_committed: bool
) -> None:
    session = make_session()
    connections.close_all()
    pid = os.fork()
    if not pid:
        try:
            with being_made(directory):
                (directory.checkpoints / "step-00000001").mkdir()
                if is_committed:
                    TrainingSession.objects.filter(pk=session.pk).update(session_id=SESSION_ID)
                os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(1)
    assert os.WIFSIGNALED(os.waitpid(pid, 0)[1])
    assert names(settings) == [f".{SESSION_ID}.part", SESSION_ID]
    assert any("unfinished" in problem for problem in consistency.problems())
    assert remove_leftovers() == 1
    assert names(settings) == ([SESSION_ID] if is_committed else [])
    assert list(consistency.problems()) == []
    assert remove_leftovers() == 0


@pytest.mark.django_db
def test_a_session_that_is_being_made_is_left_alone(settings: Settings, directory: SessionDirectory) -> None:
    with being_made(directory):
        assert remove_leftovers() == 0
        assert list(directories_of_nobody()) == []
        assert directory.checkpoints.is_dir()


@pytest.mark.django_db(transaction=True)
def test_a_session_that_is_made_keeps_its_directory_and_no_mark(
    settings: Settings, make_session: MakeSession, directory: SessionDirectory
) -> None:
    with transaction.atomic():
        with being_made(directory):
            TrainingSession.objects.filter(pk=make_session().pk).update(session_id=SESSION_ID)
        # Until the commit nobody else sees the row.
        assert names(settings) == [f".{SESSION_ID}.part", SESSION_ID]
    assert names(settings) == [SESSION_ID]
    assert list(consistency.problems()) == []


@pytest.mark.django_db(transaction=True)
def test_a_making_that_fails_leaves_nothing(settings: Settings, directory: SessionDirectory) -> None:
    with pytest.raises(ZeroDivisionError), being_made(directory):
        raise ZeroDivisionError
    assert names(settings) == []


@pytest.mark.django_db(transaction=True)
def test_a_making_that_is_rolled_back_is_swept(settings: Settings, directory: SessionDirectory) -> None:
    with transaction.atomic():
        with being_made(directory):
            pass
        transaction.set_rollback(True)
    assert remove_leftovers() == 1
    assert names(settings) == []


@pytest.mark.django_db
def test_a_directory_of_nobody_is_told_of_and_kept(
    settings: Settings, directory: SessionDirectory, caplog: pytest.LogCaptureFixture
) -> None:
    """It may belong to a database that another has taken the place of, and holds days of training."""
    directory.create()
    (Path(settings.SESSIONS_DIR) / "notes").mkdir()
    assert remove_unfinished_sessions() == 0
    assert f"{directory.root} belongs to no session" in caplog.text
    assert "notes" not in caplog.text
    assert names(settings) == ["notes", SESSION_ID]


@pytest.mark.parametrize("state", [State.COMPLETED, State.RUNNING])
@pytest.mark.django_db
def test_what_a_killed_trainer_did_not_finish_goes_once_its_session_has_ended(
    make_session: MakeSession, state: State
) -> None:
    session = make_session(state=state)
    directory = session.directory
    directory.create()
    half = directory.checkpoints / ".step-00000002.part"
    half.mkdir()
    (half / "state.pt").write_bytes(b"half")
    (directory.weights / ".model.pt.part").write_bytes(b"half")
    whole = directory.checkpoints / "step-00000001"
    whole.mkdir()
    with Lock.acquire(directory.supervisor_lock):
        pass
    assert remove_leftovers() == (2 if state == State.COMPLETED else 0)
    assert half.exists() is (state == State.RUNNING)
    assert whole.exists()
    assert [*directory.half_written()] == [] or state == State.RUNNING


@pytest.mark.django_db
def test_the_command_finds_what_is_wrong(make_session: MakeSession, directory: SessionDirectory) -> None:
    def verify() -> str:
        output = StringIO()
        call_command("verifyfiles", stdout=output)
        return output.getvalue()

    make_session()
    assert "Every row has its file" in verify()
    damaged, missing = Model.objects.store("damaged", [b"weights"]), Model.objects.store("missing", [b"weights"])
    damaged.path.write_bytes(b"wEights")
    missing.path.unlink()
    directory.create()
    (Path(damaged.path.parent) / ".0123456789ab.part").write_bytes(b"half")
    output = StringIO()
    with pytest.raises(CommandError, match="4 problems") as refusal:
        call_command("verifyfiles", stdout=output)
    assert refusal.value.returncode == 1
    lines = output.getvalue().splitlines()
    assert len(lines) == 4
    for sentence in ("another sha256", "cannot be read", "belongs to no session", "left over from something"):
        assert any(sentence in line for line in lines), lines


@pytest.mark.django_db
def test_a_damaged_database_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> Any:
        raise DatabaseError("database disk image is malformed")

    monkeypatch.setattr(consistency, "misfits", fail)
    assert "malformed" in "".join(consistency.problems())


@pytest.mark.django_db
def test_a_sweep_of_a_broken_disk_ends_nothing(
    settings: Settings, directory: SessionDirectory, caplog: pytest.LogCaptureFixture
) -> None:
    settings.MODELS_DIR = Path(settings.MODELS_DIR) / "gone"
    sweep()
    assert "could not be removed" in caplog.text
