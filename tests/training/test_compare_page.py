"""Sessions side by side: chosen in the list, their figures in charts and their differences in tables."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from tests.training.conftest import MakeSession
from training import examples
from training.comparison import NOTHING, Difference, as_text, differences, rows_of
from training.models import TrainingSession

SESSIONS = "/admin/training/trainingsession/"
COMPARE = f"{SESSIONS}compare/"


@pytest.fixture
def staff(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root", password="a password of the tests"))
    return client


def compared(client: Client, *sessions: TrainingSession) -> Any:
    return client.get(COMPARE, {"sessions": ",".join(map(str, sessions))})


def test_sessions_are_chosen_in_the_list(staff: Client, make_session: MakeSession) -> None:
    sessions = [make_session(), make_session({"learning_rate": 0.5}), make_session()]
    chosen = {"action": "compare", "_selected_action": [sessions[0].pk, sessions[1].pk]}
    answer = staff.post(SESSIONS, chosen, follow=True)
    assert answer.redirect_chain == [(f"{COMPARE}?sessions={sessions[0]},{sessions[1]}", 302)]
    assert sessions[1].session_id in answer.text
    assert sessions[2].session_id not in answer.text


@pytest.mark.parametrize("count", [1, 9])
def test_one_is_no_comparison_and_many_are_too_many(staff: Client, make_session: MakeSession, count: int) -> None:
    sessions = [make_session() for _ in range(count)]
    chosen = {"action": "compare", "_selected_action": [session.pk for session in sessions]}
    assert f"Choose 2 to 8 sessions to compare, not {count}." in staff.post(SESSIONS, chosen, follow=True).text
    assert "Choose 2 to 8 sessions" in staff.get(COMPARE, {"sessions": ",".join(map(str, sessions))}, follow=True).text


def test_an_unknown_session_is_named(staff: Client, make_session: MakeSession) -> None:
    for other in ("sess_000000000000", "<b>", "\0"):
        answer = staff.get(COMPARE, {"sessions": f"{make_session()},{other}"}, follow=True)
        assert answer.status_code == 200
        assert "There is no session" in answer.text
        assert "<b>" not in answer.text
    assert "not 0." in staff.get(COMPARE, follow=True).text
    session = make_session()
    assert "not 1." in staff.get(COMPARE, {"sessions": f"{session},{session}"}, follow=True).text


def test_the_configurations_differences_are_a_table(staff: Client, make_session: MakeSession) -> None:
    one = make_session({"learning_rate": 0.0625, "model_args": {"width": 16}, "notes": "<i>mine</i>"})
    other = make_session({"learning_rate": 0.25, "model_args": {"width": 32}})
    page = compared(staff, one, other)
    assert page.context["configurations"] == [
        ("learning_rate", ["0.0625", "0.25"]),
        ("model_args.width", ["16", "32"]),
        ("notes", ["<i>mine</i>", NOTHING]),
    ]
    for shown in ("0.0625", "0.25", "model_args.width", "&lt;i&gt;mine"):
        assert shown in page.text
    assert "<i>mine" not in page.text
    assert "batch_size" not in page.text
    assert "The machines and programs are the same" in page.text


def test_the_same_configuration_is_called_the_same(staff: Client, make_session: MakeSession) -> None:
    page = compared(staff, make_session(), make_session()).text
    assert "The configurations are the same." in page


def test_records_that_differ_are_shown(staff: Client, make_session: MakeSession) -> None:
    other = examples.RECORD | {"device": "cuda:0"}
    page = compared(staff, make_session(record=examples.RECORD), make_session(record=other))
    assert page.context["environments"] == [("device", ["cpu", "cuda:0"])]


def test_the_best_figures_are_shown(staff: Client, make_session: MakeSession) -> None:
    one, other = make_session(), make_session()
    for epoch, (loss, accuracy) in enumerate([(0.75, 0.5), (0.3125, 0.875), (0.5, 0.625)], 1):
        one.metrics.create(epoch=epoch, val_loss=loss, val_accuracy=accuracy, timestamp=timezone.now())
    page = compared(staff, one, other).text
    assert "0.3125" in page
    assert "0.8750" in page
    assert "0.7500" not in page


def test_comparing_is_for_those_who_may_see_sessions(make_session: MakeSession) -> None:
    sessions = [make_session(), make_session()]
    client = Client()
    user = User.objects.create_user("clerk", password="a password of the tests", is_staff=True)
    client.force_login(user)
    assert compared(client, *sessions).status_code == 403
    user.user_permissions.set(Permission.objects.filter(codename="view_trainingsession"))
    assert compared(client, *sessions).status_code == 200
    assert compared(Client(), *sessions).status_code == 302


values = st.none() | st.booleans() | st.integers(0, 2) | st.text(max_size=2) | st.lists(st.integers(0, 1), max_size=2)
documents = st.dictionaries(st.text("ab", max_size=2), values | st.dictionaries(st.text("ab", max_size=1), values))


@given(st.lists(documents, min_size=1, max_size=4))
def test_what_is_no_difference_is_the_same_everywhere(given: list[dict[str, Any]]) -> None:
    found = {row.name: row.values for row in differences(given)}
    tables = [rows_of(document) for document in given]
    for name in {name for table in tables for name in table}:
        seen = [repr(table.get(name)) for table in tables]
        assert (len(set(seen)) > 1) == (name in found)
        if name in found:
            assert list(map(repr, found[name])) == seen


@pytest.mark.parametrize(("value", "text"), [
    (None, NOTHING), ("", NOTHING), ([], NOTHING), ({}, NOTHING),
    (True, "true"), (0, "0"), (0.001, "0.001"), ("a b", "a b"), (["a", "b"], "a, b"),
    ([{"name": "é"}], '[{"name": "é"}]'),
])  # fmt: skip
def test_values_are_written_for_people(value: Any, text: str) -> None:
    assert as_text(value) == text


def test_true_is_not_one() -> None:
    assert differences([{"a": True, "b": 1}, {"a": 1, "b": 1.0}]) == [Difference("a", [True, 1])]
