"""The networks, by the names of the catalogue, built to fit the data.

A model takes raw data and gives logits, or numbers in the units of the labels: what it has to know of the data's
scale lies in its buffers, so that its state_dict alone can be used.
"""

import math
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from training.catalogue import TORCHVISION_NETWORKS
from training.engine.data import Moments

Shape = tuple[int, ...]
# A network for samples of a shape, (F,) or (C, H, W), with so many outputs.
Build = Callable[[Shape, int], nn.Module]


class Standardise(nn.Module):
    """(N, F) or (N, C, H, W) of any number type to float32 of mean 0 and spread 1, per feature or per channel."""

    mean: Tensor
    scale: Tensor

    def __init__(self, moments: Moments, sample_shape: Shape) -> None:
        super().__init__()
        shape = (-1,) + (1,) * (len(sample_shape) - 1)
        self.register_buffer("mean", moments.mean.float().reshape(shape))
        self.register_buffer("scale", moments.scale.float().reshape(shape))

    def forward(self, x: Tensor) -> Tensor:
        return (x.float() - self.mean) / self.scale


class LabelUnits(nn.Module):
    """(N, 1) standardised outputs to (N,) numbers in the units of the labels."""

    mean: Tensor
    scale: Tensor

    def __init__(self, moments: Moments) -> None:
        super().__init__()
        self.register_buffer("mean", moments.mean.float())
        self.register_buffer("scale", moments.scale.float())

    def forward(self, outputs: Tensor) -> Tensor:
        return (outputs * self.scale + self.mean).squeeze(1)


def build_model(
    architecture: str,
    sample_shape: Shape,
    output_count: int,
    input_moments: Moments,
    label_moments: Moments | None,
    largest_batch: int,
) -> nn.Module:
    """A model for raw samples of a shape. `label_moments` are given for regression; classes have no units.

    Its parameters come from the global generator of torch.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict(inputs=Standardise(input_moments, sample_shape))
    if len(sample_shape) == 3:
        channels, height, width = sample_shape
        size = workable_size(architecture, height, width, largest_batch)
        if size != (height, width):
            layers["resize"] = nn.Upsample(size, mode="bilinear", align_corners=False)
        sample_shape = (channels, *size)
    layers["network"] = NETWORKS[architecture](sample_shape, output_count)
    if label_moments is not None:
        layers["outputs"] = LabelUnits(label_moments)
    return nn.Sequential(layers)


def workable_size(architecture: str, height: int, width: int, largest_batch: int) -> tuple[int, int]:
    """The size that images are brought to: their own where the network can work with it."""
    if architecture == "mlp":
        return height, width
    if architecture == "maxvit_t":
        return 224, 224  # its windows of 7 divide no smaller image
    if architecture.startswith("vit_"):
        # Square, a multiple of the patch, and made of at least 4 x 4 patches; beyond 224 attention grows too dear.
        patch = int(architecture.rpartition("_")[2])
        side = min(224, patch * max(4, math.ceil(max(height, width) / patch)))
        return side, side
    smallest = {"cnn": 4, "alexnet": 64, "inception_v3": 75}.get(architecture, 32)
    if architecture != "cnn" and largest_batch == 1:
        # torchvision's networks shrink their smallest image to a single pixel, and batch normalisation needs more
        # than one value a channel: from another sample, or else from another pixel.
        smallest *= 2
    return max(height, smallest), max(width, smallest)


def build_mlp(sample_shape: Shape, output_count: int) -> nn.Module:
    """Two hidden layers over all values of a sample."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(math.prod(sample_shape), 256),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(256, 128),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(128, output_count),
    )


class GlobalAverage(nn.Module):
    """(N, C, H, W) to (N, C). A mean, since adaptive pooling has no deterministic gradient on a GPU."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


def build_cnn(sample_shape: Shape, output_count: int) -> nn.Module:
    """Three convolutions with batch normalisation, then the average of each channel."""
    channels, height, width = sample_shape
    layers: list[nn.Module] = []
    for features in (32, 64, 128):
        layers += [nn.Conv2d(channels, features, 3, padding=1, bias=False), nn.BatchNorm2d(features), nn.ReLU()]
        channels = features
        # Never down to one pixel: batch normalisation could not train on one sample then.
        if min(height, width) >= 4:
            layers.append(nn.MaxPool2d(2))
            height, width = height // 2, width // 2
    return nn.Sequential(*layers, GlobalAverage(), nn.Dropout(0.2), nn.Linear(channels, output_count))


def build_torchvision(name: str, sample_shape: Shape, output_count: int) -> nn.Module:
    """A classification network of torchvision, untrained, for any number of channels and outputs."""
    channels, side, _ = sample_shape
    options: dict[str, Any] = {}
    if name in ("googlenet", "inception_v3"):
        options = {"aux_logits": False, "init_weights": True}
    elif name.startswith("vit_"):
        options = {"image_size": side}
    network: nn.Module = import_torchvision().models.get_model(name, weights=None, num_classes=output_count, **options)
    if name.startswith("squeezenet"):
        # It ends in a ReLU, and a logit or a regression's output may be negative.
        network.set_submodule("classifier.2", nn.Identity())
    if channels != 3:
        first = next(layer for layer in network.modules() if isinstance(layer, nn.Conv2d))
        first.in_channels = channels
        first.weight = nn.Parameter(torch.empty(first.out_channels, channels, *first.kernel_size))
        first.reset_parameters()
    return network


NETWORKS: dict[str, Build] = {
    "mlp": build_mlp,
    "cnn": build_cnn,
    **{name: partial(build_torchvision, name) for name in TORCHVISION_NETWORKS},
}

_schemas: list[torch.library.Library] = []  # a library's operators live as long as it does


def import_torchvision() -> ModuleType:
    """torchvision, also beside a CPU build of torch.

    Its compiled operators do not load there, and importing it fails on two that are unknown. No classification
    network calls them: their schemas are enough.
    """
    try:
        import torchvision
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
        for operator in ("nms", "qnms"):
            schema = f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            library.define(schema)  # type: ignore[no-untyped-call]
        _schemas.append(library)
        import torchvision
    module: ModuleType = torchvision
    return module
