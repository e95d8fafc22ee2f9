"""The commands for sessions."""

import io
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from registry.models import Dataset, Model
from tests.conftest import Script
from tests.training.conftest import MakeSession
from training.fields import fields_of
from training.initial_weights import keep_initial_weights
from training.management.commands.startsession import Command as CommandLine
from training.models import TrainingSession
from training.resolution import resolve
from training.spec import EarlyStopping, TrainingConfig
from training.state import State
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


def test_watchsession_of_an_unknown_session_says_so() -> None:
    with pytest.raises(CommandError, match="There is no session sess_none"):
        call_command("watchsession", "sess_none")
