"""Checkpoints: whole or not there, and never a damaged one."""

from pathlib import Path
from typing import Any

import pytest
import torch

from training.engine import checkpoint as module
from training.engine.checkpoint import CheckpointStore, find_newest, save_weights


def state(value: float) -> dict[str, Any]:
    return {"model": {"weight": torch.full((100,), value)}, "progress": {"epoch": 1}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "checkpoints"
    path.mkdir()
    return path


@pytest.fixture
def two_checkpoints(folder: Path) -> Path:
    store = CheckpointStore(folder, keep=2)
    store.save(state(1.0), epoch=1, step=10)
    store.save(state(2.0), epoch=2, step=20)
    return folder


def flip_a_bit(folder: Path) -> None:
    data = bytearray((folder / "state.pt").read_bytes())
    position = data.index(b"\x00\x00\x00\x40" * 8)  # within the tensor, where torch.load notices nothing
    data[position] ^= 1
    (folder / "state.pt").write_bytes(data)
    torch.load(folder / "state.pt", weights_only=True)


def cut_the_state(folder: Path) -> None:
    with (folder / "state.pt").open("r+b") as file:
        file.truncate(200)


def remove_the_state(folder: Path) -> None:
    (folder / "state.pt").unlink()


def remove_the_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def cut_the_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text('{"epoch": 1')


def replace_the_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text("[1, 2]")


def forget_the_hash(folder: Path) -> None:
    (folder / "manifest.json").write_text('{"epoch": 2, "step": 20}')


DAMAGES = [
    flip_a_bit,
    cut_the_state,
    remove_the_state,
    remove_the_manifest,
    cut_the_manifest,
    replace_the_manifest,
    forget_the_hash,
]


def test_what_was_saved_is_loaded(two_checkpoints: Path) -> None:
    newest, damaged = find_newest(two_checkpoints)
    assert newest is not None
    assert (newest.name, newest.epoch, newest.step, damaged) == ("step-00000020", 2, 20, [])
    assert newest.size_bytes == (newest.folder / "state.pt").stat().st_size
    assert torch.equal(newest.load()["model"]["weight"], torch.full((100,), 2.0))


def test_an_empty_folder_holds_none(folder: Path) -> None:
    assert find_newest(folder) == (None, [])


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_newest_is_skipped_and_named(two_checkpoints: Path, damage: Any) -> None:
    damage(two_checkpoints / "step-00000020")
    newest, damaged = find_newest(two_checkpoints)
    assert newest is not None
    assert newest.step == 10
    assert [str(problem).partition(":")[0] for problem in damaged] == ["step-00000020"]


def test_only_damaged_ones_give_none(two_checkpoints: Path) -> None:
    for path in two_checkpoints.iterdir():
        cut_the_state(path)
    newest, damaged = find_newest(two_checkpoints)
    assert newest is None
    assert len(damaged) == 2


def test_the_newest_few_are_kept_and_they_count_by_number(folder: Path) -> None:
    store = CheckpointStore(folder, keep=2)
    for step in (99_999_999, 100_000_000, 100_000_001):
        store.save(state(0.0), epoch=1, step=step)
    assert {path.name for path in folder.iterdir()} == {"step-100000000", "step-100000001"}
    newest, _ = find_newest(folder)
    assert newest is not None
    assert newest.step == 100_000_001


def test_a_damaged_one_of_a_later_step_does_not_push_out_good_ones(two_checkpoints: Path) -> None:
    cut_the_state(two_checkpoints / "step-00000020")
    CheckpointStore(two_checkpoints, keep=2).save(state(3.0), epoch=1, step=15)
    assert {path.name for path in two_checkpoints.iterdir()} == {"step-00000010", "step-00000015"}


def test_a_checkpoint_of_the_same_step_replaces_the_older(two_checkpoints: Path) -> None:
    CheckpointStore(two_checkpoints, keep=2).save(state(3.0), epoch=3, step=20)
    newest, _ = find_newest(two_checkpoints)
    assert newest is not None
    assert newest.epoch == 3
    assert newest.load()["model"]["weight"][0] == 3.0


def test_one_that_is_being_replaced_is_found_until_the_new_one_is_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = CheckpointStore(folder, keep=1)
    store.save(state(1.0), epoch=1, step=10)
    rename = Path.rename

    def die_before_the_new_one_is_in_its_place(path: Path, target: Path) -> Path:
        if path.suffix == ".part":
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", die_before_the_new_one_is_in_its_place)
    with pytest.raises(KeyboardInterrupt):
        store.save(state(2.0), epoch=1, step=10)
    monkeypatch.undo()
    newest, damaged = find_newest(folder)
    assert newest is not None
    assert (newest.step, damaged) == (10, [])
    assert newest.load()["model"]["weight"][0] == 1.0
    store.save(state(2.0), epoch=1, step=10)
    assert [path.name for path in folder.iterdir()] == ["step-00000010"]


def test_a_half_written_one_is_not_seen_and_goes_with_the_next(two_checkpoints: Path) -> None:
    (two_checkpoints / ".step-00000030.part").mkdir()
    (two_checkpoints / ".step-00000030.part" / "state.pt").write_bytes(b"half")
    newest, damaged = find_newest(two_checkpoints)
    assert newest is not None
    assert (newest.step, damaged) == (20, [])
    CheckpointStore(two_checkpoints, keep=1).save(state(4.0), epoch=4, step=40)
    assert [path.name for path in two_checkpoints.iterdir()] == ["step-00000040"]


def test_a_save_that_fails_leaves_what_was_there(two_checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill_the_disk(path: Path, state: dict[str, Any]) -> str:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_write_state", fill_the_disk)
    with pytest.raises(OSError, match="No space"):
        CheckpointStore(two_checkpoints, keep=1).save(state(3.0), epoch=3, step=30)
    with pytest.raises(OSError, match="No space"):
        save_weights({}, two_checkpoints / "model.pt")
    assert {path.name for path in two_checkpoints.iterdir()} == {"step-00000010", "step-00000020"}


def test_code_in_a_checkpoint_is_not_run(folder: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return Path.touch, (folder / "trapped",)

    saved = CheckpointStore(folder, keep=1).save({"model": Trap()}, epoch=1, step=1)
    with pytest.raises(Exception, match=r"[Ww]eights"):
        saved.load()
    assert not (folder / "trapped").exists()


def test_equal_weights_are_equal_bytes(folder: Path) -> None:
    weight = torch.arange(24.0).reshape(1, 2, 3, 4)
    one = save_weights({"weight": weight}, folder / "one.pt")
    two = save_weights({"weight": weight.to(memory_format=torch.channels_last)}, folder / "two.pt")
    assert one == two
    assert torch.equal(torch.load(folder / "two.pt", weights_only=True)["weight"], weight)
    assert {path.name for path in folder.iterdir()} == {"one.pt", "two.pt"}
