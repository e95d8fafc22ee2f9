"""A session that is started like another one ends with the same weights, to the byte."""

import io

import pytest
from django.core.management import call_command

from tests.training.conftest import MakeSession
from training.models import TrainingSession
from training.state import State
from training.tasks import answer_bell

pytestmark = pytest.mark.django_db


@pytest.mark.slow
def test_a_session_like_another_ends_with_the_same_weights(make_session: MakeSession) -> None:
    earlier = make_session({"epochs": 2, "optimizer": "adamw", "device": "auto", "model_args": {"width": 8}})
    answer_bell()
    out = io.StringIO()
    call_command("startsession", "--like", earlier.session_id, stdout=out)
    answer_bell()
    again = TrainingSession.objects.select_related("model").get(session_id=out.getvalue().strip())
    other = make_session({"epochs": 2, "optimizer": "adamw", "model_args": {"width": 8}, "seed": 1})
    answer_bell()
    for session in (earlier, again, other):
        session.refresh_from_db()
        assert session.state == State.COMPLETED
    assert earlier.model is not None
    assert again.model is not None
    assert other.model is not None
    assert again.model.sha256 == earlier.model.sha256 != other.model.sha256
    assert earlier.record is not None
    assert again.record is not None
    assert again.record["dataset_sha256"] == earlier.record["dataset_sha256"]
    assert again.config.items() >= {"seed": 0, "device": "cpu"}.items()
    assert None not in (again.config["num_threads"], again.config["checkpoint_every_seconds"])
