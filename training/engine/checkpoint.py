"""Checkpoints and weights on the disk: there whole, or not there at all.

A checkpoint is a folder named by its step, with the state and a manifest that holds the state's sha256. It is
written aside, brought to the disk, and renamed. torch reads a state with a flipped bit without a word, hence the hash.

torch is imported where it is used: the trainer says which checkpoint it goes on from before it pays for torch.
"""

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from registry.files import fsync_folder, sha256_of

STATE = "state.pt"
MANIFEST = "manifest.json"


class DamagedCheckpoint(Exception):
    """A checkpoint whose files are missing or are not what was written."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that is whole. `epoch` and `step` count what is complete in it."""

    folder: Path
    epoch: int
    step: int
    size_bytes: int
    sha256: str

    @property
    def name(self) -> str:
        return self.folder.name

    @classmethod
    def open(cls, folder: Path) -> Self:
        """The checkpoint in this folder, checked against its hash. Raises DamagedCheckpoint."""
        try:
            checkpoint = cls(folder, **json.loads((folder / MANIFEST).read_bytes()))
            sha256 = sha256_of(folder / STATE)
        except (OSError, ValueError, TypeError) as error:
            raise DamagedCheckpoint(f"{folder.name}: {error}") from error
        if sha256 != checkpoint.sha256:
            raise DamagedCheckpoint(f"{folder.name}: its state is not what was written")
        return checkpoint

    def load(self) -> dict[str, Any]:
        """The state that was saved, on the CPU."""
        import torch

        state: dict[str, Any] = torch.load(self.folder / STATE, map_location="cpu", weights_only=True)
        return state


def find_newest(folder: Path) -> tuple[Checkpoint | None, list[DamagedCheckpoint]]:
    """The newest checkpoint in a folder that is whole, if there is one, and what is wrong with those that are newer."""
    damaged: list[DamagedCheckpoint] = []
    for path in _newest_first(folder):
        try:
            return Checkpoint.open(path), damaged
        except DamagedCheckpoint as error:
            damaged.append(error)
    return None, damaged


class CheckpointStore:
    """Writes the checkpoints of one session and keeps the newest. One trainer at a time uses it."""

    def __init__(self, folder: Path, keep: int) -> None:
        self._folder = folder
        self._keep = keep

    def save(self, state: dict[str, Any], epoch: int, step: int) -> Checkpoint:
        """Keep this state, and of the older ones as many as are wanted."""
        folder = self._folder / f"step-{step:08d}"
        aside = self._folder / f".{folder.name}.part"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        try:
            sha256 = _write_state(aside / STATE, state)
            checkpoint = Checkpoint(folder, epoch, step, (aside / STATE).stat().st_size, sha256)
            _write_manifest(aside / MANIFEST, checkpoint)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        fsync_folder(aside)
        # One of the same step may be there, made between two batches of a step or before the validation. Until the new
        # one is in its place it is still found, under the name that it gets here.
        if folder.exists():
            shutil.rmtree(_replaced(folder), ignore_errors=True)
            folder.rename(_replaced(folder))
        aside.rename(folder)
        fsync_folder(self._folder)
        self._remove_all_but(step)
        return checkpoint

    def _remove_all_but(self, newest: int) -> None:
        """Keep the newest few up to this step. What counts further was damaged: the trainer went on from before it."""
        folders = _newest_first(self._folder)
        kept = [folder for folder in folders if 0 <= _step(folder) <= newest][: self._keep]
        leftovers = self._folder.glob(".step-*.part")  # of a trainer that was killed
        for folder in (*(folder for folder in folders if folder not in kept), *leftovers):
            shutil.rmtree(folder, ignore_errors=True)


def save_weights(state: dict[str, Any], path: Path) -> str:
    """Write a model's state_dict as plain CPU tensors, whole or not at all; gives its sha256."""
    aside = path.with_name(f".{path.name}.part")
    try:
        sha256 = _write_state(aside, {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()})
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    aside.replace(path)
    fsync_folder(path.parent)
    return sha256


def _replaced(folder: Path) -> Path:
    """The name of a checkpoint while another of its step takes its place; sorted behind all that have a step."""
    return folder.with_name(f"{folder.name}.replaced")


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*"), key=_step, reverse=True)


def _step(folder: Path) -> int:
    digits = folder.name.removeprefix("step-")
    return int(digits) if digits.isdecimal() else -1


def _write_state(path: Path, state: dict[str, Any]) -> str:
    import torch

    with path.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    return sha256_of(path)


def _write_manifest(path: Path, checkpoint: Checkpoint) -> None:
    manifest = asdict(checkpoint)
    del manifest["folder"]
    with path.open("w", encoding="utf-8") as file:
        json.dump(manifest, file)
        file.flush()
        os.fsync(file.fileno())
