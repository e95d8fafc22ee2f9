"""Data that nothing can be learnt from: refused where it comes in, and by a trainer that meets it all the same."""

import hashlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from registry import formats
from tests.registry.formats.files import image, npy, npz, zip_of
from training.engine.architectures import catalogue
from training.engine.data import TrainingData
from training.engine.failures import TrainingFailure
from training.spec import DatasetFile, SessionSpec, TrainingConfig

ROWS = np.arange(12.0).reshape(4, 3)


def load(file: Path, format: str, **options: Any) -> TrainingData:
    config = {
        "model_architecture": "mlp",
        "dataset_name": "bad",
        "learning_rate": 0.1,
        "batch_size": 4,
        "epochs": 1,
        "seed": 1,
        **options,
    }
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    spec = SessionSpec(
        session_id="session",
        config=TrainingConfig(**config),
        dataset=DatasetFile(name="bad", path=str(file), sha256=sha256, format=format),
    )
    return TrainingData.load(spec, catalogue())


@pytest.mark.parametrize(
    ("format", "data", "place"),
    [
        ("csv", b"a,label\n1,0\nnan,1\n", "line 3, column 'a': not a finite number"),
        ("csv", b"a,label\n1,0\n2,nan\n", "line 3: the label is missing or not a finite number"),
        ("csv", b"a,label\n1,0\nred,1\n", "line 3, column 'a': 'red' is not a number"),
        ("csv", b"a,label\n", "holds no samples"),
        ("csv", b"a,b,label\n1,2,0\n3,1\n", "line 3 has 2 columns, the lines before it 3"),
        ("json", b'[{"a": 1, "label": 0}, {"a": NaN, "label": 1}]', "NaN is no JSON"),
        ("json", b'[{"a": 1, "label": 0}, {"a": 1e999, "label": 1}]', "record 2, column 'a': not a finite number"),
        ("json", b'[{"a": 1, "label": 0}, {"a": "red", "label": 1}]', "record 2, key 'a': not a number"),
        ("json", b"[]", "holds no samples"),
        ("npz", npz(x=[[1, 2], [3, np.nan]], y=[0, 1]), "x[1, 1] is not a finite number"),
        ("npz", npz(x=ROWS, y=[0.0, 1.0, np.inf, 2.0]), "label 2: the label is missing or not a finite number"),
        ("npz", npz(x=ROWS, y=[0, 1, 0]), "there are 4 samples but 3 labels"),
        ("npz", npz(x=np.zeros((0, 3)), y=np.zeros(0)), "x is empty"),
        ("npz", npz(x=[["red"], ["blue"]], y=[0, 1]), "x must be numbers"),
        ("npz", npz(x=ROWS, y=[[0, 1], [1, 0], [3, 0], [0, 0]]), "y[2, 0] is 3"),
        ("npy", npy([[1, 2], [np.nan, 1]]), "x[1, 0] is not a finite number"),
        (
            "images",
            zip_of({"cat/1.png": image(), "dog/2.png": image(size=(9, 9))}),
            "'dog/2.png' is 9x9 pixels, the first image 4x3",
        ),
        ("images", zip_of({"cat/1.png": image(), "dog/2.png": b"hello"}), "'dog/2.png' is not an image"),
    ],
)
def test_bad_data_is_refused_with_its_place(tmp_path: Path, format: str, data: bytes, place: str) -> None:
    file = tmp_path / "bad"
    file.write_bytes(data)
    with pytest.raises(formats.InvalidDataset, match=re.escape(place)):
        formats.read(file)
    with pytest.raises(TrainingFailure, match=re.escape(place)) as caught:
        load(file, format)
    assert caught.value.code == "bad_dataset"
    assert not list(tmp_path.rglob("*.npy"))


@pytest.mark.parametrize(
    ("y", "loss_function", "reason"),
    [
        ([5, 5, 5, 5], "cross_entropy", "labels are all the same"),
        ([5, 5, 5, 5], "bce", "labels are all the same"),
        ([0.5, 1.0, 2.0, 3.0], "cross_entropy", "labels are real numbers; use mse or mae"),
        ([0.5, 1.0, 2.0, 3.0], "bce", "labels are real numbers; use mse or mae"),
        (["a", "b", "a", "b"], "mse", "labels are names; use cross_entropy or bce"),
        ([[0, 1], [1, 0], [1, 1], [0, 0]], "cross_entropy", "any number of classes; use bce"),
    ],
)
def test_labels_that_do_not_fit_the_loss_are_a_bad_dataset(
    tmp_path: Path, y: Any, loss_function: str, reason: str
) -> None:
    file = tmp_path / "bad"
    file.write_bytes(npz(x=ROWS, y=y))
    formats.read(file)
    with pytest.raises(TrainingFailure, match=reason) as caught:
        load(file, "npz", loss_function=loss_function)
    assert caught.value.code == "bad_dataset"


def test_whole_numbers_of_any_size_are_names_of_classes(tmp_path: Path) -> None:
    """They are no indices, so that none is out of range."""
    file = tmp_path / "good"
    file.write_bytes(npz(x=ROWS, y=[-7, 2**62, -7, 0]))
    data = load(file, "npz")
    assert data.class_names == ("-7", "0", str(2**62))
    assert data.y.tolist() == [0, 2, 0, 1]
