"""A model's page: where it comes from, how good it is, and what it says of a file."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from authkeys.models import AuthLog
from registry.models import Model
from tests.pages.conftest import Staff
from tests.training.conftest import MakeSession
from training import prediction
from training.models import TrainingSession
from training.prediction import NotPredicted, class_names, images_are_bytes, predict
from training.state import State

HOSTILE = "<img src=x onerror=alert(1)>"
REPORT = {
    "problem": "classification",
    "loss": 0.25,
    "accuracy": 0.75,
    "samples": 8,
    "macro_f1": 0.5,
    "classes": [
        {"name": HOSTILE, "count": 4, "precision": 0.5, "recall": 0.75, "f1": 0.6, "roc_auc": None},
        {"name": "dog", "count": 4, "precision": None, "recall": 1.0, "f1": 0.1, "roc_auc": 0.9},
    ],
    "confusion_matrix": [[3, 1], [0, 4]],
}

pytestmark = pytest.mark.django_db


@pytest.fixture
def session(make_session: MakeSession) -> TrainingSession:
    """One that has trained a model."""
    session = make_session(state=State.COMPLETED, report=REPORT, ended_at=timezone.now())
    model = Model.objects.store("mlp_tiny", [b"weights"], session_id=session.session_id)
    TrainingSession.objects.filter(pk=session.pk).update(model=model)
    session.refresh_from_db()
    return session


def model_of(session: TrainingSession) -> Model:
    assert session.model is not None
    return session.model


def page_of(client: Client, model: Model) -> str:
    page = client.get(f"/admin/registry/model/{model.pk}/change/")
    assert page.status_code == 200
    return page.text


def send(client: Client, model: Model, content: bytes = b"1,2,3,4\n") -> str:
    answer = client.post(f"/admin/registry/model/{model.pk}/try/", {"file": SimpleUploadedFile("row.csv", content)})
    assert answer.status_code == 200
    return answer.text


def test_it_tells_where_the_model_comes_from(admin_client: Client, session: TrainingSession) -> None:
    parent = TrainingSession.objects.create(
        session_id="sess_0123456789ab", dataset=session.dataset, config=session.config, state=State.COMPLETED
    )
    TrainingSession.objects.filter(pk=session.pk).update(parent=parent, parent_checkpoint="step-00000007")
    session.metrics.create(epoch=3, val_loss=0.5, timestamp=timezone.now())
    page = page_of(admin_client, model_of(session))
    for text in (session.session_id, parent.session_id, "on from step-00000007", "tiny", "3 of 3"):
        assert text in page
    assert f"/admin/training/trainingsession/{session.pk}/change/" in page
    assert f"/admin/registry/dataset/{session.dataset.pk}/change/" in page
    assert 'href="/api/v1/models/mlp_tiny"' in page


def test_it_shows_the_report(admin_client: Client, session: TrainingSession) -> None:
    page = page_of(admin_client, model_of(session))
    assert HOSTILE not in page
    assert "0.75" in page
    assert "Confusion matrix" in page
    assert '<td class="shade-8">3</td><td class="shade-2">1</td>' in page
    assert '<td class="shade-0">0</td><td class="shade-10">4</td>' in page


def test_a_matrix_of_many_classes_is_left_out(admin_client: Client, session: TrainingSession) -> None:
    many = 21
    report = REPORT | {
        "classes": [{"name": str(number), "count": 1} for number in range(many)],
        "confusion_matrix": [[0] * many] * many,
    }
    TrainingSession.objects.filter(pk=session.pk).update(report=report)
    page = page_of(admin_client, model_of(session))
    assert "Confusion matrix" not in page
    assert "By class" in page


def test_without_a_report_its_last_epoch_is_shown(admin_client: Client, session: TrainingSession) -> None:
    TrainingSession.objects.filter(pk=session.pk).update(report=None)
    for epoch, loss in ((1, 0.9), (2, 0.125)):
        session.metrics.create(epoch=epoch, val_loss=loss, val_accuracy=None, timestamp=timezone.now())
    page = page_of(admin_client, model_of(session))
    assert "Its last epoch" in page
    assert "0.125" in page


def test_an_upload_has_no_session(admin_client: Client) -> None:
    model = Model.objects.store("uploaded", [b"weights"])
    page = page_of(admin_client, model)
    assert "It was uploaded." in page
    assert "It cannot be tried" in page
    assert "It cannot be tried" in send(admin_client, model)


def test_a_session_that_is_gone_is_told(admin_client: Client) -> None:
    model = Model.objects.store("mlp_tiny", [b"weights"], session_id="sess_gone")
    page = page_of(admin_client, model)
    assert "sess_gone" in page
    assert "It cannot be tried" in page


def test_everybody_sees_what_he_may(staff: Staff, session: TrainingSession) -> None:
    client = staff("view_model")
    page = page_of(client, model_of(session))
    assert "Confusion matrix" not in page
    assert "/admin/training/" not in page.partition('id="content-main"')[2]
    assert "It cannot be tried" in send(client, model_of(session))


def test_a_model_is_tried_by_those_who_may_see_it(staff: Staff, client: Client, session: TrainingSession) -> None:
    path = f"/admin/registry/model/{model_of(session).pk}/try/"
    assert client.post(path).status_code == 302
    nobody = staff("view_dataset")
    assert nobody.post(path).status_code == 403
    assert nobody.get(path).status_code == 403


def play(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, program: str) -> None:
    """Put a program in the engine's place."""
    path = tmp_path / "engine.py"
    path.write_text(f"import json, os, sys, time\nrequest = json.load(sys.stdin)\n{program}\n")
    monkeypatch.setattr(prediction, "COMMAND", [sys.executable, str(path)])


ANSWER: dict[str, Any] = {
    "prediction": {
        "samples": [{"value": None, "scores": [{"name": HOSTILE, "score": 0.875}, {"name": "dog", "score": 0.125}]}],
        "notes": [f"Note {HOSTILE}"],
    }
}


def test_what_the_model_says_is_shown(
    admin_client: Client, session: TrainingSession, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    checked = "assert open(sys.argv[1], 'rb').read() == b'1,2,3,4\\n'"
    play(monkeypatch, tmp_path, f"{checked}\nprint({json.dumps(ANSWER)!r})")
    page = page_of(admin_client, model_of(session))
    assert f'hx-post="/admin/registry/model/{model_of(session).pk}/try/"' in page
    shown = send(admin_client, model_of(session))
    assert "0.8750" in shown
    assert HOSTILE not in shown
    assert shown.count("&lt;img src=x") == 2


def test_a_number_is_shown(
    admin_client: Client, session: TrainingSession, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    samples = [{"value": 152.5, "scores": []}, {"value": None, "scores": []}]
    play(monkeypatch, tmp_path, f"print({json.dumps({'prediction': {'samples': samples, 'notes': []}})!r})")
    shown = send(admin_client, model_of(session))
    assert "152.5" in shown
    assert "no finite number" in shown


def test_the_engine_is_told_all_of_the_model(
    session: TrainingSession, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SECRET_KEY", "of the server")
    play(
        monkeypatch,
        tmp_path,
        "print(json.dumps({'prediction': [request, os.environ['CUDA_VISIBLE_DEVICES'], 'SECRET_KEY' in os.environ]}))",
    )
    answer: Any = predict(session, [b"1,2,3,4"])
    request, gpus, has_secret = answer
    assert (gpus, has_secret) == ("", False)
    assert request["weights"] == str(model_of(session).path)
    assert request["dimensions"] == [4]
    assert request["class_names"] == [HOSTILE, "dog"]
    assert request["config"]["model_architecture"] == "mlp"


def test_names_and_numbers_of_classes(session: TrainingSession) -> None:
    session.report = None
    assert class_names(session) == ["class 0", "class 1"]
    session.config["loss_function"] = "mse"
    assert class_names(session) is None


def test_whether_images_have_8_bits(session: TrainingSession) -> None:
    dataset = session.dataset
    assert not images_are_bytes(dataset)  # nothing is kept of it, and so it is not known
    folder = dataset.decoded_folder / dataset.format
    folder.mkdir(parents=True)
    for dtype, expected in ((np.uint8, True), (np.float32, False)):
        np.save(folder / "x.npy", np.zeros((2, 2), dtype))
        assert images_are_bytes(dataset) is expected
    dataset.format = "images"
    assert images_are_bytes(dataset)


@pytest.mark.parametrize("program", ["os.abort()", "print('nonsense')", "sys.exit(3)"])
def test_a_process_that_dies_is_told(
    session: TrainingSession, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, program: str
) -> None:
    play(monkeypatch, tmp_path, program)
    with pytest.raises(NotPredicted, match="died"):
        predict(session, [b"1"])


def test_what_takes_too_long_is_ended(
    session: TrainingSession, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    play(monkeypatch, tmp_path, f"open('{tmp_path}/pid', 'w').write(str(os.getpid()))\ntime.sleep(60)")
    monkeypatch.setattr(prediction, "TRYING_SECONDS", 1.0)
    with pytest.raises(NotPredicted, match="longer than"):
        predict(session, [b"1"])
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


def test_a_large_file_is_refused(admin_client: Client, session: TrainingSession, settings: Settings) -> None:
    shown = send(admin_client, model_of(session), b"1" * (prediction.MAX_FILE_BYTES + 1))
    assert "larger than 20 MiB" in shown
    assert list(Path(settings.UPLOADS_DIR).iterdir()) == []


def test_one_is_tried_at_a_time(admin_client: Client, session: TrainingSession) -> None:
    with prediction._turn:
        assert "Another model is being tried" in send(admin_client, model_of(session))


def test_without_a_file_nothing_is_tried(admin_client: Client, session: TrainingSession) -> None:
    answer = admin_client.post(f"/admin/registry/model/{model_of(session).pk}/try/")
    assert "Choose a file first." in answer.text


def test_a_model_without_its_file_cannot_be_tried(admin_client: Client, session: TrainingSession) -> None:
    model_of(session).path.unlink()
    assert "Its file is gone." in page_of(admin_client, model_of(session))


@pytest.mark.django_db(transaction=True)
def test_nobody_waits_for_the_database_meanwhile(
    admin_client: Client, session: TrainingSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_transaction = []

    def look(*arguments: Any) -> dict[str, Any]:
        in_transaction.append(connection.in_atomic_block)
        return {"samples": []}

    monkeypatch.setattr(prediction, "_ask_engine", look)
    send(admin_client, model_of(session))
    assert in_transaction == [False]
    assert AuthLog.objects.filter(endpoint__endswith="/try/", status=200).count() == 1


@pytest.mark.slow
def test_a_real_model_is_tried(admin_client: Client, session: TrainingSession) -> None:
    import torch

    from training.engine.architectures import DataShape, build_model
    from training.engine.data import Moments

    zeros, ones = torch.zeros(4, dtype=torch.float64), torch.ones(4, dtype=torch.float64)
    shape = DataShape(kind="rows", sample_shape=(4,), output_count=2, largest_batch=8)
    file = io.BytesIO()
    torch.save(build_model("mlp", {}, shape, Moments(zeros, ones), None).state_dict(), file)
    model_of(session).path.write_bytes(file.getvalue())
    shown = send(admin_client, model_of(session))
    assert "The model says" in shown
    assert "dog" in shown
    assert "a line has 3 values" in send(admin_client, model_of(session), b"1,2,3\n").lower()
