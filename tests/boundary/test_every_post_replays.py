"""Walks the resolver, so that a later POST cannot forget the Idempotency-Key."""

import io
from typing import Any

import numpy as np
import pytest
from django.urls import get_resolver, resolve
from django.utils.regex_helper import normalize
from drf_spectacular.generators import SchemaGenerator
from rest_framework.test import APIClient

from authkeys.models import KeptAnswer
from registry.models import Dataset
from tests.boundary.test_every_path_is_closed import patterns
from training.models import TrainingSession
from training.state import State

CONFIG = {"model_architecture": "mlp", "dataset_name": "tiny", "learning_rate": 0.01, "batch_size": 8, "epochs": 1}
KNOWN = "sess_0123456789ab"
HEADERS = ("Content-Type", "Allow", "Vary")


def posts() -> list[str]:
    """A path below /api/ for each pattern that takes a POST; its ids are those of a session that there may be."""
    found = set()
    for expression, view in patterns(get_resolver()):
        actions = getattr(view, "actions", None)
        takes_post = "post" in actions if actions else hasattr(getattr(view, "cls", None), "post")
        if not expression.startswith("api/") or not takes_post:
            continue
        ids = (KNOWN, "1")
        paths = ["/" + form % dict.fromkeys(names, id) for id in ids for form, names in normalize(expression)]
        found.add(next(path for path in paths if resolve(path).func is view))
    return sorted(found)


POSTS = posts()


@pytest.fixture
def dataset(db: None) -> Dataset:
    """Sixteen rows in two classes."""
    file = io.BytesIO()
    np.savez(file, x=np.arange(64, dtype=np.float32).reshape(16, 4), y=np.arange(16) % 2)
    return Dataset.objects.store("tiny", [file.getvalue()])


def test_the_walk_finds_the_posts_of_the_contract() -> None:
    paths = {f"/api/v1/training/{KNOWN}/stop", "/api/v1/training/start", "/api/v1/models", "/api/v1/datasets"}
    assert paths <= set(POSTS)


def check_replay(client: APIClient, path: str, body: Any) -> Any:
    """Send the same twice, and something else once, and give the first answer."""
    key: dict[str, Any] = {"HTTP_IDEMPOTENCY_KEY": "one"}
    first, second = (client.post(path, body, format="json", **key) for _ in range(2))
    other = client.post(f"{path}?other", body, format="json", **key)
    assert first.status_code < 500
    assert second.status_code == first.status_code
    is_key = isinstance(first.json(), dict) and first.json().get("key")
    assert second.json() == (first.json() | {"key": None} if is_key else first.json())  # which is shown once
    assert [second.get(name) for name in HEADERS] == [first.get(name) for name in HEADERS]
    assert ("Idempotency-Replayed" in first, second.get("Idempotency-Replayed")) == (False, "true")
    assert (other.status_code, other.json()["error"]["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert KeptAnswer.objects.count() == 1
    return first


@pytest.mark.parametrize("path", POSTS)
def test_every_post_gives_its_first_answer_again(client: APIClient, path: str) -> None:
    """With nothing in the database, and so mostly an error."""
    check_replay(client, path, None)


@pytest.mark.parametrize("state", [State.QUEUED, State.RUNNING, State.PAUSED, State.COMPLETED])
@pytest.mark.parametrize("path", [path for path in POSTS if KNOWN in path])
def test_every_post_to_a_session_is_carried_out_once(
    client: APIClient, dataset: Dataset, path: str, state: State
) -> None:
    session = TrainingSession.objects.submit(CONFIG, by="test")
    TrainingSession.objects.filter(pk=session.pk).update(session_id=KNOWN, state=state)
    check_replay(client, path, None)
    before = [*TrainingSession.objects.values_list("session_id", "state", "wish")], session.transitions.count()
    client.post(path, None, format="json", HTTP_IDEMPOTENCY_KEY="one")
    assert before == (
        [*TrainingSession.objects.values_list("session_id", "state", "wish")],
        session.transitions.count(),
    )


def test_every_post_of_the_document_takes_the_header_and_nothing_else_does() -> None:
    paths = SchemaGenerator().get_schema(request=None, public=True)["paths"]  # type: ignore[no-untyped-call]
    for methods in paths.values():
        for method, operation in methods.items():
            names = [entry["name"] for entry in operation.get("parameters", []) if entry["in"] == "header"]
            assert ("Idempotency-Key" in names) == (method == "post")
