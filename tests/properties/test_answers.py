"""What every answer has in common."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import psutil
import pytest
from django.conf import settings
from hypothesis import strategies as st
from pytest_django import Settings

from authkeys.models import APIKey
from registry.models import Dataset, Model
from tests.properties.api import ROOT, Api, read
from tests.properties.calls import MAX_UPLOAD_BYTES, Call, any_calls, bad_calls, good_calls, our_faults
from tests.properties.inputs import CONFIG
from tests.properties.rules import for_all
from tests.properties.runs import Run
from training.models import LogEntry, Metric, TrainingSession

pytestmark = pytest.mark.django_db


@pytest.fixture
def existing(api: Api, datasets: None, settings: Settings) -> Iterator[dict[str, str]]:
    """Something of everything that a call may be about."""
    settings.MAX_UPLOAD_BYTES = MAX_UPLOAD_BYTES
    api.upload_model("weights", b"weights")
    ended = api.start(CONFIG)
    api.post(f"/training/{ended}/stop")
    running = api.start(CONFIG)
    with Run() as run:
        run.journal.epoch(1, loss=1.0, accuracy=0.5, val_loss=None, val_accuracy=None)
        run.journal.log("INFO", "epoch 1 is done")
        run.poll()
        queued = api.start(CONFIG)
        yield {
            "queued": queued,
            "running": running,
            "ended": ended,
            "model": "weights",
            "dataset": "rows",
            "other_key": str(APIKey.objects.create_key("other")[0].pk),
        }


def everything_stored() -> list[Any]:
    """All that a client could change: rows and files."""
    tables = (TrainingSession, Metric, LogEntry, Model, Dataset)
    rows = [list(table._default_manager.order_by("pk").values()) for table in tables]
    folders = (settings.MODELS_DIR, settings.DATASETS_DIR, settings.UPLOADS_DIR)
    return [*rows, *(sorted(Path(folder).iterdir()) for folder in folders)]


def parse_strictly(content: bytes) -> Any:
    def refuse(constant: str) -> NoReturn:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(content, parse_constant=refuse)


def failing(*_: object, **__: object) -> NoReturn:
    raise OSError("the hardware does not answer")


def make(call: Call, api: Api, existing: dict[str, str]) -> tuple[Any, bytes]:
    """The answer to a call, and what it holds. A call that is to show a fault of ours meets one."""
    with pytest.MonkeyPatch.context() as patch:
        if call.status == 500:
            patch.setattr(psutil, "virtual_memory", failing)
        answer = call.make(api.client, existing)
        return answer, read(answer)


# Bad calls change nothing, so any number of them can come before one of any kind.
several_bad_calls = st.lists(bad_calls(), min_size=5, max_size=10)


@for_all(bad=several_bad_calls, last=good_calls() | our_faults | any_calls())
def test_property_30_every_answer_but_a_file_is_valid_json(
    api: Api, existing: dict[str, str], bad: list[Call], last: Call
) -> None:
    for call in (*bad, last):
        answer, content = make(call, api, existing)
        if answer.streaming:
            assert answer.status_code == 200
            if call.path.partition("?")[0].endswith("/tensorboard"):
                assert content[:2] == (b"" if call.method == "HEAD" else b"PK")
            elif call.path.partition("?")[0].endswith("/logs/download"):
                assert content == b"" or content[:4] == b"1 20"
            elif call.path.partition("?")[0].endswith("/audit/export"):
                assert content[:3] == (b"" if call.method == "HEAD" else b"id,")
            else:
                assert call.path.startswith(f"{ROOT}/models/{{model}}")
                assert content == (b"" if call.method == "HEAD" else b"weights")
        elif call.method != "HEAD":
            assert "json" in answer["Content-Type"]
            parse_strictly(content)


@for_all(bad=several_bad_calls, last=good_calls() | our_faults | any_calls())
def test_property_31_status_codes_tell_the_truth(
    api: Api, existing: dict[str, str], bad: list[Call], last: Call
) -> None:
    """2xx: it is done; 4xx: the request was wrong, and nothing is changed; 5xx: the fault is ours, and only then."""
    before = everything_stored()
    for call in (*bad, last):
        answer, _ = make(call, api, existing)

        if call.status is None:
            assert answer.status_code < 500
        else:
            assert answer.status_code == call.status
        if answer.status_code < 300:
            assert call.done(api, existing)
        else:
            assert everything_stored() == before


@for_all(bad=several_bad_calls, last=our_faults | any_calls())
def test_property_32_every_error_has_a_code_and_a_message(
    api: Api, existing: dict[str, str], bad: list[Call], last: Call
) -> None:
    for call in (*bad, last):
        answer, content = make(call, api, existing)
        if answer.status_code < 400 or call.method == "HEAD":
            continue
        body = json.loads(content)
        assert body.keys() == {"error", "detail"}
        assert body["error"].keys() == {"code", "message", "details"}
        assert re.fullmatch("[A-Z]+(_[A-Z]+)*", body["error"]["code"])
        assert body["error"]["message"] == body["detail"]
        assert body["detail"].strip()
        assert isinstance(body["error"]["details"], dict)
        if answer.status_code >= 500:
            assert body["error"]["details"]["request_id"] in body["detail"]
            assert "hardware" not in content.decode()
