"""The architectures by name, and what of a configuration fits a dataset. No torch and no Django here."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Protocol

from training.spec import CLASSIFICATION_LOSSES, REGRESSION_LOSSES

# The classification networks of torchvision 0.28, by their own names.
TORCHVISION_NETWORKS = """
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


@dataclass(frozen=True)
class Architecture:
    """A network by name. All take images; `takes_rows` says whether it takes flat rows of features too."""

    name: str
    takes_rows: bool = False


ARCHITECTURES: Mapping[str, Architecture] = {
    architecture.name: architecture
    for architecture in (
        Architecture("mlp", takes_rows=True),
        Architecture("cnn"),
        *map(Architecture, TORCHVISION_NETWORKS),
    )
}


class Described(Protocol):
    """What is known of a dataset: a row of the registry or a description by registry.formats."""

    @property
    def dimensions(self) -> str: ...  # "28x28x1" for images, "64" for rows of features
    @property
    def sample_count(self) -> int: ...
    @property
    def labels(self) -> str: ...  # "names", "integers" or "numbers"
    @property
    def class_count(self) -> int | None: ...  # None for numbers


def misfits(config: Mapping[str, Any], dataset: Described | None) -> dict[str, list[str]]:
    """What of a configuration does not fit: field → messages, empty when the session can be trained.

    `config` maps fields to right values. What depends on a field that is not there, or on a dataset that is not known,
    is left out: that has been refused already.
    """
    found: dict[str, list[str]] = {}

    def add(field: str, message: str) -> None:
        found.setdefault(field, []).append(message)

    name, loss = config.get("model_architecture"), config.get("loss_function")
    architecture = ARCHITECTURES.get(name) if name else None
    if name and architecture is None:
        add("model_architecture", _unknown(name))
    if dataset is None:
        return found
    if architecture and "x" not in dataset.dimensions and not architecture.takes_rows:
        add(
            "model_architecture",
            f"{architecture.name} takes images, and this dataset holds rows of {dataset.dimensions} features; use mlp",
        )
    if dataset.sample_count < 2:
        add(
            "dataset_name",
            "the dataset is too small: training needs a sample to learn from and another to validate with",
        )
    if loss in CLASSIFICATION_LOSSES:
        if dataset.labels == "numbers":
            add("loss_function", f"{loss} needs classes, and this dataset's labels are real numbers; use mse or mae")
        elif dataset.class_count is None or dataset.class_count < 2:
            add("dataset_name", f"{loss} needs at least two classes, and this dataset's labels are all the same")
    if loss in REGRESSION_LOSSES and dataset.labels == "names":
        add("loss_function", f"{loss} needs numbers, and this dataset's labels are names; use cross_entropy or bce")
    return found


def _unknown(name: str) -> str:
    """Says that an architecture is not known, and which ones are."""
    shown = name if len(name) <= 60 else f"{name[:60]}…"
    near = get_close_matches(shown.lower(), ARCHITECTURES)
    hint = (
        f"did you mean {' or '.join(near)}?"
        if near
        else ("known are mlp, cnn and torchvision's classification networks, such as resnet18, vgg16 or vit_b_16")
    )
    return f"{shown!r} is not a known architecture; {hint}"
