"""Sessions: started, stopped, ended, and what is known of them."""

import re
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import strategies as st
from pytest_django import Settings

from registry.models import Dataset
from tests.conftest import Script
from tests.properties.api import ROOT, Api
from tests.properties.inputs import CONFIG, FITTING, configs, names, printed, session_ids, texts
from tests.properties.rules import for_all
from tests.properties.runs import Run, supervised
from training.failures import REMEDIES
from training.models import TrainingSession
from training.supervisor import Supervisor

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("datasets")]


@for_all(wanted=st.lists(configs(), min_size=1, max_size=4))
def test_property_01_a_valid_configuration_makes_a_session_with_its_own_id(
    api: Api, wanted: list[dict[str, Any]]
) -> None:
    answers = [api.post("/training/start", config) for config in wanted]

    ids = [answer["session_id"] for answer in answers]
    assert len(set(ids)) == len(wanted)
    assert all(re.fullmatch("sess_[0-9a-f]{12}", session_id) for session_id in ids)
    assert all(answer["status"] in ("queued", "running") and answer["message"] for answer in answers)
    sessions = {entry["session_id"]: entry["config"] for entry in api.get("/training/sessions")}
    assert sessions.keys() == set(ids)
    assert all(sessions[session_id].items() >= config.items() for session_id, config in zip(ids, wanted, strict=True))


@pytest.mark.slow
@for_all(config=configs(), stop_at_once=st.booleans(), requests=st.integers(1, 3))
def test_property_02_a_stop_ends_a_running_session_gracefully_and_keeps_its_weights(
    api: Api, script: Script, config: dict[str, Any], stop_at_once: bool, requests: int
) -> None:
    script("wait")
    session_id = api.start(config)
    session = TrainingSession.objects.claim_next(by="worker")
    assert session is not None
    with supervised(session) as supervisor:
        supervisor.poll()
        while not stop_at_once and api.status(session_id)["current_epoch"] is None:
            take_a_turn(supervisor)
        for _ in range(requests):
            assert api.post(f"/training/{session_id}/stop")["message"]
        while api.status(session_id)["state"] == "running":
            take_a_turn(supervisor)
        assert supervisor.process is not None
        assert supervisor.process.wait() == 0

    status = api.status(session_id)
    assert (status["state"], status["error_message"], status["current_epoch"]) == ("stopped", None, 1)
    assert status["end_time"]
    assert (session.directory.weights / "model.pt").read_bytes() == f"weights of {session_id}".encode()
    assert len(api.get(f"/training/{session_id}/history")) == 1
    assert api.client.post(f"{ROOT}/training/{session_id}/stop").status_code == 409


def take_a_turn(supervisor: Supervisor) -> None:
    supervisor.poll()
    time.sleep(0.005)


ACTS = ["begin", "epoch", "stop", "obey the stop", "complete", "fail", "die"]


@for_all(config=configs(most_epochs=4), story=st.lists(st.sampled_from(ACTS), max_size=10))
def test_property_03_status_is_the_true_state_in_every_state(
    api: Api, settings: Settings, config: dict[str, Any], story: list[str]
) -> None:
    settings.CRASH_ATTEMPTS = 1
    session_id = api.start(config)
    state, epoch, begun, stop_asked = "queued", 0, False, False
    with ExitStack() as stack:
        for act in ["look", *story]:
            if act == "begin" and state == "queued":
                run = stack.enter_context(Run())
                state, begun = "running", True
            elif act == "stop" and state == "queued":
                api.post(f"/training/{session_id}/stop")
                state = "stopped"
            elif state == "running":
                if act == "epoch" and epoch < config["epochs"]:
                    epoch += 1
                    run.journal.epoch(epoch, loss=1.0, accuracy=0.5, val_loss=1.0, val_accuracy=0.5)
                    run.poll()
                elif act == "stop":
                    api.post(f"/training/{session_id}/stop")
                    run.poll()
                    stop_asked = True  # it runs on until the trainer has let go
                elif act == "obey the stop" and stop_asked:
                    run.obey_stop()
                    state = "stopped"
                elif act == "complete":
                    run.complete()
                    state = "completed"
                elif act == "fail":
                    run.fail("bad_dataset", "The data is no good.")
                    state = "failed"
                elif act == "die":
                    run.die()
                    state = "stopped" if stop_asked else "failed"

            status = api.status(session_id)
            assert (status["session_id"], status["state"]) == (session_id, state)
            assert (status["current_epoch"], status["total_epochs"]) == (epoch or None, config["epochs"])
            assert (status["start_time"] is not None) == begun
            assert (status["end_time"] is not None) == (state in ("completed", "failed", "stopped"))
            assert bool(status["error_message"]) == (state == "failed")


@for_all(
    config=configs(),
    dataset_name=names().filter(lambda name: name not in FITTING),
    weights=st.lists(st.binary(min_size=1, max_size=2000), min_size=1, max_size=3),
)
def test_property_04_completed_means_a_model_in_the_registry(
    api: Api, config: dict[str, Any], dataset_name: str, weights: list[bytes]
) -> None:
    """Also when the same configuration is trained several times."""
    api.upload_dataset(dataset_name, Dataset.objects.get(name=config["dataset_name"]).path.read_bytes())
    config = config | {"dataset_name": dataset_name}
    ids = []
    for content in weights:
        ids.append(api.start(config))
        with Run() as run:
            run.complete(content)

    assert [api.status(session_id)["state"] for session_id in ids] == ["completed"] * len(ids)
    models = {model["session_id"]: model["name"] for model in api.get("/models")}
    assert sorted(models) == sorted(ids)
    for session_id, content in zip(ids, weights, strict=True):
        assert models[session_id].startswith(f"{config['model_architecture']}_{dataset_name}")
        assert api.download_model(models[session_id]) == content


@for_all(
    config=configs(),
    code=st.sampled_from(sorted(REMEDIES)),
    message=printed(),
    traceback=printed(),
    epochs=st.integers(0, 3),
    dies=st.booleans(),
)
def test_property_05_failed_means_an_error_message_and_an_error_log(
    api: Api,
    settings: Settings,
    config: dict[str, Any],
    code: str,
    message: str,
    traceback: str,
    epochs: int,
    dies: bool,
) -> None:
    """Whether the trainer says why it ends, or dies without a word."""
    settings.CRASH_ATTEMPTS = 1
    session_id = api.start(config)
    with Run() as run:
        for epoch in range(1, epochs + 1):
            run.journal.epoch(epoch, loss=1.0, accuracy=0.5, val_loss=None, val_accuracy=None)
        if dies:
            run.session.directory.console.write_text(traceback)
            run.die()
        else:
            run.fail(code, message, traceback)

    status = api.status(session_id)
    assert status["state"] == "failed"
    assert status["error_message"] if dies else status["error_message"] == message
    errors = [entry["message"] for entry in api.get(f"/training/{session_id}/logs") if entry["level"] == "ERROR"]
    assert any(traceback in error for error in errors)


NEAR_MISSES: list[Callable[[str], str]] = [
    str.upper,
    lambda known: known[:-1],
    lambda known: f"{known}0",
    lambda known: f" {known}",
    lambda known: f"{known}\n",
]


@for_all(session_id=session_ids() | texts(), near_miss=st.sampled_from(NEAR_MISSES))
def test_property_10_an_unknown_session_is_a_404(api: Api, session_id: str, near_miss: Callable[[str], str]) -> None:
    known = api.start(CONFIG)
    for unknown in (session_id, near_miss(known)):
        segment = quote(unknown, safe="")
        answers = [
            api.client.post(f"{ROOT}/training/{segment}/stop"),
            api.client.get(f"{ROOT}/training/{segment}/status"),
            api.client.get(f"{ROOT}/training/{segment}/metrics"),
            api.client.get(f"{ROOT}/training/{segment}/history"),
            api.client.get(f"{ROOT}/training/{segment}/logs"),
            api.client.delete(f"{ROOT}/training/queue/{segment}"),
        ]
        assert [answer.status_code for answer in answers] == [404] * len(answers)
    assert api.status(known)["state"] == "queued"


FATES = ["completed", "failed", "stopped", "cancelled", "running", "queued"]


@for_all(fates=st.lists(st.sampled_from(FATES), max_size=6))
def test_property_22_the_history_of_sessions_has_every_ended_session_with_its_final_state(
    api: Api, settings: Settings, fates: list[str]
) -> None:
    settings.MAX_CONCURRENT_SESSIONS = len(fates) + 1
    expected = {}
    with ExitStack() as stack:
        # What stays in the queue comes last: the queue is served in its order.
        for fate in sorted(fates, key=lambda fate: fate == "queued"):
            session_id = api.start(CONFIG)
            expected[session_id] = "stopped" if fate == "cancelled" else fate
            if fate == "cancelled":
                api.delete(f"/training/queue/{session_id}")
            elif fate != "queued":
                meet_fate(api, stack.enter_context(Run()), fate)

        entries = api.get("/training/sessions")
        assert [entry["session_id"] for entry in entries] == list(expected)[::-1]
        assert {entry["session_id"]: entry["status"]["state"] for entry in entries} == expected
        for entry in entries:
            assert entry["created_at"]
            assert entry["config"].items() >= CONFIG.items()
            assert (entry["status"]["end_time"] is None) == (entry["status"]["state"] in ("queued", "running"))


def meet_fate(api: Api, run: Run, fate: str) -> None:
    if fate == "completed":
        run.complete()
    elif fate == "failed":
        run.fail("bad_dataset", "The data is no good.")
    elif fate == "stopped":
        api.post(f"/training/{run.session_id}/stop")
        run.obey_stop()
