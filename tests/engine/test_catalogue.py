"""Architectures by name, and what fits together."""

from typing import Any

import pytest

from registry.formats import Description
from training.catalogue import misfits
from training.engine.architectures import catalogue
from training.engine.networks.torchvision import NETWORKS, import_torchvision

IMAGES: dict[str, Any] = {"dimensions": "8x8x1", "sample_count": 100, "labels": "integers", "class_count": 10}
ROWS = {**IMAGES, "dimensions": "64"}
TEXT = {"dimensions": "text", "sample_count": 1000, "labels": "text", "class_count": 40}
REAL_LABELS = {"labels": "numbers", "class_count": None}


def find_misfits(description: dict[str, Any], **changes: Any) -> dict[str, list[str]]:
    architecture = "gpt" if description["labels"] == "text" else "mlp"
    values = {"model_architecture": architecture, "loss_function": "cross_entropy"}
    return misfits(values | changes, Description(format="npz", **description), catalogue())


def test_the_catalogue_names_torchvisions_classification_networks() -> None:
    models = import_torchvision().models
    assert sorted(NETWORKS) == models.list_models(module=models)


@pytest.mark.parametrize(
    ("description", "changes"),
    [
        (ROWS, {}),
        (IMAGES, {}),
        (IMAGES, {"model_architecture": "cnn", "loss_function": "bce"}),
        (IMAGES, {"model_architecture": "resnet18", "loss_function": "mse"}),
        ({**ROWS, "labels": "names"}, {"loss_function": "bce"}),
        ({**ROWS, **REAL_LABELS}, {"loss_function": "mae"}),
        ({**ROWS, "class_count": 1}, {"loss_function": "mse"}),
        ({**ROWS, "sample_count": 2, "class_count": 2}, {}),
        (ROWS, {"optimizer": "sgd", "momentum": 0.5, "scheduler": "cosine", "warmup_steps": 5}),
        (ROWS, {"label_smoothing": 0.1, "class_weights": {"0": 2.0}}),
        (IMAGES, {"augment": "flip", "normalize": "unit"}),
        (TEXT, {"tokenizer": "bytes", "context_length": 128, "validation_split": 0.2}),
    ],
)
def test_what_fits_has_no_misfits(description: dict[str, Any], changes: dict[str, Any]) -> None:
    assert find_misfits(description, **changes) == {}


@pytest.mark.parametrize(
    ("description", "changes", "field", "hint"),
    [
        (ROWS, {"model_architecture": "resnet19"}, "model_architecture", "resnet18"),
        (ROWS, {"model_architecture": "ResNet18"}, "model_architecture", "resnet18"),
        (ROWS, {"model_architecture": "nothing like it"}, "model_architecture", "torchvision"),
        (ROWS, {"model_architecture": "\ud800" * 100_000}, "model_architecture", "known are"),
        (ROWS, {"model_architecture": "cnn"}, "model_architecture", "use mlp"),
        (ROWS, {"model_architecture": "vgg16"}, "model_architecture", "use mlp"),
        ({**ROWS, "sample_count": 1}, {}, "dataset_name", "too small"),
        ({**ROWS, "class_count": 1}, {}, "dataset_name", "two classes"),
        ({**ROWS, **REAL_LABELS}, {}, "loss_function", "use mse"),
        ({**ROWS, **REAL_LABELS}, {"loss_function": "bce"}, "loss_function", "use mse"),
        ({**ROWS, "labels": "names"}, {"loss_function": "mae"}, "loss_function", "use cross_entropy"),
        (ROWS, {"optimizer": "adamw", "momentum": 0.0}, "momentum", "momentum is for sgd and rmsprop"),
        (ROWS, {"loss_function": "mse", "label_smoothing": 0.1}, "label_smoothing", "is for cross_entropy"),
        (ROWS, {"loss_function": "mse", "class_weights": "balanced"}, "class_weights", "is regression"),
        (
            ROWS,
            {"class_weights": dict.fromkeys("abcdefghijk", 1)},
            "class_weights",
            "11 classes, and this dataset has 10",
        ),
        (ROWS, {"scheduler": "one_cycle", "warmup_steps": 5}, "warmup_steps", "warm-up of its own"),
        (ROWS, {"augment": "flip"}, "augment", "rows of 64 features"),
        (ROWS, {"normalize": "unit"}, "normalize", "rows of 64 features"),
        (IMAGES, {"tokenizer": "bytes"}, "tokenizer", "images of 8x8x1"),
        (TEXT, {"augment": "flip"}, "augment", "holds text"),
        (TEXT, {"normalize": "unit"}, "normalize", "holds text"),
        (TEXT, {"class_weights": "balanced"}, "class_weights", "is a text"),
        (TEXT, {"loss_function": "bce"}, "loss_function", "cross_entropy"),
        (TEXT, {"context_length": 128, "validation_split": 0.1}, "context_length", "1000 characters"),
    ],
)
def test_a_misfit_names_its_field_and_what_to_do(
    description: dict[str, Any], changes: dict[str, Any], field: str, hint: str
) -> None:
    found = find_misfits(description, **changes)
    assert list(found) == [field]
    assert hint in found[field][0]
    assert len(found[field][0].encode()) < 500


def test_every_misfit_is_named_at_once() -> None:
    found = find_misfits({**ROWS, **REAL_LABELS, "sample_count": 1}, model_architecture="unknown")
    assert set(found) == {"model_architecture", "dataset_name", "loss_function"}


def test_what_is_wrong_already_is_left_out() -> None:
    """A wrong loss or dataset is refused elsewhere; the rest is still looked at."""
    assert set(misfits({"model_architecture": "unknown"}, None, catalogue())) == {"model_architecture"}
    assert misfits({}, Description(format="npz", **{**ROWS, **REAL_LABELS}), catalogue()) == {}
