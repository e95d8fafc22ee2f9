"""The commands for sessions."""

import io

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from registry.models import Dataset
from tests.conftest import Script
from tests.training.conftest import MakeSession
from training.models import TrainingSession
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
        ([*START, "--dataset-name", "tiny", "--epochs", "x"], "invalid int value"),
        ([*START], "--dataset-name"),
        ([*START, "--dataset-name", "tiny", "--optimizer", "lion"], "invalid choice"),
    ],
)
def test_startsession_refuses_what_the_api_refuses(dataset: Dataset, arguments: list[str], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        call_command("startsession", *arguments)
    assert not TrainingSession.objects.exists()


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
