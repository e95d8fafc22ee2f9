"""Small networks for rows and images: what one tries first."""

import math
from typing import Annotated

from torch import Tensor, nn

from training.engine.architectures import Between, DataShape, architecture

Dropout = Annotated[float, Between(0, 0.99), "The share of values that is left out at random while training."]


@architecture("mlp", takes=("rows", "images"))
def build_mlp(
    data: DataShape,
    *,
    width: Annotated[int, Between(1, 65_536), "Units of the first hidden layer."] = 256,
    depth: Annotated[int, Between(1, 100), "Hidden layers."] = 2,
    dropout: Dropout = 0.2,
) -> nn.Module:
    """Fully connected: hidden layers over all values of a sample, each half as wide as the one before it."""
    layers: list[nn.Module] = [nn.Flatten()]
    features = math.prod(data.sample_shape)
    for _ in range(depth):
        layers += [nn.Linear(features, width), nn.ReLU(), nn.Dropout(dropout)]
        features, width = width, max(1, width // 2)
    return nn.Sequential(*layers, nn.Linear(features, data.output_count))


class GlobalAverage(nn.Module):
    """(N, C, H, W) to (N, C). A mean, since adaptive pooling has no deterministic gradient on a GPU."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


@architecture("cnn", takes=("images",))
def build_cnn(
    data: DataShape,
    *,
    width: Annotated[int, Between(1, 4096), "Channels of the first convolution."] = 32,
    depth: Annotated[int, Between(1, 10), "Convolutions."] = 3,
    dropout: Dropout = 0.2,
) -> nn.Module:
    """Convolutions with batch normalisation, each twice as wide as the last, then the average of each channel."""
    channels, height, width_px = data.sample_shape
    layers: list[nn.Module] = []
    if min(height, width_px) < 4:
        height, width_px = max(height, 4), max(width_px, 4)
        layers.append(nn.Upsample((height, width_px), mode="bilinear", align_corners=False))
    for _ in range(depth):
        layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        channels, width = width, width * 2
        # Never down to one pixel: batch normalisation could not train on one sample then.
        if min(height, width_px) >= 4:
            layers.append(nn.MaxPool2d(2))
            height, width_px = height // 2, width_px // 2
    return nn.Sequential(*layers, GlobalAverage(), nn.Dropout(dropout), nn.Linear(channels, data.output_count))
