"""Idempotency-Key on what makes sessions: one session for each key, whoever comes at once and whatever fails."""

import contextlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, connection
from django_q.models import OrmQ
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from rest_framework.test import APIClient

from authkeys.models import APIKey, KeptAnswer
from registry.models import Dataset
from tests.training.conftest import CONFIG, MakeSession
from tests.training.test_restart import save_checkpoint
from training import installation
from training.models import TrainingSession
from training.state import State

BASE = "/api/v1/training"
THREADS = 8

pytestmark = pytest.mark.django_db


def start(client: APIClient, key: str, body: Any = CONFIG) -> Any:
    return client.post(f"{BASE}/start", body, format="json", HTTP_IDEMPOTENCY_KEY=key)


def test_a_start_that_is_sent_again_is_the_same_session(client: APIClient, dataset: Dataset) -> None:
    first, second = start(client, "one"), start(client, "one")
    assert first.status_code == 200
    assert second.json() == first.json()
    session = TrainingSession.objects.get()
    assert session.session_id == first.json()["session_id"]
    assert session.transitions.get().by == f"key:{APIKey.objects.get().prefix}"
    assert start(client, "one", CONFIG | {"epochs": 4}).status_code == 422
    assert start(client, "two").json()["session_id"] != session.session_id
    assert TrainingSession.objects.count() == 2


def test_a_refused_configuration_is_refused_again_though_it_would_be_taken_now(client: APIClient, key: str) -> None:
    refused = start(client, "one")  # there is no such dataset yet
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "INVALID_CONFIG")
    Dataset.objects.store("tiny", [b"a,label\n1,x\n2,y\n"])
    assert start(client, "one").content == refused.content
    assert start(client, "two").status_code == 200


@hypothesis_settings(max_examples=25)
@given(
    config=st.fixed_dictionaries(
        {"epochs": st.integers(0, 2), "learning_rate": st.sampled_from([0.01, 0.1, 2]), "notes": st.text(max_size=5)}
    ),
    tries=st.integers(2, 4),
)
def test_any_configuration_is_answered_alike_however_often_it_is_sent(
    client: APIClient, dataset: Dataset, config: dict[str, Any], tries: int
) -> None:
    KeptAnswer.objects.all().delete()
    before = TrainingSession.objects.count()
    answers = [start(client, "one", CONFIG | config) for _ in range(tries)]
    assert len({(answer.status_code, answer.content) for answer in answers}) == 1
    assert TrainingSession.objects.count() == before + (answers[0].status_code == 200)


@pytest.mark.django_db(transaction=True)
def test_of_many_starts_at_once_with_one_key_one_session_comes(key: str, dataset: Dataset) -> None:
    def start_one(number: int) -> Any:
        try:
            return start(APIClient(HTTP_X_API_KEY=key), f"key {number % 2}")
        finally:
            connection.close()

    with ThreadPoolExecutor(THREADS) as pool:
        answers = list(pool.map(start_one, range(THREADS)))
    assert {answer.status_code for answer in answers} == {200}
    ids = [{answer.json()["session_id"] for answer in answers[turn::2]} for turn in (0, 1)]
    assert [len(found) for found in ids] == [1, 1]
    assert {session.session_id for session in TrainingSession.objects.all()} == ids[0] | ids[1]
    assert OrmQ.objects.count() == 2  # the bell rang for each session, and for no replay


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("call", ["start", "restart", "fork"])
def test_no_session_comes_when_its_answer_cannot_be_kept(
    client: APIClient, make_session: MakeSession, call: str
) -> None:
    earlier = make_session(state=State.STOPPED)
    save_checkpoint(earlier, step=10, epoch=2)
    path = f"{BASE}/start" if call == "start" else f"{BASE}/{earlier.session_id}/restart"
    body: Any = {"start": CONFIG, "restart": {}, "fork": {"from_checkpoint": "newest"}}[call]
    client.raise_request_exception = False

    def post() -> Any:
        return client.post(path, body, format="json", HTTP_IDEMPOTENCY_KEY="one")

    with refusing_inserts("kept_answers"):
        assert post().status_code >= 500
    assert TrainingSession.objects.get() == earlier
    assert list(earlier.directory.root.parent.iterdir()) == [earlier.directory.root]
    first = post()
    assert first.status_code == 200
    assert post().content == first.content
    assert TrainingSession.objects.exclude(pk=earlier.pk).get().session_id == first.json()["session_id"]


@contextlib.contextmanager
def refusing_inserts(table: str) -> Any:
    """The database refuses new rows of a table, as a full disk might."""

    def refuse(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith("INSERT") and f'"{table}"' in sql:
            raise DatabaseError("disk full")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(refuse):
        yield


@pytest.mark.django_db(transaction=True)
def test_a_restart_that_is_sent_again_is_the_same_session(client: APIClient, make_session: MakeSession) -> None:
    earlier = make_session(state=State.FAILED)
    path = f"{BASE}/{earlier.session_id}/restart"
    first, second = (client.post(path, {}, format="json", HTTP_IDEMPOTENCY_KEY="one") for _ in range(2))
    assert first.status_code == 200
    assert (second.content, second["Idempotency-Replayed"]) == (first.content, "true")
    assert TrainingSession.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_nobody_waits_for_the_database_while_the_engine_is_asked_for_its_catalogue(
    client: APIClient, dataset: Dataset, monkeypatch: pytest.MonkeyPatch, data_dir: Path
) -> None:
    known = {"architectures": [entry.__dict__ for entry in installation.catalogue().values()], "left_out": []}
    held = []

    def ask_engine() -> Any:
        held.append(connection.in_atomic_block)
        return known

    monkeypatch.setattr(installation, "_ask_engine", ask_engine)
    installation._installation.cache_clear()
    (data_dir / "catalogue.json").unlink(missing_ok=True)
    assert start(client, "one").status_code == 200
    assert held == [False]
