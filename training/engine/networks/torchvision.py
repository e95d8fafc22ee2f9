"""torchvision's classification networks, untrained, for images of any size and any number of channels."""

import math
from importlib import metadata
from types import ModuleType
from typing import Any

import torch
from torch import nn

from training.engine.architectures import DataShape, architecture

# The classification networks of torchvision 0.28, by their own names.
NETWORKS = """
alexnet
convnext_base convnext_large convnext_small convnext_tiny
densenet121 densenet161 densenet169 densenet201
efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_b3 efficientnet_b4 efficientnet_b5 efficientnet_b6
efficientnet_b7 efficientnet_v2_l efficientnet_v2_m efficientnet_v2_s
googlenet inception_v3 maxvit_t
mnasnet0_5 mnasnet0_75 mnasnet1_0 mnasnet1_3
mobilenet_v2 mobilenet_v3_large mobilenet_v3_small
regnet_x_16gf regnet_x_1_6gf regnet_x_32gf regnet_x_3_2gf regnet_x_400mf regnet_x_800mf regnet_x_8gf
regnet_y_128gf regnet_y_16gf regnet_y_1_6gf regnet_y_32gf regnet_y_3_2gf regnet_y_400mf regnet_y_800mf regnet_y_8gf
resnet101 resnet152 resnet18 resnet34 resnet50 resnext101_32x8d resnext101_64x4d resnext50_32x4d
shufflenet_v2_x0_5 shufflenet_v2_x1_0 shufflenet_v2_x1_5 shufflenet_v2_x2_0 squeezenet1_0 squeezenet1_1
swin_b swin_s swin_t swin_v2_b swin_v2_s swin_v2_t
vgg11 vgg11_bn vgg13 vgg13_bn vgg16 vgg16_bn vgg19 vgg19_bn
vit_b_16 vit_b_32 vit_h_14 vit_l_16 vit_l_32
wide_resnet101_2 wide_resnet50_2
""".split()  # noqa: SIM905 - as a list it takes eighty lines


def workable_size(name: str, height: int, width: int, largest_batch: int) -> tuple[int, int]:
    """The size that images are brought to: their own where the network can work with it."""
    if name == "maxvit_t":
        return 224, 224  # its windows of 7 divide no smaller image
    if name.startswith("vit_"):
        # Square, a multiple of the patch, and made of at least 4 x 4 patches; beyond 224 attention grows too dear.
        patch = int(name.rpartition("_")[2])
        side = min(224, patch * max(4, math.ceil(max(height, width) / patch)))
        return side, side
    smallest = {"alexnet": 64, "inception_v3": 75}.get(name, 32)
    if largest_batch == 1:
        # torchvision's networks shrink their smallest image to a single pixel, and batch normalisation needs more
        # than one value a channel: from another sample, or else from another pixel.
        smallest *= 2
    return max(height, smallest), max(width, smallest)


def build_network(name: str, data: DataShape) -> nn.Module:
    """A classification network of torchvision, untrained, for any number of channels and outputs."""
    channels, height, width = data.sample_shape
    size = workable_size(name, height, width, data.largest_batch)
    options: dict[str, Any] = {}
    if name in ("googlenet", "inception_v3"):
        options = {"aux_logits": False, "init_weights": True}
    elif name.startswith("vit_"):
        options = {"image_size": size[0]}
    network: nn.Module = import_torchvision().models.get_model(
        name, weights=None, num_classes=data.output_count, **options
    )
    if name.startswith("squeezenet"):
        # It ends in a ReLU, and a logit or a regression's output may be negative.
        network.set_submodule("classifier.2", nn.Identity())
    if channels != 3:
        first = next(layer for layer in network.modules() if isinstance(layer, nn.Conv2d))
        first.in_channels = channels
        first.weight = nn.Parameter(torch.empty(first.out_channels, channels, *first.kernel_size))
        first.reset_parameters()
    if size == (height, width):
        return network
    return nn.Sequential(nn.Upsample(size, mode="bilinear", align_corners=False), network)


SOURCE = f"torchvision {metadata.version('torchvision')}"


def _register(name: str) -> None:
    @architecture(name, takes=("images",), source=SOURCE, description=f"torchvision's {name}, untrained.")
    def build(data: DataShape) -> nn.Module:
        return build_network(name, data)


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


for _name in NETWORKS:
    _register(_name)
