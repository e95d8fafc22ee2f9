"""Sessions and their queue in the admin: looked at and steered, never written by hand."""

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from tests.training.conftest import MakeSession
from training.models import QueueControl, TrainingSession
from training.state import State, Wish

pytestmark = pytest.mark.django_db

SESSIONS = "/admin/training/trainingsession/"
QUEUE = "/admin/training/queuecontrol/"


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
        "logentry": session.log_entries.create(line=1, level="INFO", message="<b>hello</b>", timestamp=timezone.now()),
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


def choose(client: Client, page: str, action: str, key: int) -> str:
    """Send the form of the listing with one row chosen; what the next page says."""
    answer = client.post(page, {"action": action, "_selected_action": [key]}, follow=True)
    assert answer.status_code == 200
    return answer.text


@pytest.mark.parametrize(("action", "state", "becomes"), [
    ("stop", State.QUEUED, (State.STOPPED, "")),
    ("stop", State.RUNNING, (State.RUNNING, Wish.STOP)),
    ("stop", State.PAUSED, (State.STOPPED, "")),
    ("stop", State.COMPLETED, None),
    ("kill", State.QUEUED, (State.STOPPED, "")),
    ("kill", State.RUNNING, (State.RUNNING, Wish.KILL)),
    ("kill", State.FAILED, None),
    ("pause", State.QUEUED, (State.PAUSED, "")),
    ("pause", State.RUNNING, (State.RUNNING, Wish.PAUSE)),
    ("pause", State.STOPPED, None),
    ("resume", State.PAUSED, (State.QUEUED, "")),
    ("resume", State.COMPLETED, None),
    ("cancel", State.QUEUED, (State.STOPPED, "")),
    ("cancel", State.RUNNING, None),
])  # fmt: skip
def test_actions(
    staff: Client, make_session: MakeSession, action: str, state: State, becomes: tuple[str, str] | None
) -> None:
    session = make_session(state=state)
    page = choose(staff, SESSIONS, action, session.pk)
    session.refresh_from_db()
    if becomes is None:
        assert session.state == state
        assert "cannot be" in page
        return
    assert (session.state, session.wish) == becomes
    assert f"Session {session} " in page
    by = session.wished_by if session.wish else session.transitions.get().by
    assert by == "user:root"


def test_nothing_is_asked_of_a_session_by_a_link(staff: Client, make_session: MakeSession) -> None:
    session = make_session(state=State.RUNNING)
    staff.get(f"{SESSIONS}?action=kill&_selected_action={session.pk}", follow=True)
    session.refresh_from_db()
    assert session.wish == ""


def test_the_listing_shows_health_wish_and_priority(staff: Client, make_session: MakeSession) -> None:
    make_session({"priority": 17}, state=State.RUNNING, wish=Wish.REQUEUE, heard_at=None)
    page = staff.get(SESSIONS).text
    assert all(shown in page for shown in ("stale", "Requeue", "17"))


def test_the_transitions_say_who_was_the_actor(staff: Client, make_session: MakeSession) -> None:
    make_session().request_pause(by="key:somebody")
    page = staff.get("/admin/training/transition/").text
    assert "Actor" in page
    assert "key:somebody" in page


def test_the_queue_is_paused_drained_and_resumed(staff: Client, make_session: MakeSession) -> None:
    session = make_session(state=State.RUNNING)
    page = staff.get(QUEUE)
    assert page.status_code == 200
    control = QueueControl.objects.get()
    assert "open" in page.text
    assert "The queue is paused." in choose(staff, QUEUE, "pause", control.pk)
    control.refresh_from_db()
    assert (control.is_paused, control.paused_by) == (True, "user:root")
    assert TrainingSession.objects.get().wish == ""
    choose(staff, QUEUE, "drain", control.pk)
    session.refresh_from_db()
    assert (session.wish, session.wished_by) == (Wish.REQUEUE, "user:root")
    assert "The queue is open." in choose(staff, QUEUE, "resume", control.pk)
    assert not QueueControl.objects.get().is_paused


def test_a_member_of_staff_without_the_permission_cannot_steer(make_session: MakeSession) -> None:
    client = Client()
    client.force_login(User.objects.create_user("clerk", password="a password of the tests", is_staff=True))
    session = make_session(state=State.RUNNING)
    control = QueueControl.objects.create(pk=QueueControl.ONLY)
    for action in ("pause", "resume", "stop", "kill", "cancel"):
        client.post(SESSIONS, {"action": action, "_selected_action": [session.pk]})
    for action in ("pause", "drain", "resume"):
        client.post(QUEUE, {"action": action, "_selected_action": [control.pk]})
    assert TrainingSession.objects.get().wish == ""
    assert not QueueControl.objects.get().is_paused


def test_a_member_of_staff_who_may_only_look_cannot_steer(make_session: MakeSession) -> None:
    client = Client()
    user = User.objects.create_user("viewer", password="a password of the tests", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    client.force_login(user)
    session = make_session(state=State.RUNNING)
    assert client.get(QUEUE).status_code == 200
    choose(client, SESSIONS, "kill", session.pk)
    choose(client, QUEUE, "drain", QueueControl.ONLY)
    assert TrainingSession.objects.get().wish == ""
    assert not QueueControl.objects.get().is_paused
