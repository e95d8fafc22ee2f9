"""Checkpoints and weights on the disk: there whole, or not there at all.

A checkpoint is a folder named by its step, with the state and a manifest that holds the state's sha256. It is
written aside, brought to the disk, and renamed. torch reads a state with a flipped bit without a word, hence the hash.

torch is imported where it is used: the trainer says which checkpoint it goes on from before it pays for torch.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from io import BufferedWriter
from pathlib import Path
from typing import Any, Self

from registry.files import UNFINISHED, aside_of, fsync_folder, replacing, sha256_of, write_to_disk
from training.engine.failures import disk_failure

STATE = "state.pt"
MANIFEST = "manifest.json"
# Ends the name of a checkpoint while another of its step takes its place.
REPLACED = ".replaced"


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
            checkpoint = cls(folder, **_read_manifest(folder / MANIFEST))
            sha256 = sha256_of(folder / STATE)
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise DamagedCheckpoint(f"{folder.name}: {error}") from error
        if sha256 != checkpoint.sha256:
            raise DamagedCheckpoint(f"{folder.name}: its state is not what was written")
        return checkpoint

    def load(self) -> dict[str, Any]:
        """The state that was saved, on the CPU."""
        import torch

        state: dict[str, Any] = torch.load(self.folder / STATE, map_location="cpu", weights_only=True)
        return state


def written(folder: Path) -> list[Checkpoint]:
    """The checkpoints in a folder as their manifests tell of them, the newest first. Their states are not looked at."""
    found = []
    for path in _newest_first(folder):
        with suppress(OSError, ValueError, TypeError, RecursionError):
            found.append(Checkpoint(path, **_read_manifest(path / MANIFEST)))
    return found


def find_newest(folder: Path) -> tuple[Checkpoint | None, list[DamagedCheckpoint]]:
    """The newest checkpoint in a folder that is whole, if there is one, and what is wrong with those that are newer."""
    damaged: list[DamagedCheckpoint] = []
    for path in _newest_first(folder):
        try:
            return Checkpoint.open(path), damaged
        except DamagedCheckpoint as error:
            damaged.append(error)
    return None, damaged


def remove_newer(checkpoint: Checkpoint) -> None:
    """Delete the damaged ones that are newer than this one, to which a training goes back.

    Left there, they would soon be older than a new one, and count among the few that are kept in place of good ones.
    """
    for path in _newest_first(checkpoint.folder.parent):
        if path == checkpoint.folder:
            return
        shutil.rmtree(path, ignore_errors=True)


def finish_replacing(folder: Path) -> None:
    """Undo or finish what a trainer did not that was killed while one checkpoint took the place of another."""
    for replaced in folder.glob(f"step-*{REPLACED}"):
        place = replaced.with_suffix("")
        if place.exists():
            shutil.rmtree(replaced, ignore_errors=True)
        else:
            with suppress(OSError):  # it is found under this name, too
                replaced.rename(place)


class CheckpointStore:
    """Writes the checkpoints of one session and keeps the newest. One trainer at a time uses it."""

    def __init__(self, folder: Path, keep: int) -> None:
        self._folder = folder
        self._keep = keep

    def save(self, state: dict[str, Any], epoch: int, step: int) -> Checkpoint:
        """Keep this state, and of the older ones as many as are wanted.

        Raises TrainingFailure (disk_full, disk_error); then the newest checkpoint is this one or the one before.
        """
        folder = self._folder / f"step-{step:08d}"
        aside = aside_of(folder)
        with _disk_failures():
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir()
            try:
                # Our own hash is kept, so torch need not make sums of its own.
                sha256 = _write_state(aside / STATE, state, torch_sums=False)
                checkpoint = Checkpoint(folder, epoch, step, (aside / STATE).stat().st_size, sha256)
                _write_manifest(aside / MANIFEST, checkpoint)
                fsync_folder(aside)
                self._put_in_place(aside, folder)
            except BaseException:
                shutil.rmtree(aside, ignore_errors=True)
                raise
        self._remove_all_but(step)
        return checkpoint

    def _put_in_place(self, aside: Path, folder: Path) -> None:
        """Give a whole checkpoint its name.

        One of the same step may be there, made between two batches of a step or before the validation. Until the new
        one is in its place it is still found, under the name that it gets here.
        """
        if folder.exists():
            replaced = folder.with_name(folder.name + REPLACED)
            shutil.rmtree(replaced, ignore_errors=True)
            folder.rename(replaced)
        aside.rename(folder)
        fsync_folder(self._folder)

    def _remove_all_but(self, newest: int) -> None:
        """Keep the newest few up to this step. What counts further was damaged: the trainer went on from before it."""
        folders = _newest_first(self._folder)
        in_place = [folder for folder in folders if 0 <= _step(folder) <= newest and folder.suffix != REPLACED]
        leftovers = self._folder.glob(f".step-*{UNFINISHED}")  # of a save that failed
        for folder in (*(folder for folder in folders if folder not in in_place[: self._keep]), *leftovers):
            shutil.rmtree(folder, ignore_errors=True)


def save_weights(state: dict[str, Any], path: Path) -> str:
    """Write a model's state_dict as plain CPU tensors, whole or not at all; gives its sha256.

    Raises TrainingFailure (disk_full, disk_error).
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    with _disk_failures(), replacing(path) as aside:
        return _write_state(aside, tensors, torch_sums=True)


class HashedFile:
    """A file that torch writes to from front to back: hashes what goes by, and keeps the error that torch hides."""

    def __init__(self, file: BufferedWriter) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        self._digest.update(data)
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self._file.flush()

    def sha256(self) -> str:
        """Of all that was written, in hex."""
        return self._digest.hexdigest()


@contextmanager
def _disk_failures() -> Iterator[None]:
    """Whatever refuses to be written inside is the disk's failure."""
    try:
        yield
    except OSError as error:
        raise disk_failure(error) from error


def _newest_first(folder: Path) -> list[Path]:
    """The checkpoints in a folder; one that is being replaced comes behind the one in its place."""
    return sorted(folder.glob("step-*"), key=lambda path: (_step(path), path.suffix != REPLACED), reverse=True)


def _step(folder: Path) -> int:
    digits = folder.name.removeprefix("step-").removesuffix(REPLACED)
    return int(digits) if digits.isdecimal() else -1


def _write_state(path: Path, state: dict[str, Any], torch_sums: bool) -> str:
    """Write a state and bring it to the disk; gives its sha256. With `torch_sums` other programs can unzip it, too."""
    import torch

    default = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(torch_sums)
    try:
        with path.open("wb") as file:
            hashed = HashedFile(file)
            try:
                torch.save(state, hashed)  # type: ignore[arg-type]
            except RuntimeError:
                if hashed.error is not None:
                    raise hashed.error from None
                raise
            file.flush()
            os.fsync(file.fileno())
    finally:
        torch.serialization.set_crc32_options(default)
    return hashed.sha256()


def _write_manifest(path: Path, checkpoint: Checkpoint) -> None:
    manifest = asdict(checkpoint)
    del manifest["folder"]
    write_to_disk(path, json.dumps({**manifest, "seal": _seal(manifest)}))


def _read_manifest(path: Path) -> dict[str, Any]:
    """What a manifest says. Raises OSError, ValueError, TypeError or RecursionError where it says nothing."""
    manifest = dict(json.loads(path.read_bytes()))
    # Checkpoints of older versions have none.
    if manifest.pop("seal", None) not in (None, _seal(manifest)):
        raise ValueError("its manifest is not what was written")
    return manifest


def _seal(manifest: dict[str, Any]) -> str:
    """The hash of what a manifest says."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
