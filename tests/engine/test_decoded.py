"""What a trainer reads is decoded once, mapped when it is large, and read ahead of the training."""

import hashlib
import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from registry import formats
from registry.formats import decoded
from registry.formats.decoded import read_decoded
from tests.engine.conftest import MakeSession, classes, images, rows
from training.engine import data as data_module
from training.engine.architectures import catalogue
from training.engine.data import TrainingData, available_memory_bytes
from training.engine.reading_ahead import BATCHES_AHEAD, ReadAhead
from training.engine.trainer import Trainer
from training.journal import JournalWriter, SessionDirectory
from training.spec import SessionSpec

CPU = torch.device("cpu")


def load(directory: SessionDirectory, folder: Path | None = None) -> TrainingData:
    return TrainingData.load(SessionSpec.read(directory.spec), catalogue(), folder)


def the_same(first: TrainingData, second: TrainingData) -> bool:
    return torch.equal(first.x, second.x) and torch.equal(first.y, second.y) and first.class_names == second.class_names


@pytest.fixture
def no_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on nothing may be decoded."""

    def refuse(path: Path, format: str | None = None) -> formats.Contents:
        pytest.fail("the dataset was decoded again")

    monkeypatch.setattr(decoded, "read", refuse)


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every dataset is larger than half of what is available."""
    monkeypatch.setattr(data_module, "available_memory_bytes", lambda: 0)


def test_the_second_trainer_decodes_nothing(
    make_session: MakeSession, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    x, y = images(channels=3), np.array(["b", "ä", "c"])[classes()]
    directory = make_session(x_train=x[:20], y_train=y[:20], x_test=x[20:], y_test=y[20:])
    first = load(directory)
    sha256 = SessionSpec.read(directory.spec).dataset.sha256
    assert (tmp_path / "decoded" / sha256 / "npz" / "x.npy").exists()
    request.getfixturevalue("no_decoding")
    second = load(directory)
    assert the_same(first, second)
    assert np.array_equal(second.x.numpy(), x)
    assert second.class_names == ("b", "c", "ä")
    assert second.validation_rows.tolist() == [20, 21, 22, 23]


def test_the_folder_may_be_another(make_session: MakeSession, tmp_path: Path) -> None:
    load(make_session(x=rows(), y=classes()), tmp_path / "elsewhere")
    assert not (tmp_path / "decoded").exists()
    assert list((tmp_path / "elsewhere").rglob("x.npy"))


def test_the_same_file_is_kept_for_each_format(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"1,2,0\n3,4,1\n")
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    assert read_decoded(file, "csv", sha256).x.tolist() == [[1, 2], [3, 4]]
    assert read_decoded(file, "text", sha256).x.tobytes() == file.read_bytes()
    decoded.forget(tmp_path / "decoded", sha256)
    assert list((tmp_path / "decoded").iterdir()) == []


@pytest.mark.parametrize("leftover", ["a killed process", "another version", "half a file", "a folder without all"])
def test_what_is_not_whole_is_not_believed(make_session: MakeSession, tmp_path: Path, leftover: str) -> None:
    directory = make_session(x=rows(), y=classes())
    first = load(directory)
    place = tmp_path / "decoded" / SessionSpec.read(directory.spec).dataset.sha256 / "npz"
    if leftover == "a killed process":
        place.rename(place.with_name(".npz.part"))
        (place.with_name(".npz.part") / "x.npy").write_bytes(b"half")
    elif leftover == "another version":
        about = json.loads((place / "about.json").read_text())
        (place / "about.json").write_text(json.dumps({**about, "layout": 0}))
    elif leftover == "half a file":
        with (place / "x.npy").open("r+b") as file:
            file.truncate(150)
    else:
        (place / "y.npy").unlink()
    assert the_same(load(directory), first)
    assert sorted(path.name for path in place.iterdir()) == ["about.json", "x.npy", "y.npy"]
    assert not place.with_name(".npz.part").exists()


def test_of_many_trainers_at_once_one_decodes(make_session: MakeSession, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = make_session(x=rows(), y=classes())
    count = 0
    reads = formats.read

    def counting(path: Path, format: str | None = None) -> formats.Contents:
        nonlocal count
        count += 1
        return reads(path, format)

    monkeypatch.setattr(decoded, "read", counting)
    loaded: list[TrainingData] = []
    threads = [threading.Thread(target=lambda: loaded.append(load(directory))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count == 1
    assert all(the_same(data, loaded[0]) for data in loaded)
    assert len(loaded) == 5


def test_where_nothing_can_be_kept_training_goes_on(
    make_session: MakeSession, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "decoded").write_text("in the way")
    x, y = rows(), classes()
    data = load(make_session(x_train=x[:20], y_train=y[:20], x_test=x[20:], y_test=y[20:]))
    assert np.array_equal(data.x.numpy(), x)
    assert "cannot be kept" in caplog.text


@pytest.mark.usefixtures("little_memory")
def test_large_data_stays_mapped_and_trains_the_same(
    make_session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = make_session(x=images(channels=3), y=classes())
    mapped = load(directory)
    monkeypatch.setattr(data_module, "available_memory_bytes", available_memory_bytes)
    in_memory = load(directory)
    assert mapped.ahead is not None
    assert in_memory.ahead is None
    assert the_same(mapped, in_memory)
    inputs, same = mapped.input_moments(), in_memory.input_moments()
    assert inputs is not None
    assert same is not None
    assert torch.equal(inputs.mean, same.mean)
    batches = mapped.batches(1, 4)
    mapped.announce(batches)
    for batch in batches:
        for ours, theirs in zip(mapped.training_batch(batch, CPU), in_memory.training_batch(batch, CPU), strict=True):
            assert torch.equal(ours, theirs)


def test_a_training_that_reads_ahead_ends_with_the_same_weights(
    make_session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = make_session(x=images(channels=3), y=classes(), model_architecture="cnn", augment="crop_flip")

    def trained() -> Trainer:
        trainer = Trainer(
            SessionSpec.read(directory.spec), directory, JournalWriter(directory.events, 1), lambda: False, None
        )
        assert trainer.fit() == "completed"
        return trainer

    in_memory = trained()
    monkeypatch.setattr(data_module, "available_memory_bytes", lambda: 0)
    mapped = trained()
    assert in_memory.data.ahead is None
    assert mapped.data.ahead is not None
    for name, value in in_memory.model.state_dict().items():
        assert torch.equal(mapped.model.state_dict()[name], value), name


@pytest.mark.usefixtures("little_memory")
def test_what_is_changed_in_memory_reaches_no_file(make_session: MakeSession) -> None:
    directory = make_session(x=images(), y=classes())
    load(directory).x.zero_()
    assert load(directory).x.any()


def test_announced_batches_are_read_before_they_are_asked_for() -> None:
    read: list[int] = []
    all_read = threading.Event()

    def gather(asked: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        read.append(int(asked[0]))
        if len(read) == BATCHES_AHEAD:
            all_read.set()
        return asked * 10, asked

    ahead = ReadAhead(gather)
    batches = [torch.tensor([number]) for number in range(10)]
    ahead.announce(batches)
    assert all_read.wait(10)
    assert read == list(range(BATCHES_AHEAD))  # and no more: each is memory
    assert [int(ahead.take(batch)[0]) for batch in batches] == [number * 10 for number in range(10)]
    assert read == list(range(10))


def test_other_rows_than_those_announced_are_gathered_all_the_same() -> None:
    ahead = ReadAhead(lambda asked: (asked * 10, asked))
    batches = [torch.tensor([number]) for number in range(3)]
    ahead.announce(batches)
    assert ahead.take(torch.tensor([7]))[0].tolist() == [70]
    assert ahead.take(batches[0])[0].tolist() == [0]
    ahead.announce(batches[1:])
    assert [ahead.take(batch)[0].tolist() for batch in batches[1:]] == [[10], [20]]


def test_an_error_while_reading_ahead_is_raised_where_the_batch_is_taken() -> None:
    def fail(asked: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        raise OSError("the disk is gone")

    ahead = ReadAhead(fail)
    batch = torch.tensor([1])
    ahead.announce([batch])
    with pytest.raises(OSError, match="the disk is gone"):
        ahead.take(batch)


# getrusage() would count what the parent once held: the kernel hands that maximum down.
MEASURE = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from training.engine.data import TrainingData
from training.spec import SessionSpec
from training.engine.architectures import catalogue
data = TrainingData.load(SessionSpec.read(Path(sys.argv[1])), catalogue())
data.input_moments()
status = Path("/proc/self/status").read_text()
print(data.x.nbytes, int(status.partition("VmHWM:")[2].split()[0]) * 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["images", "own split"])
def test_loading_takes_the_memory_of_the_data_and_300_mb(make_session: MakeSession, kind: str) -> None:
    count, half = 200_000, 100_000
    random, y = np.random.default_rng(1), classes(count)
    if kind == "images":
        directory = make_session(x=random.integers(0, 256, (count, 32, 32, 1), np.uint8), y=y)
    else:
        x = random.random((count, 256), np.float32)
        directory = make_session(x_train=x[:half], y_train=y[:half], x_test=x[half:], y_test=y[half:])
    for _ in ("decoding", "reading what was kept"):
        output = subprocess.run(
            [sys.executable, "-c", MEASURE, str(directory.spec)], capture_output=True, text=True, check=True
        ).stdout
        data_bytes, peak_bytes = map(int, output.split())
        assert data_bytes > 200e6
        assert peak_bytes <= data_bytes + 300e6
