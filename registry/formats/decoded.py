"""Datasets decoded once: their arrays as files beside the dataset, which later trainers map instead of reading again.

    FOLDER/SHA256/FORMAT/   x.npy  y.npy  about.json

All samples lie in one array, those of the dataset's own test part behind the others. Everything here can be deleted at
any time; it is written again when it is wanted.
"""

import fcntl
import json
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from registry.files import UNFINISHED, aside_of, write_to_disk
from registry.formats.contents import Array, Contents, Description, describe
from registry.formats.reading import read

logger = logging.getLogger(__name__)

FOLDER = "decoded"  # in the folder of the dataset's file
LAYOUT = 1
ABOUT = "about.json"


@dataclass(frozen=True, eq=False)
class Decoded:
    """A dataset's arrays, all samples in one, and what is known of it.

    x and y are as in Contents, mapped from their files where `place` is theirs; what is written into them reaches no
    file. `train_count` is where the dataset's own test part begins; None when it brings none.
    """

    description: Description
    x: Array
    y: Array
    class_names: tuple[str, ...] | None
    train_count: int | None
    columns: tuple[str, ...] | None = None
    place: Path | None = None

    def x_in_memory(self) -> Array:
        """The samples read into memory, never more than once."""
        return self.x if self.place is None else np.load(self.place / "x.npy")


def read_decoded(path: Path, format: str, sha256: str, folder: Path | None = None) -> Decoded:
    """The arrays of a dataset file, from `folder` where they were kept before; otherwise decoded, and kept there.

    Where nothing can be kept, on a full disk or in a folder that cannot be written to, they are in memory alone.
    Raises InvalidDataset.
    """
    place = (path.parent / FOLDER if folder is None else folder) / sha256 / format
    kept = _open(place)
    if kept is not None:
        return kept
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with _locked(place.parent):  # of several trainers one decodes, the others wait for it
            kept = _open(place)
            if kept is None:
                _keep(read(path, format), place)
                kept = _open(place)
    except OSError as error:
        logger.warning("the decoded dataset cannot be kept in %s, so it is read each time: %s", place, error)
    return kept or _in_memory(read(path, format))


def look_at(path: Path, format: str, sha256: str) -> Decoded:
    """The same arrays, for a look: where nothing is kept yet, nothing is kept. Raises InvalidDataset."""
    return _open(path.parent / FOLDER / sha256 / format) or _in_memory(read(path, format))


def forget(folder: Path, sha256: str) -> None:
    """Delete what was kept of a dataset. Who has mapped it keeps what he has."""
    shutil.rmtree(folder / sha256, ignore_errors=True)


def leftovers(folder: Path) -> Iterator[Path]:
    """What was left half decoded by processes that are dead. Each is the caller's until he asks for the next."""
    for aside in sorted(folder.glob(f"*/.*{UNFINISHED}")):
        with suppress(BlockingIOError, FileNotFoundError), _locked(aside.parent, wait=False):
            yield aside


def _keep(contents: Contents, place: Path) -> None:
    """Write the arrays aside, then put them in their place whole."""
    aside = aside_of(place)
    shutil.rmtree(aside, ignore_errors=True)  # left by a process that was killed: who is here holds the lock
    aside.mkdir()
    try:
        _write_array(aside / "x.npy", [contents.x, contents.x_test])
        _write_array(aside / "y.npy", [contents.y, contents.y_test])
        about = {
            "layout": LAYOUT,
            "description": asdict(describe(contents)),
            "class_names": contents.class_names,
            "train_count": _train_count(contents),
            "columns": contents.columns,
        }
        write_to_disk(aside / ABOUT, json.dumps(about))
        shutil.rmtree(place, ignore_errors=True)  # of another version, or damaged
        aside.rename(place)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _write_array(path: Path, parts: Sequence[Array | None]) -> None:
    """Write arrays one behind the other as one npy file; together in memory they would take their space twice."""
    arrays = [np.ascontiguousarray(part) for part in parts if part is not None]
    header = np.lib.format.header_data_from_array_1_0(arrays[0])
    header["shape"] = (sum(len(array) for array in arrays), *arrays[0].shape[1:])
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for array in arrays:
            file.write(array.reshape(-1).view(np.uint8).data)
        file.flush()
        os.fsync(file.fileno())


def _open(place: Path) -> Decoded | None:
    """What is kept in a place; None when that is nothing, or nothing whole of this version."""
    try:
        about = json.loads((place / ABOUT).read_bytes())
        names, columns = about["class_names"], about.get("columns")  # which an earlier version did not keep
        if about["layout"] != LAYOUT:
            return None
        return Decoded(
            description=Description(**about["description"]),
            # "c": a change would stay in memory; torch warns of arrays that cannot be changed.
            x=np.load(place / "x.npy", mmap_mode="c"),
            y=np.load(place / "y.npy"),
            class_names=None if names is None else tuple(names),
            train_count=about["train_count"],
            columns=None if columns is None else tuple(columns),
            place=place,
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _in_memory(contents: Contents) -> Decoded:
    x, y = contents.x, contents.y
    if contents.x_test is not None and contents.y_test is not None:
        x, y = np.concatenate([x, contents.x_test]), np.concatenate([y, contents.y_test])
    return Decoded(describe(contents), x, y, contents.class_names, _train_count(contents), contents.columns)


def _train_count(contents: Contents) -> int | None:
    return None if contents.x_test is None else len(contents.x)


@contextmanager
def _locked(folder: Path, wait: bool = True) -> Iterator[None]:
    """Alone in the folder, among all who ask like this. Raises BlockingIOError where it is not waited for that."""
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)
