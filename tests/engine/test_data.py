"""The split, the order of an epoch, the moments, and datasets that cannot be trained on."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.conftest import MakeSession, classes, images, numbers, rows
from training.engine.architectures import catalogue
from training.engine.data import TrainingData, moments
from training.engine.failures import TrainingFailure
from training.journal import SessionDirectory
from training.spec import SessionSpec


def load(directory: SessionDirectory) -> TrainingData:
    return TrainingData.load(SessionSpec.read(directory.spec), catalogue())


def bare_data(train_count: int, seed: int = 0) -> TrainingData:
    nothing = torch.empty(train_count, 1)
    order = torch.arange(train_count)
    return TrainingData(
        x=nothing,
        y=nothing[:, 0],
        class_names=None,
        output_count=1,
        train_rows=order,
        validation_rows=order[:0],
        seed=seed,
    )


@given(count=st.integers(1, 300), batch_size=st.integers(1, 256), epoch=st.integers(1, 1000), seed=st.integers())
def test_an_epoch_takes_every_row_once_and_never_a_lone_last_one(
    count: int, batch_size: int, epoch: int, seed: int
) -> None:
    batches = bare_data(count, seed).batches(epoch, batch_size)
    assert sorted(torch.cat(batches).tolist()) == list(range(count))
    sizes = [len(batch) for batch in batches]
    if batch_size > 1 and count > 1:
        assert min(sizes) > 1
    assert max(sizes) <= batch_size + 1
    assert len(set(sizes[:-1])) <= 1


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        torch.rand(3)  # what was drawn before does not matter
        rows = torch.cat(bare_data(50, seed).batches(epoch, 7))
        return [int(row) for row in rows]

    assert order(1, 1) == order(1, 1)
    assert len({tuple(order(seed, epoch)) for seed in (1, 2) for epoch in (1, 2)}) == 4


@pytest.mark.parametrize(("count", "validated"), [(2, 1), (3, 1), (4, 1), (10, 2), (24, 5)])
def test_a_fifth_is_held_back_and_each_side_has_a_sample(make_session: MakeSession, count: int, validated: int) -> None:
    data = load(make_session(x=rows(count), y=classes(count, 2)))
    assert len(data.validation_rows) == validated
    assert sorted([*data.train_rows.tolist(), *data.validation_rows.tolist()]) == list(range(count))


def test_the_split_is_seeded(make_session: MakeSession) -> None:
    splits = [load(make_session(x=rows(), y=classes(), seed=seed)).validation_rows.tolist() for seed in (1, 1, 2)]
    assert splits[0] == splits[1] != splits[2]


def test_a_dataset_with_its_own_split_keeps_it(make_session: MakeSession) -> None:
    x, y = rows(), classes()
    data = load(make_session(x_train=x[:20], y_train=y[:20], x_test=x[20:], y_test=y[20:]))
    assert data.train_rows.tolist() == list(range(20))
    assert data.validation_rows.tolist() == [20, 21, 22, 23]
    assert np.array_equal(data.x.numpy(), x)


def test_class_labels_become_indices_in_their_order(make_session: MakeSession) -> None:
    data = load(make_session(x=rows(6), y=np.array([7, -3, 7, 100, -3, 7])))
    assert data.class_names == ("-3", "7", "100")
    assert data.y.tolist() == [1, 0, 1, 2, 0, 1]


def test_images_stay_bytes_and_batches_are_channels_last(make_session: MakeSession) -> None:
    pictures = images(channels=3)
    data = load(make_session(x=pictures, y=classes()))
    samples, targets = data.batch(torch.tensor([3, 1]), torch.device("cpu"))
    assert data.sample_shape == (3, 8, 8)
    assert samples.dtype == torch.uint8
    assert samples.is_contiguous(memory_format=torch.channels_last)
    assert np.array_equal(samples.numpy(), pictures[[3, 1]].transpose(0, 3, 1, 2))
    assert targets.tolist() == [0, 1]


def test_moments_are_those_of_the_training_split_alone(make_session: MakeSession) -> None:
    x, y = rows(), numbers()
    data = load(make_session(x=x, y=y, loss_function="mse"))
    train = data.train_rows.numpy()
    inputs, labels = data.input_moments(), data.label_moments()
    assert inputs is not None
    assert labels is not None
    assert np.allclose(inputs.mean, x[train].mean(0, dtype=np.float64))
    assert np.allclose(inputs.scale, x[train].std(0, dtype=np.float64))
    assert np.allclose(labels.mean, y[train].mean())
    assert np.allclose(labels.scale, y[train].std())


@pytest.mark.parametrize(
    ("normalize", "x", "mean", "scale"),
    [
        ("unit", images(channels=3), [0.0, 0.0, 0.0], [255.0, 255.0, 255.0]),
        ("none", images(channels=3), [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]),
        ("none", rows(features=2), [0.0, 0.0], [1.0, 1.0]),
    ],
)
def test_inputs_may_be_brought_to_0_to_1_or_left_as_they_are(
    make_session: MakeSession, normalize: str, x: Any, mean: list[float], scale: list[float]
) -> None:
    inputs = load(make_session(x=x, y=classes(), normalize=normalize)).input_moments()
    assert inputs is not None
    assert (inputs.mean.tolist(), inputs.scale.tolist()) == (mean, scale)


def test_only_bytes_can_be_brought_to_0_to_1(make_session: MakeSession) -> None:
    with pytest.raises(TrainingFailure, match="use standard or none") as caught:
        load(make_session(x=images() / 255.0, y=classes(), normalize="unit"))
    assert caught.value.code == "bad_config"


def test_a_series_is_an_image_of_one_channel(make_session: MakeSession) -> None:
    series = np.random.default_rng(1).normal(5.0, 3.0, (24, 12, 4)).astype(np.float32)
    data = load(make_session(x=series, y=numbers(), loss_function="mse", validation_from="end"))
    assert (data.kind, data.sample_shape) == ("images", (1, 12, 4))
    assert data.validation_rows.tolist() == [19, 20, 21, 22, 23]
    samples, _ = data.batch(torch.tensor([2]), torch.device("cpu"))
    assert np.array_equal(samples[0, 0].numpy(), series[2])
    inputs = data.input_moments()
    assert inputs is not None
    assert inputs.mean.tolist() == pytest.approx([series[:19].mean(dtype=np.float64)])


@pytest.mark.parametrize(
    ("labels", "loss_function", "outputs"),
    [
        (classes(names=3), "cross_entropy", 3),
        (classes(names=2), "cross_entropy", 2),
        (classes(names=3), "bce", 3),
        (classes(names=2), "bce", 1),
        (numbers(), "mse", 1),
        (np.eye(4, dtype=int)[classes(names=4)], "bce", 4),
        (np.eye(2, dtype=int)[classes(names=2)], "bce", 2),
    ],
)
def test_the_problem_says_how_many_outputs_a_network_has(
    make_session: MakeSession, labels: Any, loss_function: str, outputs: int
) -> None:
    assert load(make_session(x=rows(), y=labels, loss_function=loss_function)).output_count == outputs


def test_sets_of_classes_are_targets_of_0_and_1(make_session: MakeSession) -> None:
    y = np.random.default_rng(1).integers(0, 2, (24, 3))
    data = load(make_session(x=rows(), y=y, class_names=["sun", "rain", "wind"], loss_function="bce"))
    assert data.class_names == ("sun", "rain", "wind")
    _, targets = data.batch(torch.tensor([5, 0]), torch.device("cpu"))
    assert targets.dtype == torch.float32
    assert np.array_equal(targets.numpy(), y[[5, 0]])
    counts = data.train_class_counts()
    assert counts is not None
    assert counts.tolist() == y[data.train_rows.numpy()].sum(0).tolist()


def test_classes_are_counted_on_the_training_split(make_session: MakeSession) -> None:
    labels = np.array([0] * 12 + [1] * 7 + [2] * 5)
    data = load(make_session(x=rows(), y=labels))
    counts = data.train_class_counts()
    assert counts is not None
    assert counts.tolist() == np.bincount(labels[data.train_rows.numpy()], minlength=3).tolist()
    assert load(make_session(x=rows(), y=numbers(), loss_function="mse")).train_class_counts() is None


def test_the_validation_split_comes_in_batches_of_its_own_rows(make_session: MakeSession) -> None:
    data = load(make_session(x=rows(), y=classes()))
    batches = data.validation_batches(2)
    assert [len(batch) for batch in batches] == [2, 2, 1]
    assert torch.equal(torch.cat(batches), data.validation_rows)


@pytest.mark.parametrize("value", [0.0, 0.1, -7.3e20, 1e-40])
def test_a_constant_feature_has_the_scale_one(value: float) -> None:
    values = torch.full((1000, 1), value, dtype=torch.float32)
    assert moments(values, torch.arange(1000)).scale.tolist() == [1.0]


def test_a_large_mean_does_not_hide_the_scale() -> None:
    values = 1e9 + torch.arange(1000, dtype=torch.float64)[:, None]
    assert moments(values, torch.arange(1000)).scale.item() == pytest.approx(np.arange(1000).std())


def spoil_nothing(file: Path) -> None: ...


def change_the_file(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b"x")


def remove_the_file(file: Path) -> None:
    file.unlink()


@pytest.mark.parametrize(
    ("options", "spoil", "reason"),
    [
        ({"x": rows(), "y": classes()}, change_the_file, "not the one that was registered"),
        ({"x": rows(), "y": classes()}, remove_the_file, "gone"),
        ({"x": rows(), "y": numbers()}, spoil_nothing, "real numbers"),
        ({"x": rows(), "y": np.zeros(24, int)}, spoil_nothing, "two classes"),
        ({"x": rows(1), "y": np.zeros(1, int)}, spoil_nothing, "too small"),
        ({"x": rows(), "y": classes(), "model_architecture": "resnet18"}, spoil_nothing, "takes images"),
        ({"x": np.full((24, 2), np.nan), "y": classes()}, spoil_nothing, "not a finite number"),
        ({"x": rows(), "y": numbers() * 1e300, "loss_function": "mse"}, spoil_nothing, "32 bits"),
        ({"x": rows(23), "y": classes()}, spoil_nothing, "23"),
        ({"x": rows(), "y": np.eye(3)[classes()]}, spoil_nothing, "any number of classes; use bce"),
        ({"x": rows(), "y": np.eye(3)[classes()] * 2, "loss_function": "bce"}, spoil_nothing, r"y\[0, 0\] is 2"),
        ({"x": np.full((24, 2), "a"), "y": classes()}, spoil_nothing, "x must be numbers"),
    ],
)
def test_a_dataset_that_cannot_be_trained_on_says_why(
    make_session: MakeSession, tmp_path: Path, options: dict[str, Any], spoil: Any, reason: str
) -> None:
    directory = make_session(**options)
    spoil(tmp_path / "session.npz")
    with pytest.raises(TrainingFailure, match=reason) as caught:
        load(directory)
    assert caught.value.code == "bad_dataset"
