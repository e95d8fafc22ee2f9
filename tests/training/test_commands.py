"""The commands for sessions."""

import io
import time
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from registry.models import Dataset, Model
from tests.conftest import Script
from tests.training.conftest import MakeSession
from training.fields import fields_of
from training.initial_weights import keep_initial_weights
from training.management.commands import watchsession
from training.management.commands.startsession import Command as CommandLine
from training.models import QueueControl, TrainingSession
from training.resolution import resolve
from training.spec import EarlyStopping, TrainingConfig
from training.state import State, Wish
from training.tasks import answer_bell

pytestmark = pytest.mark.django_db

START = ["--model-architecture", "mlp", "--learning-rate", "0.01", "--batch-size", "8", "--epochs", "3"]


def test_startsession_queues_a_session_and_prints_its_id(dataset: Dataset) -> None:
    out = io.StringIO()
    call_command("startsession", *START, "--dataset-name", "tiny", "--optimizer", "sgd", stdout=out)
    session = TrainingSession.objects.get()
    assert out.getvalue() == f"{session.session_id}\n"
    assert (session.config["optimizer"], session.config["loss_function"]) == ("sgd", "cross_entropy")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*START, "--dataset-name", "none"], "no dataset is registered as 'none'"),
        ([*START, "--dataset-name", "tiny", "--epochs", "0"], "epochs must be between 1 and 1000"),
        ([*START, "--dataset-name", "tiny", "--epochs", "x"], "epochs must be an integer"),
        ([*START], "dataset_name is required"),
        ([*START, "--dataset-name", "tiny", "--model-args", '{"a": NaN}'], "model_args must hold what JSON can write"),
        ([*START, "--dataset-name", "tiny", "--early-stopping", '{"patience": 0}'], "early_stopping.patience must be"),
        (["--like", "sess_000000000000"], "There is no session sess_000000000000"),
        ([*START, "--dataset-name", "tiny", "--optimizer", "lion"], "invalid choice"),
    ],
)
def test_startsession_refuses_what_the_api_refuses(dataset: Dataset, arguments: list[str], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        call_command("startsession", *arguments)
    assert not TrainingSession.objects.exists()


def test_startsession_takes_every_field_as_its_kind_is_written(dataset: Dataset) -> None:
    given = ["--tags", "one", "two words", "--freeze", "network.0.*", "--notes", "7", "--deterministic", "true"]
    given += ["--early-stopping", '{"metric": "loss"}', "--class-weights", "balanced", "--gradient-clip", "1"]
    call_command("startsession", *START, "--dataset-name", "tiny", *given, stdout=io.StringIO())
    config = TrainingSession.objects.get().training_config
    assert (config.tags, config.freeze, config.notes) == (("one", "two words"), ("network.0.*",), "7")
    assert (config.deterministic, config.class_weights, config.gradient_clip) == (True, "balanced", 1.0)
    assert config.early_stopping == EarlyStopping(metric="loss")


def test_startsession_lists_every_field_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        CommandLine().run_from_argv(["manage.py", "startsession", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for field in fields_of(TrainingConfig):
        assert f"--{field.name.replace('_', '-')}" in shown
    assert "Higher starts first; equal ones in the order they came. (default: 0)" in shown


def record_of(session: TrainingSession, **changes: Any) -> dict[str, Any]:
    """The record of a session that has started, with another configuration resolved."""
    name = session.config["initial_weights"]
    weights = keep_initial_weights(name, session.directory.root) if name else None
    spec = resolve(session.session_id, session.training_config, session.dataset, weights, running=1).as_dict()
    spec["config"] |= changes
    return {"spec": spec, "device": "cpu"}


def start_like(session: TrainingSession, *arguments: str) -> TrainingSession:
    out = io.StringIO()
    call_command("startsession", "--like", session.session_id, *arguments, stdout=out)
    return TrainingSession.objects.get(session_id=out.getvalue().strip())


def test_startsession_like_takes_what_the_earlier_session_was_resolved_to(make_session: MakeSession) -> None:
    earlier = make_session({"tags": ["first"], "model_name": "mine", "device": "auto"})
    earlier.record = record_of(earlier, seed=11, num_threads=3)
    earlier.save(update_fields=["record"])
    again = start_like(earlier, "--epochs", "5", "--tags", "second")
    resolved = {"seed": 11, "num_threads": 3, "device": "cpu", "checkpoint_every_seconds": 60.0}
    changed = {"epochs": 5, "tags": ["second"], "model_name": None}
    assert again.config == earlier.config | resolved | changed


def test_startsession_like_a_queued_session_takes_its_configuration(make_session: MakeSession) -> None:
    earlier = make_session({"seed": 4})
    assert start_like(earlier).config == earlier.config


@pytest.mark.parametrize("change", ["gone", "other"])
def test_startsession_like_refuses_another_dataset(make_session: MakeSession, change: str) -> None:
    earlier = make_session()
    if change == "gone":
        earlier.dataset.path.unlink()
    else:
        earlier.dataset.path.write_bytes(b"other")
    with pytest.raises(CommandError, match="is gone, so" if change == "gone" else "is not what it was"):
        start_like(earlier)
    assert TrainingSession.objects.count() == 1


def test_startsession_like_refuses_other_weights(make_session: MakeSession) -> None:
    model = Model.objects.store("base", [b"weights"])
    earlier = make_session({"initial_weights": "base"})
    earlier.directory.create()
    earlier.record = record_of(earlier)
    earlier.save(update_fields=["record"])
    assert start_like(earlier).config["initial_weights"] == "base"
    model.delete()
    with pytest.raises(CommandError, match="are not there any more"):
        start_like(earlier)
    Model.objects.store("base", [b"others"])
    with pytest.raises(CommandError, match="are not what they were"):
        start_like(earlier)


def test_watchsession_shows_how_it_went(make_session: MakeSession, script: Script) -> None:
    script("complete")
    session = make_session()
    answer_bell()
    out = io.StringIO()
    call_command("watchsession", session.session_id, stdout=out)
    assert "3/3" in out.getvalue()
    assert f"{session} is completed." in out.getvalue()


def test_watchsession_of_a_failed_session_says_why_and_what_to_do(make_session: MakeSession) -> None:
    session = make_session(state=State.FAILED, error_message="The loss grew.", failure_code="non_finite_loss")
    with pytest.raises(CommandError, match=r"failed: The loss grew\. Lower learning_rate"):
        call_command("watchsession", session.session_id, stdout=io.StringIO())


def test_watchsession_of_a_paused_session_says_so_and_goes_on_watching(
    make_session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = make_session(state=State.PAUSED, current_epoch=1)
    looks: list[str] = []

    def live_on(seconds: float) -> None:
        """What happens between two looks."""
        session.refresh_from_db()
        looks.append(session.state)
        if len(looks) == 3:
            session.resume(by="test")
        elif len(looks) == 4:
            session.request_stop(by="test")

    monkeypatch.setattr(time, "sleep", live_on)
    out = io.StringIO()
    call_command("watchsession", session.session_id, stdout=out)
    assert looks == ["paused"] * 3 + ["queued"]
    shown = " ".join(out.getvalue().split())
    assert shown.count(f"{session} is paused; manage.py managesession resume lets it go on.") == 1
    assert f"{session} is stopped." in shown


def test_watchsession_says_why_a_queued_session_waits(make_session: MakeSession) -> None:
    first, second = make_session(), make_session()
    assert watchsession.Command.describe(first) == "position 1 in the queue: it starts now"
    assert watchsession.Command.describe(second) == "position 2 in the queue: others start before it"
    QueueControl.objects.pause(by="test")
    assert watchsession.Command.describe(second) == "position 2 in the queue: the queue is paused"


def test_watchsession_of_an_unknown_session_says_so() -> None:
    with pytest.raises(CommandError, match="There is no session sess_none"):
        call_command("watchsession", "sess_none")


def manage(command: str, *arguments: str) -> str:
    out = io.StringIO()
    call_command(command, *arguments, stdout=out)
    return out.getvalue()


@pytest.mark.parametrize(("action", "state", "becomes"), [
    ("pause", State.QUEUED, (State.PAUSED, "")),
    ("pause", State.RUNNING, (State.RUNNING, Wish.PAUSE)),
    ("pause", State.COMPLETED, None),
    ("resume", State.PAUSED, (State.QUEUED, "")),
    ("resume", State.FAILED, None),
    ("stop", State.RUNNING, (State.RUNNING, Wish.STOP)),
    ("stop", State.STOPPED, None),
    ("kill", State.RUNNING, (State.RUNNING, Wish.KILL)),
    ("kill", State.COMPLETED, None),
])  # fmt: skip
def test_managesession_steers_a_session(
    make_session: MakeSession, action: str, state: State, becomes: tuple[str, str] | None
) -> None:
    session = make_session(state=state)
    if becomes is None:
        with pytest.raises(CommandError, match=f"Session {session} is {state} and cannot be"):
            manage("managesession", action, session.session_id)
        return
    assert manage("managesession", action, session.session_id).startswith(f"Session {session} ")
    session.refresh_from_db()
    assert (session.state, session.wish) == becomes
    assert (session.wished_by if session.wish else session.transitions.get().by) == "command line"


def test_managesession_restarts_a_session_and_prints_the_new_ones_id(make_session: MakeSession) -> None:
    session = make_session({"seed": 3}, state=State.FAILED)
    again = TrainingSession.objects.get(session_id=manage("managesession", "restart", session.session_id).strip())
    assert (again.parent, again.state, again.config["seed"]) == (session, State.QUEUED, 3)
    assert again.transitions.get().by == "command line"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pause", "sess_none"], "There is no session sess_none"),
        (["cancel", "{}"], "invalid choice"),
        (["stop", "{}", "--from-checkpoint", "newest"], "--from-checkpoint is for restart"),
        (["restart", "{}", "--from-checkpoint", "latest"], "from_checkpoint must be"),
        (["restart", "{}", "--from-checkpoint", "newest"], "from_checkpoint"),
    ],
)
def test_managesession_refuses_and_says_why(make_session: MakeSession, arguments: list[str], message: str) -> None:
    session = make_session()
    with pytest.raises(CommandError, match=message):
        manage("managesession", *(argument.format(session) for argument in arguments))
    assert TrainingSession.objects.get().state == State.QUEUED


def test_managequeue_shows_what_waits_and_why(make_session: MakeSession) -> None:
    running, first, second = make_session(state=State.RUNNING), make_session({"priority": -3}), make_session()
    lines = manage("managequeue", "show").splitlines()
    assert [" ".join(line.split()) for line in lines] == [
        "The queue is open: 1 running, 2 queued.",
        f"1 {second} priority 0 place_taken {running}",
        f"2 {first} priority -3 behind_others {second}",
    ]
    assert len(manage("managequeue", "show", "--limit", "1").splitlines()) == 2


def test_managequeue_pauses_drains_and_resumes(make_session: MakeSession) -> None:
    session = make_session(state=State.RUNNING)
    assert manage("managequeue", "resume") == "The queue is open: 1 running, 0 queued.\n"
    paused = manage("managequeue", "pause")
    assert paused.startswith("The queue is paused by command line since 2")
    assert paused.endswith(" UTC: 1 running, 0 queued.\n")
    assert manage("managequeue", "drain").endswith(": 1 running, 1 of them about to go back, 0 queued.\n")
    session.refresh_from_db()
    assert (session.wish, session.wished_by) == (Wish.REQUEUE, "command line")
    assert manage("managequeue", "resume").startswith("The queue is open: ")


def test_managequeue_moves(make_session: MakeSession) -> None:
    first, second = make_session({"priority": 2}), make_session()
    moved = manage("managequeue", "move", second.session_id, "--position", "1")
    assert moved == f"Session {second} is at position 1, with priority 2.\n"
    moved = manage("managequeue", "move", second.session_id, "--priority", "-1")
    assert moved == f"Session {second} is at position 2, with priority -1.\n"
    assert list(TrainingSession.objects.queued()) == [first, second]
    assert second.log_entries.get(pk=second.log_entries.earliest("id").pk).message.endswith("by command line.")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sess_none", "--position", "1"], "There is no session sess_none"),
        (["{}"], "send a priority, a position or both"),
        (["{}", "--position", "0"], "position must be 1 or more"),
        (["{}", "--position", "x"], "invalid int value"),
        (["{}", "--priority", "101"], "priority must be between -100 and 100"),
        (["{}", "--position", "1"], "is running and cannot be moved"),
    ],
)
def test_managequeue_refuses_and_says_why(make_session: MakeSession, arguments: list[str], message: str) -> None:
    session = make_session(state=State.RUNNING)
    with pytest.raises(CommandError, match=message):
        manage("managequeue", "move", *(argument.format(session) for argument in arguments))


@pytest.mark.parametrize("arguments", [[], ["explode"], ["show", "--limit", "x"]])
def test_managequeue_wants_to_know_what(arguments: list[str]) -> None:
    with pytest.raises(CommandError):
        manage("managequeue", *arguments)
