"""Training images varied at random, so that a network does not learn them by heart.

All chance comes from torch's global generators, which a checkpoint holds: a resumed session varies as it would have.
Images keep their shape, their type and their label.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from training.engine.failures import TrainingFailure

Augmentation = Callable[[Tensor], Tensor]  # (N, C, H, W) to the same

# How far crop_flip moves an image, in pixels.
LARGEST_SHIFT = 4
# These change colors, and know only what 8 bits mean by light and dark.
FOR_BYTES = ("color", "randaugment", "trivialaugment")
FOR_ANY = ("flip", "crop_flip", "affine")


def build_augmentation(policy: str, dataset_name: str, holds_bytes: bool, channels: int) -> Augmentation | None:
    """A policy by its name in a configuration; None for `none`. Raises TrainingFailure (bad_config).

    `holds_bytes` says whether the images are of 8 bits; others may hold any numbers.
    """
    if policy == "none":
        return None
    if policy == "flip":
        return lambda images: shift_and_flip(images, 0)
    if policy == "crop_flip":
        return lambda images: shift_and_flip(images, LARGEST_SHIFT)
    if policy in FOR_BYTES and not (holds_bytes and channels in (1, 3)):
        held = f"images of 8 bits with {channels} channels" if holds_bytes else "images of real numbers"
        raise TrainingFailure(
            "bad_config",
            f"augment {policy} is for images of 8 bits with one or three channels, and the dataset {dataset_name} "
            f"holds {held}: use {', '.join(FOR_ANY)} or none.",
        )
    return _each(_transform(policy, channels))


def shift_and_flip(images: Tensor, largest_shift: int) -> Tensor:
    """Each image moved by up to so many pixels each way, and every second one mirrored, left to right.

    What is moved in comes from a mirror at the edge. images: (N, C, H, W), of any type.
    """
    count, _, height, width = images.shape
    down = _shifts(count, height, largest_shift, images.device)
    right = _shifts(count, width, largest_shift, images.device)
    flipped = torch.rand(count, 1, device=images.device) < 0.5
    right = torch.where(flipped, right.flip(1), right)
    samples = torch.arange(count, device=images.device)
    # Channels last, as the images lie in memory.
    varied = images.permute(0, 2, 3, 1)[samples[:, None, None], down[:, :, None], right[:, None, :]]
    return varied.permute(0, 3, 1, 2)


def _shifts(count: int, length: int, largest_shift: int, device: torch.device) -> Tensor:
    """For each of `count` images, the places along an axis that its pixels come from: (count, length)."""
    largest = min(largest_shift, length - 1)
    shift = torch.randint(-largest, largest + 1, (count, 1), device=device)
    places = (torch.arange(length, device=device) + shift).abs()
    return (length - 1) - ((length - 1) - places).abs()


def _each(transform: Callable[[Tensor], Tensor]) -> Augmentation:
    """A transform of torchvision on image after image: on a batch it would do the same to all."""

    def augment(images: Tensor) -> Tensor:
        return torch.stack([transform(image) for image in images]).contiguous(memory_format=torch.channels_last)

    return augment


def _transform(policy: str, channels: int) -> Callable[[Tensor], Tensor]:
    # Here, since its import takes seconds, and most sessions need none.
    from training.engine.networks.torchvision import import_torchvision

    import_torchvision()
    from torchvision.transforms import InterpolationMode, v2

    if policy == "affine":
        return v2.RandomAffine(  # type: ignore[no-any-return]
            degrees=10, translate=(0.1, 0.1), scale=(0.9, 1.1), interpolation=InterpolationMode.BILINEAR
        )
    if policy == "color":
        of_color = {"saturation": 0.2, "hue": 0.05} if channels == 3 else {}
        return v2.ColorJitter(brightness=0.2, contrast=0.2, **of_color)  # type: ignore[no-any-return]
    return {"randaugment": v2.RandAugment, "trivialaugment": v2.TrivialAugmentWide}[policy]()  # type: ignore[no-any-return]
