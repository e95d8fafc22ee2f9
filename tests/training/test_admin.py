"""Sessions in the admin: looked at, stopped and cancelled, never written by hand."""

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from tests.training.conftest import MakeSession
from training.models import TrainingSession
from training.state import State

pytestmark = pytest.mark.django_db

SESSIONS = "/admin/training/trainingsession/"


@pytest.fixture
def staff(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root", password="a password of the tests"))
    return client


@pytest.mark.parametrize("page", ["trainingsession", "metric", "seriespoint", "logentry", "transition"])
def test_every_table_has_its_pages(staff: Client, make_session: MakeSession, page: str) -> None:
    session = make_session(state=State.RUNNING, current_epoch=1)
    row = {
        "trainingsession": session,
        "metric": session.metrics.create(epoch=1, loss=1, timestamp=timezone.now()),
        "seriespoint": session.points.create(name="train/loss", step=1, value=0.5, timestamp=timezone.now()),
        "logentry": session.log_entries.create(level="INFO", message="<b>hello</b>", timestamp=timezone.now()),
        "transition": session.transitions.create(from_state="queued", to_state="running", by="test"),
    }[page]
    listing = staff.get(f"/admin/training/{page}/", {"q": session.session_id})
    assert listing.status_code == 200
    assert session.session_id in listing.text
    assert "<b>hello</b>" not in listing.text
    assert staff.get(f"/admin/training/{page}/{row.pk}/change/").status_code == 200
    for forbidden in (f"/admin/training/{page}/add/", f"/admin/training/{page}/{row.pk}/delete/"):
        assert staff.get(forbidden).status_code == 403
    assert staff.post(f"/admin/training/{page}/{row.pk}/change/", {"state": "completed"}).status_code == 403


@pytest.mark.parametrize(("action", "state", "asked"), [
    ("stop", State.QUEUED, True),
    ("stop", State.RUNNING, True),
    ("stop", State.COMPLETED, False),
    ("cancel", State.QUEUED, True),
    ("cancel", State.RUNNING, False),
])  # fmt: skip
def test_actions(staff: Client, make_session: MakeSession, action: str, state: State, asked: bool) -> None:
    session = make_session(state=state)
    answer = staff.post(SESSIONS, {"action": action, "_selected_action": [session.pk]}, follow=True)
    assert answer.status_code == 200
    session.refresh_from_db()
    if asked:
        assert session.state == State.STOPPED or session.wished_by == "user root"
    else:
        assert session.state == state
        assert "cannot be" in answer.text


def test_a_member_of_staff_without_the_permission_cannot_stop(make_session: MakeSession) -> None:
    client = Client()
    client.force_login(User.objects.create_user("clerk", password="a password of the tests", is_staff=True))
    session = make_session(state=State.RUNNING)
    client.post(SESSIONS, {"action": "stop", "_selected_action": [session.pk]})
    assert TrainingSession.objects.get().wish == ""
