"""Report and record of a session, from the journal to the answer."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from tests.training.conftest import MakeSession
from training.ingest import ingest
from training.journal import JournalWriter
from training.state import State

BASE = "/api/v1/training"

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("what", ["report", "record"])
def test_it_is_null_until_the_trainer_wrote_it(client: APIClient, make_session: MakeSession, what: str) -> None:
    session = make_session(state=State.RUNNING)
    path = f"{BASE}/{session.session_id}/{what}"
    before = client.get(path)
    assert (before.status_code, before.content) == (200, b"null")
    session.directory.create()
    writer = JournalWriter(session.directory.events, 1)
    document: dict[str, Any] = {"classes": [{"name": "ä", "f1": 0.1 + 0.2, "roc_auc": None}], "deep": {"er": [[1, -2]]}}
    getattr(writer, what)(document)
    writer.close()
    ingest(session)
    assert client.get(path).json() == document


def test_lists_do_not_read_what_they_do_not_show(client: APIClient, make_session: MakeSession) -> None:
    make_session(report={"long": ["text"] * 1000})
    with CaptureQueriesContext(connection) as queries:
        for path in ("sessions", "queue"):
            assert len(client.get(f"{BASE}/{path}").json()) == 1
    reads = [query["sql"] for query in queries if 'FROM "sessions"' in query["sql"]]
    assert reads
    assert not [sql for sql in reads if "report" in sql or '"record"' in sql]
