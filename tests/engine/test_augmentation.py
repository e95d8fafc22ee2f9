"""Images varied at random."""

import pytest
import torch

from tests.engine.conftest import MakeSession, classes, images
from training.engine.architectures import catalogue
from training.engine.augmentation import FOR_ANY, FOR_BYTES, build_augmentation, shift_and_flip
from training.engine.data import TrainingData
from training.engine.failures import TrainingFailure
from training.spec import AUGMENTATIONS, SessionSpec

CPU = torch.device("cpu")


def picture(channels: int = 3, height: int = 12, width: int = 10) -> torch.Tensor:
    """(C, H, W) bytes, no two columns or rows alike."""
    return torch.randint(0, 256, (channels, height, width), dtype=torch.uint8, generator=torch.manual_seed(3))


def batch_of(image: torch.Tensor, count: int = 32) -> torch.Tensor:
    """The same image again and again, as a batch lies in memory."""
    return image.expand(count, *image.shape).contiguous(memory_format=torch.channels_last)


def varied(policy: str, samples: torch.Tensor, seed: int = 0) -> torch.Tensor:
    augment = build_augmentation(policy, "pictures", samples.dtype == torch.uint8, samples.shape[1])
    assert augment is not None
    torch.manual_seed(seed)
    return augment(samples)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("policy", [*FOR_ANY, *FOR_BYTES])
def test_each_sample_of_a_batch_varies_by_itself_and_keeps_its_form(policy: str, channels: int) -> None:
    samples = batch_of(picture(channels))
    outputs = varied(policy, samples)
    assert (outputs.shape, outputs.dtype) == (samples.shape, torch.uint8)
    assert outputs.is_contiguous(memory_format=torch.channels_last)
    assert len({output.numpy().tobytes() for output in outputs}) > (1 if policy == "flip" else 5)


@pytest.mark.parametrize("policy", [*FOR_ANY, *FOR_BYTES])
def test_the_seed_decides_everything(policy: str) -> None:
    samples = batch_of(picture(), 8)
    assert torch.equal(varied(policy, samples, 1), varied(policy, samples, 1))
    assert not torch.equal(varied(policy, samples, 1), varied(policy, samples, 2))


@pytest.mark.parametrize("policy", FOR_ANY)
@pytest.mark.parametrize("channels", [1, 2, 4])
def test_real_numbers_in_any_channels_can_be_moved(policy: str, channels: int) -> None:
    samples = batch_of(picture(channels).float() * 100 - 3000)
    outputs = varied(policy, samples)
    assert (outputs.shape, outputs.dtype) == (samples.shape, torch.float32)
    assert len({output.numpy().tobytes() for output in outputs}) > 1


@pytest.mark.parametrize("policy", FOR_BYTES)
@pytest.mark.parametrize(("holds_bytes", "channels"), [(False, 3), (True, 2), (True, 4)])
def test_a_policy_that_cannot_vary_these_images_names_those_that_can(
    policy: str, holds_bytes: bool, channels: int
) -> None:
    with pytest.raises(TrainingFailure, match="use flip, crop_flip, affine or none") as caught:
        build_augmentation(policy, "pictures", holds_bytes, channels)
    assert caught.value.code == "bad_config"


def test_every_policy_of_a_configuration_is_known() -> None:
    assert {"none", *FOR_ANY, *FOR_BYTES} == set(AUGMENTATIONS)
    assert build_augmentation("none", "pictures", True, 3) is None


def test_flip_mirrors_left_to_right_or_does_nothing() -> None:
    image = picture()
    outputs = varied("flip", batch_of(image, 200))
    mirrored = [torch.equal(output, image.flip(2)) for output in outputs]
    as_it_was = [torch.equal(output, image) for output in outputs]
    assert sum(mirrored) + sum(as_it_was) == 200
    assert 60 < sum(mirrored) < 140


def test_crop_flip_moves_by_up_to_four_pixels_and_fills_from_a_mirror() -> None:
    image = picture(1)
    padded = torch.nn.functional.pad(image.float(), (4, 4, 4, 4), mode="reflect").byte()
    possible = {}
    for down in range(9):
        for right in range(9):
            crop = padded[:, down : down + 12, right : right + 10]
            possible[crop.numpy().tobytes()] = (down, right, "as it was")
            possible[crop.flip(2).numpy().tobytes()] = (down, right, "mirrored")
    seen = [possible[output.numpy().tobytes()] for output in varied("crop_flip", batch_of(image, 500))]
    assert [len(set(choices)) for choices in zip(*seen, strict=True)] == [9, 9, 2]


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 7), (3, 2)])
def test_the_smallest_images_can_be_moved_too(height: int, width: int) -> None:
    samples = batch_of(picture(2, height, width))
    outputs = shift_and_flip(samples, 4)
    assert outputs.shape == samples.shape
    assert set(outputs.flatten().tolist()) <= set(samples.flatten().tolist())


def test_training_images_vary_and_those_that_validate_do_not(make_session: MakeSession) -> None:
    pictures = images(channels=3)
    directory = make_session(x=pictures, y=classes(), model_architecture="cnn", augment="crop_flip")
    data = TrainingData.load(SessionSpec.read(directory.spec), catalogue())
    rows = torch.arange(8)
    plain, targets = data.batch(rows, CPU)
    torch.manual_seed(0)
    samples, same_targets = data.training_batch(rows, CPU)
    assert torch.equal(plain, torch.from_numpy(pictures[:8]).permute(0, 3, 1, 2))
    assert not torch.equal(samples, plain)
    assert torch.equal(targets, same_targets)
    torch.manual_seed(0)
    assert torch.equal(data.training_batch(rows, CPU)[0], samples)


def test_a_dataset_of_real_numbers_says_so_at_the_start(make_session: MakeSession) -> None:
    directory = make_session(x=images() / 255.0, y=classes(), model_architecture="cnn", augment="color")
    with pytest.raises(TrainingFailure, match="images of real numbers: use flip") as caught:
        TrainingData.load(SessionSpec.read(directory.spec), catalogue())
    assert caught.value.code == "bad_config"
