"""Checkpoints: whole or not there, and never a damaged one."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.engine.checkpoint import (
    MANIFEST,
    STATE,
    Checkpoint,
    CheckpointStore,
    find_newest,
    finish_replacing,
    remove_newer,
    save_weights,
    written,
)


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


def nest_the_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text("[" * 100_000)


def forget_the_hash(folder: Path) -> None:
    (folder / "manifest.json").write_text('{"epoch": 2, "step": 20}')


DAMAGES = [
    flip_a_bit,
    cut_the_state,
    remove_the_state,
    remove_the_manifest,
    cut_the_manifest,
    replace_the_manifest,
    nest_the_manifest,
    forget_the_hash,
]


def cut(content: bytes, where: float) -> bytes:
    return content[: int(len(content) * where)]


def zero_the_end(content: bytes, where: float) -> bytes:
    return cut(content, where).ljust(len(content), b"\0")


def flip_any_bit(content: bytes, where: float) -> bytes:
    place, bit = divmod(int(len(content) * 8 * where), 8)
    return content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]


DAMAGES_OF_BYTES = [cut, zero_the_end, flip_any_bit]
FILES = [STATE, MANIFEST]


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


@settings(max_examples=200)
@given(damage=st.sampled_from(DAMAGES_OF_BYTES), where=st.floats(0, 1, exclude_max=True), file=st.sampled_from(FILES))
def test_whatever_happens_to_bytes_of_the_newest_the_older_one_is_taken(
    two_checkpoints: Path, damage: Any, where: float, file: str
) -> None:
    place = two_checkpoints / "step-00000020" / file
    content = place.read_bytes()
    undamaged = Checkpoint.open(place.parent)
    place.write_bytes(damage(content, where))
    newest, damaged = find_newest(two_checkpoints)
    assert newest is not None
    if damaged:
        assert [str(problem).partition(":")[0] for problem in damaged] == ["step-00000020"]
        assert torch.equal(newest.load()["model"]["weight"], torch.full((100,), 1.0))
    else:  # a cut that took nothing, or zeros where there were zeros
        assert newest == undamaged
        assert file == MANIFEST or place.read_bytes() == content
    place.write_bytes(content)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["epoch", "step", "sha256", "size_bytes", "seal", "x"]), inner, max_size=5
            )
        ),
        max_leaves=8,
    )
)
def test_a_manifest_that_says_something_else_is_damaged(two_checkpoints: Path, content: Any) -> None:
    (two_checkpoints / "step-00000020" / MANIFEST).write_text(json.dumps(content))
    newest, damaged = find_newest(two_checkpoints)
    assert newest is not None
    assert (newest.step, len(damaged)) == (10, 1)


def test_one_of_a_version_that_did_not_seal_its_manifest_is_good(two_checkpoints: Path) -> None:
    place = two_checkpoints / "step-00000020" / MANIFEST
    manifest = json.loads(place.read_bytes())
    del manifest["seal"]
    place.write_text(json.dumps(manifest))
    newest, damaged = find_newest(two_checkpoints)
    assert newest is not None
    assert (newest.step, damaged) == (20, [])


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
    assert (newest.name, newest.step, damaged) == ("step-00000010.replaced", 10, [])
    assert newest.load()["model"]["weight"][0] == 1.0
    finish_replacing(folder)
    newest, _ = find_newest(folder)
    assert newest is not None
    assert newest.name == "step-00000010"
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


def test_one_whose_place_was_taken_already_is_removed(two_checkpoints: Path) -> None:
    (two_checkpoints / "step-00000010").rename(two_checkpoints / "step-00000020.replaced")
    finish_replacing(two_checkpoints)
    assert [path.name for path in two_checkpoints.iterdir()] == ["step-00000020"]


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


def test_a_damaged_one_takes_no_place_of_a_good_one_once_the_training_has_gone_past_it(two_checkpoints: Path) -> None:
    """Of two that are kept, one would otherwise be the damaged one, and a second damage the end of the session."""
    flip_a_bit(two_checkpoints / "step-00000020")
    older, _ = find_newest(two_checkpoints)
    assert older is not None
    remove_newer(older)
    CheckpointStore(two_checkpoints, keep=2).save(state(3.0), epoch=3, step=30)
    assert sorted(path.name for path in two_checkpoints.iterdir()) == ["step-00000010", "step-00000030"]
    cut_the_state(two_checkpoints / "step-00000030")
    newest, _ = find_newest(two_checkpoints)
    assert newest is not None
    assert newest.name == "step-00000010"


def test_what_is_written_is_told_by_the_manifests_alone(two_checkpoints: Path) -> None:
    remove_the_state(two_checkpoints / "step-00000020")
    told = [(checkpoint.name, checkpoint.epoch, checkpoint.step) for checkpoint in written(two_checkpoints)]
    assert told == [("step-00000020", 2, 20), ("step-00000010", 1, 10)]
    for spoil in (nest_the_manifest, replace_the_manifest, forget_the_hash, cut_the_manifest, remove_the_manifest):
        spoil(two_checkpoints / "step-00000020")
        assert [checkpoint.name for checkpoint in written(two_checkpoints)] == ["step-00000010"]
    assert written(two_checkpoints / "nowhere") == []
