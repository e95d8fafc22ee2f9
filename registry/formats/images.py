"""Datasets as images: a zip or tar.gz archive with one folder per class, the folders beside each other.

All images must be of one size: how to crop or stretch is the user's decision. They become 8-bit samples with one
channel when all are grayscale, else with three. What desktops leave behind in archives is passed over.
"""

from io import BytesIO
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from registry.formats import limits
from registry.formats.archives import read_entries
from registry.formats.contents import Array, Contents, InvalidDataset, quoted, refusing
from registry.formats.labels import encode_names

IMAGE_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")
CLUTTER = ("__MACOSX", "Thumbs.db", "desktop.ini")


def read(path: Path) -> Contents:
    """Decode an archive of images. Raises InvalidDataset, which names the entry."""
    images: list[Array] = []
    folders: list[PurePosixPath] = []
    decoded_bytes = 0
    for name, data in read_entries(path):
        entry = PurePosixPath(name)
        if any(part.startswith(".") or part in CLUTTER for part in entry.parts):
            continue
        if len(entry.parts) < 2 or (folders and entry.parent.parent != folders[0].parent):
            raise InvalidDataset(f"{quoted(name)} does not lie in a folder per class, all folders beside each other")
        image = decode(data, name)
        if images and image.shape[:2] != images[0].shape[:2]:
            size, first = (f"{shape[1]}x{shape[0]}" for shape in (image.shape, images[0].shape))
            raise InvalidDataset(f"{quoted(name)} is {size} pixels, the first image {first}; bring all to one size")
        # Counted with three channels, which one image in color gives to all.
        decoded_bytes += image.shape[0] * image.shape[1] * 3
        if decoded_bytes > limits.MAX_DECODED_BYTES:
            raise InvalidDataset(f"the images are larger than {limits.MAX_DECODED_BYTES} bytes when decoded")
        images.append(image)
        folders.append(entry.parent)
    if not images:
        raise InvalidDataset("the archive holds no images")
    y, class_names = encode_names([folder.name for folder in folders], lambda index: quoted(str(folders[index])))
    return Contents("images", _stack(images), y, class_names)


def decode(data: bytearray, name: str) -> Array:
    """One image as (H, W, 1) when it is grayscale, else (H, W, 3), uint8."""
    with refusing(f"{quoted(name)} is not an image that can be read; {', '.join(IMAGE_FORMATS)} can"):
        image: Image.Image = Image.open(BytesIO(data), formats=IMAGE_FORMATS)
    if image.width * image.height > limits.MAX_IMAGE_PIXELS:
        raise InvalidDataset(f"{quoted(name)} has more than {limits.MAX_IMAGE_PIXELS} pixels")
    if image.mode.startswith(("I", "F")):
        raise InvalidDataset(f"{quoted(name)} has more than 8 bits per channel; convert it to 8 bits")
    with refusing(f"{quoted(name)} is a damaged image"):
        if image.mode in ("1", "L", "LA"):
            return np.asarray(image.convert("L"))[:, :, np.newaxis]
        if image.mode == "P":
            image = image.convert("RGBA")  # straight to RGB, Pillow warns of a palette's transparency
        return np.asarray(image.convert("RGB"))


def _stack(images: list[Array]) -> Array:
    channels = max(image.shape[2] for image in images)
    x = np.empty((len(images), *images[0].shape[:2], channels), np.uint8)
    while images:  # from the end, each let go at once, so that they are not in memory twice
        image = images.pop()
        x[len(images)] = image  # a single channel goes to all three
    return x
