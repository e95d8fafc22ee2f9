"""A trained model says of a file what it says of the samples in its dataset."""

import io
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.engine.conftest import MakeSession, classes, images, numbers, rows
from training.engine.checkpoint import save_weights
from training.engine.prediction import Request, UnfitFile, predict
from training.engine.trainer import Trainer
from training.journal import JournalWriter
from training.spec import SessionSpec

MakeRequest = Any


@pytest.fixture
def trained(make_session: MakeSession, tmp_path: Path) -> MakeRequest:
    def train(**options: Any) -> tuple[Trainer, Request]:
        """A trainer whose session is over, and what its model is asked with."""
        directory = make_session(**options)
        spec = SessionSpec.read(directory.spec)
        trainer = Trainer(spec, directory, JournalWriter(directory.events, 1), lambda: False, None)
        trainer.fit()
        save_weights(trainer.model.state_dict(), directory.weights / "model.pt")
        data = trainer.data
        request = Request(
            config=spec.config.as_dict(),
            weights=str(directory.weights / "model.pt"),
            dimensions=list(data.x.shape[1:]),
            class_names=None if data.class_names is None else list(data.class_names),
            has_sets=data.has_sets,
            images_are_bytes=data.x.dtype == torch.uint8,
        )
        return trainer, request

    return train


def write_npy(path: Path, array: np.ndarray) -> Path:
    file = path / "samples.npy"
    np.save(file, array)
    return file


@torch.inference_mode()
def outputs_of(trainer: Trainer, rows: int) -> torch.Tensor:
    samples, _ = trainer.data.gather(torch.arange(rows))
    outputs: torch.Tensor = trainer.model.eval()(samples)
    return outputs


def test_rows_of_classes(trained: MakeRequest, tmp_path: Path) -> None:
    names = np.array(["cat", "dog", "owl"])[classes()]
    trainer, request = trained(x=rows(), y=names)
    found = predict(request, write_npy(tmp_path, rows()[:4]))
    expected = outputs_of(trainer, 4).softmax(1)
    assert len(found["samples"]) == 4
    for sample, row in zip(found["samples"], expected, strict=True):
        scores = {score["name"]: score["score"] for score in sample["scores"]}
        assert scores == pytest.approx(dict(zip(["cat", "dog", "owl"], row.tolist(), strict=True)), abs=1e-6)
        assert list(scores.values()) == sorted(scores.values(), reverse=True)


def test_lines_of_csv_are_as_good(trained: MakeRequest, tmp_path: Path) -> None:
    _, request = trained(x=rows(), y=classes())
    by_array = predict(request, write_npy(tmp_path, rows()[:2]))
    lines = [",".join(repr(float(value)) for value in row) for row in rows()[:2]]
    path = tmp_path / "lines.csv"
    for text in ("\n".join(lines), "a,b,c,d,e\r\n" + "\r\n".join(lines) + "\r\n", "\ufeff" + "\n\n".join(lines)):
        path.write_text(text, encoding="utf-8")
        assert predict(request, path) == by_array


def test_one_row_alone_is_a_sample(trained: MakeRequest, tmp_path: Path) -> None:
    _, request = trained(x=rows(), y=classes())
    one = predict(request, write_npy(tmp_path, rows()[0]))
    assert one["samples"] == predict(request, write_npy(tmp_path, rows()[:1]))["samples"]


def test_a_yes_or_no(trained: MakeRequest, tmp_path: Path) -> None:
    names = np.array(["no", "yes"])[classes(names=2)]
    trainer, request = trained(x=rows(), y=names, loss_function="bce")
    yes = outputs_of(trainer, 1).sigmoid().item()
    [sample] = predict(request, write_npy(tmp_path, rows()[:1]))["samples"]
    assert {score["name"]: score["score"] for score in sample["scores"]} == pytest.approx(
        {"yes": yes, "no": 1 - yes}, abs=1e-6
    )


def test_sets_of_classes(trained: MakeRequest, tmp_path: Path) -> None:
    y = np.random.default_rng(0).integers(0, 2, (24, 3))
    trainer, request = trained(x=rows(), y=y, loss_function="bce")
    [sample] = predict(request, write_npy(tmp_path, rows()[:1]))["samples"]
    expected = outputs_of(trainer, 1).sigmoid()[0].tolist()
    assert {score["name"]: score["score"] for score in sample["scores"]} == pytest.approx(
        {str(number): value for number, value in enumerate(expected)}, abs=1e-6
    )


def test_a_number_is_in_the_units_of_the_labels(trained: MakeRequest, tmp_path: Path) -> None:
    trainer, request = trained(x=rows(), y=numbers(), loss_function="mse")
    found = predict(request, write_npy(tmp_path, rows()[:3]))["samples"]
    assert [sample["value"] for sample in found] == pytest.approx(outputs_of(trainer, 3).flatten().tolist(), rel=1e-5)
    assert 700 < found[0]["value"] < 1300


@pytest.mark.parametrize("channels", [1, 3])
def test_an_image(trained: MakeRequest, tmp_path: Path, channels: int) -> None:
    x = images(channels=channels)
    trainer, request = trained(x=x, y=classes(), model_architecture="cnn")
    path = tmp_path / "image.png"
    Image.fromarray(x[0, :, :, 0] if channels == 1 else x[0]).save(path)
    found = predict(request, path)
    assert found["notes"] == []
    assert found["samples"] == predict(request, write_npy(tmp_path, x[0]))["samples"]
    best = outputs_of(trainer, 1)[0].argmax().item()
    assert found["samples"][0]["scores"][0]["name"] == str(best)


def test_an_image_is_made_to_fit_and_that_is_told(trained: MakeRequest, tmp_path: Path) -> None:
    _, request = trained(x=images(), y=classes(), model_architecture="cnn")
    path = tmp_path / "image.png"
    Image.new("RGB", (30, 20), (200, 10, 10)).save(path)
    assert predict(request, path)["notes"] == [
        "The image was made gray.",
        "The image was brought from 30x20 to 8x8 pixels.",
    ]


def test_an_image_without_its_axis_of_channels(trained: MakeRequest, tmp_path: Path) -> None:
    _, request = trained(x=images(), y=classes(), model_architecture="cnn")
    whole = predict(request, write_npy(tmp_path, images()[:2]))
    assert predict(request, write_npy(tmp_path, images()[:2, :, :, 0])) == whole


def test_images_of_real_numbers_take_no_image_file(trained: MakeRequest, tmp_path: Path) -> None:
    x = images().astype(np.float32) / 255
    _, request = trained(x=x, y=classes(), model_architecture="cnn")
    path = tmp_path / "image.png"
    Image.new("L", (8, 8)).save(path)
    with pytest.raises(UnfitFile, match="npy"):
        predict(request, path)
    assert len(predict(request, write_npy(tmp_path, x[:2]))["samples"]) == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no line"),
        (b"\xff\xfe", "neither"),
        (b"1,2,3,4\n", "4 values"),
        (b"1,2,3,4,5,6\n", "6 values"),
        (b"1,2,3,4,5\n1,2,x,4,5\n", "Line 2"),
        (b"1,2,3,4,nan\n", "finite"),
        (b"1,2,3,4,1e99\n", "finite"),
        (b"\x93NUMPY", "header"),
    ],
)
def test_what_holds_no_sample_is_refused(trained: MakeRequest, tmp_path: Path, content: bytes, words: str) -> None:
    _, request = trained(x=rows(), y=classes())
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=words):
        predict(request, path)


ODD = [np.zeros((2, 4)), np.zeros(3), np.zeros(()), np.zeros((1, 1, 5)), np.array(["a"] * 5)]


@pytest.mark.parametrize("array", ODD)
def test_an_array_that_does_not_fit_is_refused(trained: MakeRequest, tmp_path: Path, array: np.ndarray) -> None:
    _, request = trained(x=rows(), y=classes())
    with pytest.raises(ValueError, match=r"shape|numbers"):
        predict(request, write_npy(tmp_path, array))


def test_nothing_is_unpickled(trained: MakeRequest, tmp_path: Path) -> None:
    _, request = trained(x=rows(), y=classes())
    file = tmp_path / "objects.npy"
    np.save(file, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="only real numbers"):
        predict(request, file)


def ask(request: Request, path: Path) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "-m", "training.engine.prediction", str(path)]
    done = subprocess.run(command, input=json.dumps(asdict(request)).encode(), capture_output=True, check=False)
    answer: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, answer


@pytest.mark.slow
def test_the_process_prints_it(trained: MakeRequest, tmp_path: Path) -> None:
    _, request = trained(x=rows(), y=classes())
    path = write_npy(tmp_path, rows()[:2])
    code, answer = ask(request, path)
    assert code == 0
    assert answer["prediction"]["samples"][0]["scores"][0]["name"] in "012"
    path.write_bytes(b"nothing")
    code, answer = ask(request, path)
    assert (code, list(answer)) == (1, ["problem"])
    Path(request.weights).write_bytes(b"no weights")
    code, answer = ask(request, write_npy(tmp_path, rows()[:2]))
    assert code == 1
    assert "could not be tried" in answer["problem"]


def test_at_most_ten_samples(trained: MakeRequest, tmp_path: Path) -> None:
    _, request = trained(x=rows(), y=classes())
    assert len(predict(request, write_npy(tmp_path, rows()))["samples"]) == 10
    file = io.StringIO()
    np.savetxt(file, rows(), delimiter=",")
    (tmp_path / "rows.csv").write_text(file.getvalue())
    assert len(predict(request, tmp_path / "rows.csv")["samples"]) == 10
