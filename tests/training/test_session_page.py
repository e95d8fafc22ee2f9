"""The page of a session in the admin: what it says, and the buttons that it has for whom."""

import re
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone
from django.utils.html import escape

from registry.models import Model
from tests.training.conftest import MakeSession
from training import examples
from training.admin.session_page import configuration_rows
from training.engine.checkpoint import CheckpointStore
from training.models import TrainingSession
from training.state import State, Wish

pytestmark = pytest.mark.django_db

PASSWORD = "a password of the tests"
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def staff(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root", password=PASSWORD))
    return client


@pytest.fixture
def viewer(db: None) -> Client:
    client = Client()
    user = User.objects.create_user("viewer", password=PASSWORD, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename="view_trainingsession"))
    client.force_login(user)
    return client


def address(session: TrainingSession) -> str:
    return f"/admin/training/trainingsession/{session.session_id}/change/"


def steer(client: Client, session: TrainingSession, action: str, **options: Any) -> Any:
    return client.post(address(session).replace("/change/", "/steer/"), {"action": action}, **options)


def buttons(page: str) -> set[str]:
    """What can be asked of the session there."""
    return set(re.findall(r'name="action"\s+value="(\w+)"', page)) | set(re.findall(r'name="(restart)"', page))


def test_the_page_is_found_by_the_id_and_by_the_number(staff: Client, make_session: MakeSession) -> None:
    session = make_session()
    for key in (session.session_id, session.pk):
        answer = staff.get(f"/admin/training/trainingsession/{key}/change/")
        assert answer.status_code == 200
        assert f'data-session="{session.session_id}"' in answer.text
    unknown = staff.get("/admin/training/trainingsession/sess_000000000000/change/")
    assert (unknown.status_code, unknown["Location"]) == (302, "/admin/")


def test_the_page_says_what_is_known(staff: Client, make_session: MakeSession) -> None:
    parent = make_session(state=State.COMPLETED, record=examples.RECORD | {"packages": {"items": "1.2.3"}})
    session = make_session(
        {"learning_rate": 0.0625, "notes": HOSTILE},
        state=State.FAILED,
        failure_code="cuda_oom",
        error_message=f"no memory {HOSTILE}",
        parent=parent,
        parent_checkpoint="step-00000010",
    )
    session.transitions.create(from_state="running", to_state="failed", by="supervisor", reason="cuda_oom")
    page = staff.get(address(session)).text
    for shown in (
        "mlp on tiny",
        "0.0625",
        "no memory",
        "cuda_oom",
        "running → failed",
        "step-00000010",
        address(parent),
    ):
        assert shown in page
    assert session.remedy is not None
    assert escape(session.remedy) in page
    assert HOSTILE not in page
    assert "writes the record when it starts" in page
    page = staff.get(address(parent)).text
    for shown in ("AMD EPYC", "versions.torch", "2.13.0", "1.2.3", address(session)):
        assert shown in page


def test_the_parts_that_change_can_be_asked_for_alone(staff: Client, viewer: Client, make_session: MakeSession) -> None:
    session = make_session(state=State.RUNNING, record=examples.RECORD)
    parts = address(session).replace("/change/", "/parts/")
    names = ["state", "condition", "buttons", "kept", "record", "history"]
    answer = staff.get(parts)
    assert re.findall(r'data-part="(\w+)"', answer.text) == names
    assert "<html" not in answer.text
    assert buttons(answer.text) == {"pause", "stop", "kill"}
    assert buttons(viewer.get(parts).text) == set()
    assert sorted(re.findall(r'data-part="(\w+)"', staff.get(address(session)).text)) == sorted(names)
    assert staff.get(parts.replace(session.session_id, "sess_000000000000")).status_code == 404
    client = Client()
    client.force_login(User.objects.create_user("clerk", password=PASSWORD, is_staff=True))
    assert client.get(parts).status_code == 403


def test_the_model_can_be_looked_at_and_fetched(staff: Client, make_session: MakeSession) -> None:
    model = Model.objects.store("mine", [b"weights"])
    page = staff.get(address(make_session(state=State.COMPLETED, model=model))).text
    assert f"/admin/registry/model/{model.pk}/change/" in page
    assert "/api/v1/models/mine" in page


def test_the_page_says_why_a_session_waits(staff: Client, make_session: MakeSession) -> None:
    first, second = make_session(), make_session()
    page = staff.get(address(second)).text
    assert "Place 2 of the queue" in page
    assert first.session_id in page


def test_the_checkpoints_are_those_on_the_disk(staff: Client, make_session: MakeSession) -> None:
    session = make_session(state=State.PAUSED)
    session.directory.create()
    assert "no checkpoint yet" in staff.get(address(session)).text
    store = CheckpointStore(session.directory.checkpoints, keep=2)
    store.save({"a": 1}, epoch=1, step=10)
    store.save({"a": 2}, epoch=2, step=20)
    (session.directory.checkpoints / "step-00000030").mkdir()  # being taken away, or damaged
    page = staff.get(address(session)).text
    assert page.index("step-00000020") < page.index("step-00000010")
    assert f"?from={session.session_id}&amp;checkpoint=step-00000020" in page
    assert "step-00000030" not in page


@pytest.mark.parametrize(("state", "wish", "expected"), [
    (State.QUEUED, Wish.NONE, {"pause", "stop", "kill"}),
    (State.RUNNING, Wish.NONE, {"pause", "stop", "kill"}),
    (State.RUNNING, Wish.PAUSE, {"resume", "stop", "kill"}),
    (State.RUNNING, Wish.STOP, {"kill"}),
    (State.RUNNING, Wish.KILL, set()),
    (State.PAUSED, Wish.NONE, {"resume", "stop", "kill"}),
    (State.COMPLETED, Wish.NONE, {"restart"}),
    (State.FAILED, Wish.NONE, {"restart"}),
    (State.STOPPED, Wish.NONE, {"restart"}),
])  # fmt: skip
def test_the_buttons_are_what_is_allowed(
    staff: Client, viewer: Client, make_session: MakeSession, state: State, wish: Wish, expected: set[str]
) -> None:
    session = make_session(state=state, wish=wish)
    assert buttons(staff.get(address(session)).text) == expected
    page = viewer.get(address(session))
    assert page.status_code == 200
    assert buttons(page.text) == set()
    assert "?from=" not in page.text


@pytest.mark.parametrize(("action", "state", "becomes"), [
    ("pause", State.RUNNING, (State.RUNNING, Wish.PAUSE)),
    ("resume", State.PAUSED, (State.QUEUED, "")),
    ("stop", State.QUEUED, (State.STOPPED, "")),
    ("kill", State.RUNNING, (State.RUNNING, Wish.KILL)),
])  # fmt: skip
def test_a_button_asks(
    staff: Client, make_session: MakeSession, action: str, state: State, becomes: tuple[str, str]
) -> None:
    session = make_session(state=state)
    answer = steer(staff, session, action, follow=True)
    assert answer.redirect_chain == [(address(session), 302)]
    assert f"Session {session} " in answer.text
    session.refresh_from_db()
    assert (session.state, session.wish) == becomes


def test_a_refusal_is_a_message(staff: Client, make_session: MakeSession) -> None:
    session = make_session(state=State.COMPLETED)
    assert "is completed and cannot be paused" in steer(staff, session, "pause", follow=True).text
    for nonsense in ("restart", "dance", "", HOSTILE):
        assert "What can be asked of a session" in steer(staff, session, nonsense, follow=True).text
    session.refresh_from_db()
    assert (session.state, session.wish) == (State.COMPLETED, "")


def test_nobody_steers_without_the_permission_or_by_a_link(
    staff: Client, viewer: Client, make_session: MakeSession
) -> None:
    session = make_session(state=State.RUNNING)
    assert steer(viewer, session, "kill").status_code == 403
    assert steer(Client(), session, "kill").status_code == 302
    assert staff.get(address(session).replace("/change/", "/steer/"), {"action": "kill"}).status_code == 405
    assert steer(Client(enforce_csrf_checks=True), session, "kill").status_code in (302, 403)
    forged = Client(enforce_csrf_checks=True)
    forged.force_login(User.objects.get(username="root"))
    assert steer(forged, session, "kill").status_code == 403
    assert staff.post("/admin/training/trainingsession/sess_000000000000/steer/", {"action": "stop"}).status_code == 404
    session.refresh_from_db()
    assert session.wish == ""


def test_the_page_is_for_those_who_may_see_sessions(make_session: MakeSession) -> None:
    client = Client()
    client.force_login(User.objects.create_user("clerk", password=PASSWORD, is_staff=True))
    assert client.get(address(make_session())).status_code == 403


def test_what_was_chosen_is_told_from_what_was_left(make_session: MakeSession) -> None:
    session = make_session({"optimizer": "sgd", "model_args": {"width": 7}, "scheduler": "none"})
    chosen, left = (dict(rows) for rows in configuration_rows(session.config))
    assert chosen["optimizer"] == "sgd"
    assert chosen["model_args.width"] == "7"
    assert chosen["epochs"] == "3"
    assert left["scheduler"] == "none"
    assert not set(chosen) & set(left)


def test_the_files_of_the_page_are_there(staff: Client, make_session: MakeSession) -> None:
    page = staff.get(address(make_session())).text
    files = re.findall(r'"(/static/training/[^"]+)"', page)
    assert len(files) == 3
    folder = Path(__file__).parents[2] / "training"
    for file in files:
        assert (folder / file.removeprefix("/")).is_file()


def test_times_are_told_as_they_were(staff: Client, make_session: MakeSession) -> None:
    session = make_session(
        state=State.RUNNING, started_at=timezone.now(), current_epoch=2, steps_done=7, steps_planned=9
    )
    page = staff.get(address(session)).text
    assert "2 of 3" in page
    assert "7 of 9" in page
    assert 'value="0.7778"' in page
