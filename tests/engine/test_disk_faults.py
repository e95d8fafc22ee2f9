"""Whatever call to the disk fails, or is the last of the process: the newest checkpoint is the old or the new one."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.engine.conftest import MakeSession, classes, rows
from tests.engine.faults import REFUSALS, every_death, every_fault, fill_anew
from training.engine.checkpoint import CheckpointStore, find_newest, finish_replacing, save_weights
from training.engine.failures import TrainingFailure
from training.journal import SessionDirectory
from training.spec import SessionSpec

OLD, NEW, NEXT = 2.0, 3.0, 4.0
VALUES = 5000  # more than a file collects before it writes


def state(value: float) -> dict[str, Any]:
    return {"model": {"weight": torch.full((VALUES,), value)}, "progress": {"epoch": 1}}


class Folder:
    """A folder with two checkpoints, of which it can be said at any time what the newest holds."""

    def __init__(self, path: Path, step: int) -> None:
        self.directory = SessionDirectory(path)
        self.path = self.directory.checkpoints
        self.template = path / "template"
        self.step = step
        store = CheckpointStore(self.template, keep=2)
        self.template.mkdir(parents=True)
        store.save(state(1.0), epoch=1, step=10)
        store.save(state(OLD), epoch=2, step=20)

    def prepare(self) -> None:
        fill_anew(self.path, self.template)

    def save(self) -> None:
        CheckpointStore(self.path, keep=2).save(state(NEW), epoch=3, step=self.step)

    def newest(self) -> float:
        """The value in the newest checkpoint, which must be whole."""
        checkpoint, damaged = find_newest(self.path)
        assert checkpoint is not None
        assert damaged == []
        loaded = checkpoint.load()
        value = float(loaded["model"]["weight"][0])
        assert torch.equal(loaded["model"]["weight"], torch.full((VALUES,), value))
        assert (checkpoint.epoch, checkpoint.step) == ((2, 20) if value == OLD else (3, self.step))
        return value

    def goes_on(self) -> bool:
        """Whether the next save works and leaves nothing else behind."""
        CheckpointStore(self.path, keep=2).save(state(NEXT), epoch=4, step=40)
        checkpoint, damaged = find_newest(self.path)
        assert checkpoint is not None
        names = {path.name for path in self.path.iterdir()}
        assert len(names) == 2
        assert all(name.removeprefix("step-").isdecimal() for name in names)
        return damaged == [] and torch.equal(checkpoint.load()["model"]["weight"], torch.full((VALUES,), NEXT))


@pytest.fixture(params=[30, 20], ids=["a new one", "one of the same step"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    return Folder(tmp_path, request.param)


@pytest.mark.parametrize("lasts", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_call_that_fails_costs_no_checkpoint(folder: Folder, refusal: str, lasts: bool) -> None:
    found = set()
    for was_said in every_fault(folder.save, folder.prepare, REFUSALS[refusal], lasts):
        found.add(value := folder.newest())
        assert was_said or value == NEW
        assert folder.goes_on()
    assert found == {OLD, NEW}
    assert folder.newest() == NEW


def test_a_process_that_dies_in_a_call_costs_no_checkpoint(folder: Folder) -> None:
    found = set()
    for _ in every_death(folder.save, folder.prepare):
        found.add(value := folder.newest())
        # What the next trainer does first changes nothing of that, and leaves nothing half done.
        folder.directory.remove_half_written()
        finish_replacing(folder.path)
        assert folder.newest() == value
        assert all(path.name.removeprefix("step-").isdecimal() for path in folder.path.iterdir())
        assert folder.goes_on()
    assert found == {OLD, NEW}
    assert folder.newest() == NEW


def written(kind: str, make_session: MakeSession) -> tuple[Path, Callable[[], object]]:
    """A file that is there already, and what writes it anew."""
    directory = make_session(x=rows(), y=classes())
    if kind == "spec":
        spec = replace(SessionSpec.read(directory.spec), session_id="another")
        return directory.spec, lambda: spec.write(directory.spec)
    weights = directory.weights / "model.pt"
    save_weights(state(OLD)["model"], weights)
    return weights, lambda: save_weights(state(NEW)["model"], weights)


@pytest.mark.parametrize("kind", ["spec", "weights"])
@pytest.mark.parametrize("end", [*REFUSALS, "death"])
def test_a_file_is_the_old_one_or_the_new_one(make_session: MakeSession, tmp_path: Path, kind: str, end: str) -> None:
    path, write = written(kind, make_session)
    template = tmp_path / "template"
    shutil.copytree(path.parent, template)
    before = path.read_bytes()
    write()
    after = path.read_bytes()
    assert after != before

    def prepare() -> None:
        fill_anew(path.parent, template)

    outcomes = every_death(write, prepare) if end == "death" else every_fault(write, prepare, REFUSALS[end], False)
    for was_said in outcomes:
        assert path.read_bytes() in (before, after)
        if end != "death":
            assert was_said
            # What cannot be removed either is removed later.
            SessionDirectory(path.parent).remove_half_written()
        write()
        assert path.read_bytes() == after
        assert not list(path.parent.glob(".*"))


@pytest.mark.parametrize(("refusal", "code"), [("ENOSPC", "disk_full"), ("EIO", "disk_error")])
def test_what_the_disk_refuses_has_a_code_and_a_remedy(folder: Folder, refusal: str, code: str) -> None:
    folder.prepare()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda descriptor: REFUSALS[refusal]())
        with pytest.raises(TrainingFailure, match="then start the session again") as caught:
            folder.save()
        assert caught.value.code == code
        with pytest.raises(TrainingFailure) as caught:
            save_weights(state(NEW)["model"], folder.path / "model.pt")
        assert caught.value.code == code
