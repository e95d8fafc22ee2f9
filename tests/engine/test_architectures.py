"""Models take raw data of any size and give one output for each class, or a number in the labels' units."""

import pytest
import torch
from torch import nn

from training.catalogue import DataKind
from training.engine.architectures import DataShape, build_model
from training.engine.data import Moments
from training.engine.networks.torchvision import workable_size


def build(architecture: str, shape: tuple[int, ...], outputs: int = 3, largest_batch: int = 4) -> nn.Module:
    ones = torch.ones(shape[0], dtype=torch.float64)
    return build_model(architecture, {}, data_shape(shape, outputs, largest_batch), Moments(ones, ones), None)


def data_shape(shape: tuple[int, ...], outputs: int = 3, largest_batch: int = 4) -> DataShape:
    kind: DataKind = "images" if len(shape) == 3 else "rows"
    return DataShape(kind=kind, sample_shape=shape, output_count=outputs, largest_batch=largest_batch)


def train_a_step(model: nn.Module, samples: torch.Tensor) -> torch.Tensor:
    outputs: torch.Tensor = model.train()(samples)
    outputs.square().sum().backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    return outputs


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 4, 4), (3, 5, 9), (1, 28, 28), (4, 2, 40)])
@pytest.mark.parametrize("architecture", ["mlp", "cnn"])
def test_our_networks_train_on_images_of_any_size_and_on_one_sample(
    architecture: str, shape: tuple[int, ...], count: int
) -> None:
    samples = torch.randint(0, 256, (count, *shape), dtype=torch.uint8)
    assert train_a_step(build(architecture, shape, largest_batch=count), samples).shape == (count, 3)


def test_the_mlp_takes_rows() -> None:
    assert train_a_step(build("mlp", (5,)), torch.randn(4, 5)).shape == (4, 3)


def test_the_model_standardises_raw_data_itself() -> None:
    mean, scale = torch.tensor([100.0, -3.0]), torch.tensor([20.0, 0.5])
    model = build_model("mlp", {}, data_shape((2,)), Moments(mean.double(), scale.double()), None).eval()
    standardised = torch.randn(4, 2)
    network = model.get_submodule("network")
    assert torch.allclose(model(standardised * scale + mean), network(standardised), atol=1e-5)


def test_a_regression_answers_in_the_units_of_the_labels() -> None:
    ones = torch.ones(1, dtype=torch.float64)
    model = build_model(
        "mlp", {}, data_shape((2,), 1), Moments(torch.zeros(2), torch.ones(2)), Moments(1000 * ones, 50 * ones)
    ).eval()
    samples = torch.randn(4, 2)
    assert torch.allclose(model(samples), 1000 + 50 * model.get_submodule("network")(samples).squeeze(1))
    assert {"outputs.mean", "outputs.scale", "inputs.mean", "inputs.scale"} <= set(model.state_dict())


@pytest.mark.parametrize(
    ("architecture", "own", "batch", "size"),
    [
        ("resnet18", (8, 8), 8, (32, 32)),
        ("resnet18", (8, 8), 1, (64, 64)),
        ("resnet18", (20, 300), 8, (32, 300)),
        ("inception_v3", (8, 8), 8, (75, 75)),
        ("alexnet", (8, 8), 8, (64, 64)),
        ("vit_b_16", (8, 8), 8, (64, 64)),
        ("vit_b_16", (70, 90), 8, (96, 96)),
        ("vit_h_14", (1000, 1000), 8, (224, 224)),
        ("maxvit_t", (8, 8), 8, (224, 224)),
    ],
)
def test_images_are_brought_to_a_size_the_network_can_work_with(
    architecture: str, own: tuple[int, int], batch: int, size: tuple[int, int]
) -> None:
    assert workable_size(architecture, *own, batch) == size


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("channels", [1, 3])
def test_small_torchvision_networks_train_on_small_images(channels: int, count: int) -> None:
    shape = (channels, 8, 8)
    model = build("squeezenet1_1", shape, largest_batch=count)
    assert train_a_step(model, torch.rand(count, *shape)).shape == (count, 3)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(
    "architecture",
    [
        "resnet18",
        "mobilenet_v3_small",
        "shufflenet_v2_x0_5",
        "mnasnet0_5",
        "efficientnet_b0",
        "densenet121",
        "regnet_y_400mf",
    ],
)
def test_torchvision_networks_train_on_small_images_even_one_by_one(architecture: str, count: int) -> None:
    model = build(architecture, (1, 8, 8), largest_batch=count)
    assert train_a_step(model, torch.rand(count, 1, 8, 8)).shape == (count, 3)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["googlenet", "inception_v3", "swin_t", "vit_b_32", "alexnet"])
def test_other_torchvision_networks_take_small_images(architecture: str) -> None:
    model = build(architecture, (1, 8, 8)).eval()
    with torch.inference_mode():
        assert model(torch.rand(2, 1, 8, 8)).shape == (2, 3)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["vgg16", "convnext_tiny", "wide_resnet50_2", "maxvit_t"])
def test_heavy_networks_are_built_with_the_datas_channels_and_classes(architecture: str) -> None:
    with torch.device("meta"):  # shapes alone, without the memory
        model = build(architecture, (5, 8, 8))
        assert model(torch.empty(2, 5, 8, 8)).shape == (2, 3)


def test_an_output_may_be_negative_in_every_torchvision_network_that_ends_in_a_relu() -> None:
    outputs = build("squeezenet1_1", (1, 32, 32), outputs=50)(torch.rand(2, 1, 32, 32))
    assert (outputs < 0).any()
