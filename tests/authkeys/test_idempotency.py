"""Idempotency-Key: what is kept, for whom, for how long, and what happens to those who come at once."""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django import Settings
from rest_framework.test import APIClient

from authkeys import keys
from authkeys.idempotency import KeyInUse, Submission
from authkeys.models import APIKey, KeptAnswer
from authkeys.tasks import forget_kept_answers
from tests.authkeys.idempotent_views import SlowView

REPLAYED = "Idempotency-Replayed"

in_threads = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def views(settings: Settings) -> Iterator[None]:
    settings.ROOT_URLCONF = "tests.authkeys.idempotent_views"
    SlowView.may_go_on.set()
    yield
    SlowView.may_go_on.set()
    while SlowView.arrived.acquire(blocking=False):
        pass


def send(client: APIClient, key: str, body: Any = None, path: str = "/make", **headers: Any) -> Any:
    client.raise_request_exception = False
    return client.post(path, {} if body is None else body, format="json", HTTP_IDEMPOTENCY_KEY=key, **headers)


def made() -> int:
    return APIKey.objects.filter(name__startswith="made").count()


def check_same(first: Any, second: Any) -> None:
    assert second.status_code == first.status_code
    assert second.content == first.content
    assert {name: first[name] for name in ("Content-Type", "Allow", "Vary")} == {
        name: second[name] for name in ("Content-Type", "Allow", "Vary")
    }
    assert REPLAYED not in first
    assert second[REPLAYED] == "true"


@pytest.mark.parametrize("path", ["/make", "/slow"])
def test_the_first_answer_is_given_again(client: APIClient, path: str) -> None:
    first = send(client, "one", path=path)
    assert first.status_code == 200
    check_same(first, send(client, "one", path=path))
    check_same(first, send(client, " one\t", path=path))  # as a server strips it from a header
    assert made() == 1
    assert send(client, "two", path=path).json() != first.json()
    assert made() == 2


def test_without_a_key_nothing_is_kept(client: APIClient) -> None:
    answers = [client.post(path, {}, format="json") for path in ("/make", "/make", "/slow", "/slow")]
    assert [answer.status_code for answer in answers] == [200] * 4
    assert made() == 4
    assert not KeptAnswer.objects.exists()


@pytest.mark.parametrize("path", ["/make", "/slow"])
@pytest.mark.parametrize("outcome", ["400", "404"])
def test_an_error_of_the_clients_is_given_again_and_its_changes_are_undone(
    client: APIClient, path: str, outcome: str
) -> None:
    first = send(client, "one", {"outcome": outcome}, path)
    assert first.status_code == int(outcome)
    check_same(first, send(client, "one", {"outcome": outcome}, path))
    assert made() == 0


@pytest.mark.parametrize("path", ["/make", "/slow"])
@pytest.mark.parametrize("outcome", ["403", "429", "500", "503", "unrenderable"])
def test_what_may_pass_is_not_kept_and_its_changes_are_undone(client: APIClient, path: str, outcome: str) -> None:
    for _ in range(2):
        answer = send(client, "one", {"outcome": outcome}, path)
        assert answer.status_code == (500 if outcome == "unrenderable" else int(outcome))
        assert REPLAYED not in answer
        assert made() == 0
    assert not KeptAnswer.objects.exists()
    assert send(client, "one", path=path).status_code == 200  # the key is free for anything


@pytest.mark.parametrize(
    ("path", "body"), [("/make?a=1", {}), ("/slow", {}), ("/make", {"a": 1}), ("/make", [{}]), ("/make", {"a": None})]
)
def test_another_request_under_the_key_is_refused(client: APIClient, path: str, body: Any) -> None:
    send(client, "one")
    answer = send(client, "one", body, path)
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "IDEMPOTENCY_KEY_REUSED"
    assert made() == 1
    assert send(client, "one")[REPLAYED] == "true"


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
bodies = st.dictionaries(texts.filter(lambda name: name != "outcome"), json_values, max_size=4)


@hypothesis_settings(max_examples=100)
@given(first=bodies, second=bodies)
def test_a_body_is_another_one_exactly_when_its_meaning_is(client: APIClient, first: Any, second: Any) -> None:
    KeptAnswer.objects.all().delete()
    before = made()
    answer = send(client, "one", first)
    reordered = {name: first[name] for name in reversed(first)}
    check_same(answer, send(client, "one", reordered))
    assert send(client, "one", second).status_code == (200 if repr_of(first) == repr_of(second) else 422)
    assert made() == before + 1


def repr_of(value: Any) -> str:
    """Tells 1 from true and from 1.0, as == does not."""
    if isinstance(value, dict):
        return repr(sorted((name, repr_of(inner)) for name, inner in value.items()))
    return repr([repr_of(inner) for inner in value]) if isinstance(value, list) else repr(value)


@pytest.mark.parametrize("value", ["a", "x" * 255, "8e03978e-40d5-43dd-bc93-6894a57f9324", '"quoted"', "a b", "!~,;="])
def test_a_good_key_is_taken(client: APIClient, value: str) -> None:
    check_same(send(client, value), send(client, value))


@pytest.mark.parametrize(
    "value", ["", " ", "\t", "x" * 256, "é", "a\x00", "a\nb", "a\tb", "\x7f", "€", "\udcff", "x" * 10**6]
)
@pytest.mark.parametrize("path", ["/make", "/slow"])
def test_a_bad_key_is_refused(client: APIClient, path: str, value: str) -> None:
    answer = send(client, value, path=path)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "INVALID_REQUEST"
    assert list(answer.json()["error"]["details"]) == ["Idempotency-Key"]
    assert made() == 0
    assert not KeptAnswer.objects.exists()


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [(b"{", "application/json", 400), (b"x=1", "application/x-www-form-urlencoded", 415), (b"{}", "text/strange", 415)],
)
def test_a_body_that_nobody_can_read_takes_no_key(
    client: APIClient, body: bytes, content_type: str, status: int
) -> None:
    answer = client.post("/make", body, content_type=content_type, HTTP_IDEMPOTENCY_KEY="one")
    assert answer.status_code == status
    assert send(client, "one").status_code == 200


def test_everybody_has_keys_of_their_own(client: APIClient, settings: Settings) -> None:
    settings.API_KEYS = ["first", "second"]
    other = APIKey.objects.create_key("tests")[1]  # of the same name as the other
    staff = APIClient(), APIClient()
    for name, browser in zip(("ada", "bob"), staff, strict=True):
        browser.force_login(User.objects.create(username=name, is_staff=True))
    clients = [client, *staff, *(APIClient(HTTP_X_API_KEY=key) for key in ("first", "second", other))]
    bodies = [{"number": number} for number in range(len(clients))]  # one that saw another's would be refused
    first = [send(one, "one", body) for one, body in zip(clients, bodies, strict=True)]
    assert [answer.status_code for answer in first] == [200] * len(clients)
    for one, body, answer in zip(clients, bodies, first, strict=True):
        check_same(answer, send(one, "one", body))
    prefixes = [f"key:{row.prefix}" for row in APIKey.objects.filter(name="tests").order_by("id")]
    assert sorted(KeptAnswer.objects.values_list("by", flat=True)) == sorted(
        [*prefixes, "user:ada", "user:bob", "key:env-1", "key:env-2"]
    )


def test_who_may_not_come_in_learns_nothing_of_a_key(client: APIClient, stranger: APIClient, key: str) -> None:
    send(client, "one")
    assert send(stranger, "one").status_code == 401
    APIKey.objects.get(key_hash=keys.digest(key.encode())).revoke()
    assert send(client, "one").status_code == 401


@pytest.mark.parametrize("method", ["get", "put", "patch", "delete", "head", "options"])
def test_other_methods_take_no_notice_of_a_key(client: APIClient, method: str) -> None:
    for key in ("one", "", "é"):
        plain = getattr(client, method)("/read")
        assert getattr(client, method)("/read", HTTP_IDEMPOTENCY_KEY=key).status_code == plain.status_code
    assert client.post("/read", HTTP_IDEMPOTENCY_KEY="one").status_code == 405
    assert not KeptAnswer.objects.exists()


@pytest.mark.parametrize("path", ["/make", "/slow"])
def test_an_answer_is_kept_for_a_time_and_then_forgotten(client: APIClient, settings: Settings, path: str) -> None:
    settings.IDEMPOTENCY_HOURS = 2
    first = send(client, "one", path=path)
    send(client, "other", path=path)
    age(KeptAnswer.objects.filter(key="one"), hours=1.99)
    assert forget_kept_answers() == 0
    check_same(first, send(client, "one", path=path))
    age(KeptAnswer.objects.filter(key="one"), hours=2.01)
    second = send(client, "one", {"new": True}, path=path)  # before the chore came by
    assert (second.status_code, REPLAYED in second) == (200, False)
    assert second.json() != first.json()
    check_same(second, send(client, "one", {"new": True}, path=path))
    age(KeptAnswer.objects.filter(key="one"), hours=2.01)
    assert forget_kept_answers() == 1
    assert KeptAnswer.objects.get().key == "other"


def age(answers: Any, hours: float) -> None:
    answers.update(created_at=timezone.now() - timedelta(hours=hours))


@in_threads
def test_many_at_once_are_one(key: str) -> None:
    """The second one waits for the first, and gets its answer."""
    answers = send_at_once(key, 8)
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert sorted(REPLAYED in answer for answer in answers) == [False] + [True] * 7
    assert made() == 1


@in_threads
def test_of_many_at_once_that_differ_one_is_carried_out(key: str) -> None:
    answers = send_at_once(key, 8, differing=True)
    assert sorted(answer.status_code for answer in answers) == [200] + [422] * 7
    assert made() == 1


def send_at_once(key: str, count: int, differing: bool = False) -> list[Any]:
    def send_one(number: int) -> Any:
        try:
            body = {"number": number} if differing else {}
            return send(APIClient(HTTP_X_API_KEY=key), "one", body)
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(send_one, range(count)))


def send_slowly(key: str) -> Any:
    """What a thread of its own sends to the slow view, under the key "one"."""
    try:
        return send(APIClient(HTTP_X_API_KEY=key), "one", path="/slow")
    finally:
        connection.close()


@in_threads
def test_while_a_slow_one_is_carried_out_others_of_its_key_are_told_to_wait(key: str) -> None:
    SlowView.may_go_on.clear()

    client = APIClient(HTTP_X_API_KEY=key)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(send_slowly, key)
        try:
            assert SlowView.arrived.acquire(timeout=60)
            for body in ({}, {"other": True}):
                refused = send(client, "one", body, path="/slow")
                assert refused.status_code == 409
                assert refused.json()["error"]["code"] == "IDEMPOTENCY_KEY_IN_USE"
                assert int(refused["Retry-After"]) > 0
            assert send(client, "two").status_code == 200  # the database is free for everybody meanwhile
        finally:
            SlowView.may_go_on.set()
        first = slow.result()
    check_same(first, send(client, "one", path="/slow"))
    assert made() == 2


@in_threads
def test_a_slow_one_whose_key_was_taken_meanwhile_changes_nothing(key: str) -> None:
    SlowView.may_go_on.clear()

    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(send_slowly, key)
        try:
            assert SlowView.arrived.acquire(timeout=60)
            quick = send(APIClient(HTTP_X_API_KEY=key), "one")
            assert quick.status_code == 200
        finally:
            SlowView.may_go_on.set()
        refused = slow.result()
    assert refused.status_code == 409
    assert refused.json()["error"]["code"] == "IDEMPOTENCY_KEY_IN_USE"
    assert made() == 1
    check_same(quick, send(APIClient(HTTP_X_API_KEY=key), "one"))


def test_the_dead_hold_no_key() -> None:
    submission = Submission("somebody", "one", "", "", "")
    reading_end, writing_end = os.pipe()
    child = os.fork()
    if child == 0:
        with submission.claim():
            os.write(writing_end, b"1")
            time.sleep(600)
        os._exit(1)
    try:
        os.read(reading_end, 1)
        with pytest.raises(KeyInUse), submission.claim():
            pass
        with Submission("somebody else", "one", "", "", "").claim():
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reading_end)
        os.close(writing_end)
    with submission.claim(), pytest.raises(KeyInUse), submission.claim():
        pass
    with submission.claim():
        pass


def test_the_admin_shows_what_is_kept_and_lets_nobody_change_it(client: APIClient, settings: Settings) -> None:
    send(client, "one")
    settings.ROOT_URLCONF = "servermgmt.urls"
    browser = Client()
    browser.force_login(User.objects.create_superuser("root", password="a password of the tests"))
    row = KeptAnswer.objects.get()
    listed = browser.get(reverse("admin:authkeys_keptanswer_changelist"), {"q": "one"}).text
    page = browser.get(reverse("admin:authkeys_keptanswer_change", args=[row.pk])).text
    assert row.by in listed
    assert "/make" in listed
    assert "made 1" in page
    assert row.holder not in page
    for action in ("change", "delete"):
        path = reverse(f"admin:authkeys_keptanswer_{action}", args=[row.pk])
        assert browser.post(path, {"status": 500, "post": "yes"}).status_code == 403
    assert KeptAnswer.objects.get().status == 200
    assert reverse("admin:authkeys_keptanswer_changelist") in browser.get("/admin/").text
