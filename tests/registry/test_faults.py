"""Processes killed between file and row, sweeps in the middle of it: a row has its file, and nothing is left over."""

import errno
import fcntl
import hashlib
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.db import connections, transaction
from pytest_django import Settings
from rest_framework.test import APIClient

from registry.consistency import misfits, remove_leftovers, temporary_files
from registry.files import IncomingFile, Mark, fsync_folder, receive
from registry.formats import InvalidDataset, decoded
from registry.formats.contents import refusing
from registry.models import Dataset, Model
from registry.tasks import remove_unfinished_uploads
from tests.registry.conftest import Files, Upload

CSV = b"a,b,label\n1,2,0\n3,4,1\n"
ROWS: dict[str, type[Model] | type[Dataset]] = {"models": Model, "datasets": Dataset}
SEED = 4711

both = pytest.mark.parametrize("collection", ["models", "datasets"])
committing = pytest.mark.django_db(transaction=True)


def die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def in_a_process(work: Callable[[], Any]) -> int:
    """Do this in a process of its own; its id. It ends with 1 when something is raised."""
    connections.close_all()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        work()
        status = 0
    finally:
        os._exit(status)


def killed_in(work: Callable[[], Any]) -> None:
    """Do it in a process that is to be killed in the middle of it."""
    _, status = os.waitpid(in_a_process(work), 0)
    assert os.WIFSIGNALED(status), "it was not killed"


def assert_all_is_well() -> None:
    assert [*misfits(with_hashes=True), *temporary_files()] == []


def half() -> Iterator[bytes]:
    yield CSV
    die()


@both
@pytest.mark.parametrize("moment", ["half received", "received", "in its place", "committed"])
@committing
def test_a_process_that_is_killed_while_it_stores(
    files: Files, monkeypatch: pytest.MonkeyPatch, collection: str, moment: str
) -> None:
    rows = ROWS[collection]

    def store() -> None:
        with rows.storing("one", half() if moment == "half received" else [CSV]):
            if moment == "committed":
                transaction.on_commit(die)

    if moment == "received":
        monkeypatch.setattr(IncomingFile, "move_to", die)
    elif moment == "in its place":
        monkeypatch.setattr("registry.files.fsync_folder", die)
    killed_in(store)

    is_stored = moment == "committed"
    assert list(temporary_files())
    assert rows.objects.exists() is is_stored
    assert remove_leftovers() == 1
    assert files() == [row.stored_name for row in rows.objects.all()]
    assert rows.objects.exists() is is_stored
    assert_all_is_well()
    assert remove_leftovers() == 0


@both
@committing
def test_a_process_that_is_killed_while_it_deletes(
    files: Files, monkeypatch: pytest.MonkeyPatch, collection: str
) -> None:
    row = ROWS[collection].objects.store("one", [CSV])
    with monkeypatch.context() as death:
        death.setattr("registry.models.remove_leaving", die)
        killed_in(row.delete)
    assert not ROWS[collection].objects.exists()
    assert row.path.exists()
    assert remove_leftovers() == 1
    assert not files()
    assert_all_is_well()


@both
@committing
def test_a_delete_that_is_rolled_back_keeps_the_file(files: Files, collection: str) -> None:
    row = ROWS[collection].objects.store("one", [CSV])
    with transaction.atomic():
        ROWS[collection].objects.get().delete()
        transaction.set_rollback(True)
    remove_leftovers()
    assert files() == [row.stored_name]
    assert_all_is_well()


@both
@committing
def test_a_delete_whose_file_cannot_go_is_finished_later(
    files: Files, monkeypatch: pytest.MonkeyPatch, collection: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "read-only")

    row = ROWS[collection].objects.store("one", [CSV])
    with monkeypatch.context() as disk:
        disk.setattr(Path, "unlink", fail)
        row.delete()
    assert not ROWS[collection].objects.exists()
    assert remove_leftovers() == 1
    assert not files()


@both
@committing
def test_a_sweep_takes_nothing_from_the_living(files: Files, monkeypatch: pytest.MonkeyPatch, collection: str) -> None:
    swept = []

    def sweep_between() -> Iterator[bytes]:
        yield CSV
        swept.append(remove_leftovers())

    def sweep_before_the_commit(folder: Path) -> None:
        fsync_folder(folder)
        swept.append(remove_leftovers())
        assert_all_is_well()

    monkeypatch.setattr("registry.files.fsync_folder", sweep_before_the_commit)
    row = ROWS[collection].objects.store("one", sweep_between())
    assert swept == [0, 0]
    assert files() == [row.stored_name]
    assert_all_is_well()


def test_a_mark_that_is_swept_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between making and locking there is a moment in which nobody seems to hold it."""
    flock, folder = fcntl.flock, tmp_path / "models"
    swept: list[Path] = []

    def sweep_first(file: Any, operation: int) -> None:
        if not swept:
            swept.append(next(folder.iterdir()))
            swept[0].unlink()
        flock(file, operation)

    monkeypatch.setattr("fcntl.flock", sweep_first)
    mark = Mark(folder, "0123456789ab")
    assert list(folder.iterdir()) == swept
    mark.remove()


@pytest.mark.django_db
def test_what_others_put_there_is_theirs(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is deleted that bears no mark of ours, however much its name looks like one of ours."""
    folder = Path(settings.MODELS_DIR)
    names = ("resnet18-f37072fd.pth", "notes.txt", ".rsync.part", ".part", ".0123456789ab.part.txt")
    theirs = [folder / name for name in names]
    ours_of_another_database = folder / "mlp_digits-0123456789ab.pt"
    for path in (*theirs, ours_of_another_database):
        path.write_bytes(b"weights")
    (folder / ".0123456789ab.part").mkdir()
    (folder / ".ba9876543210.part").symlink_to(theirs[0])
    before = sorted(folder.iterdir())
    assert remove_unfinished_uploads() == 0
    assert sorted(folder.iterdir()) == before
    assert f"{ours_of_another_database} belongs to no row" in caplog.text
    assert "notes.txt" not in caplog.text


@both
@pytest.mark.django_db
@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda path: path.unlink(), "cannot be read: No such file"),
        (lambda path: path.write_bytes(CSV + b"5,6,0\n"), "has 28 bytes and not 22"),
        (lambda path: path.write_bytes(b""), "has 0 bytes and not 22"),
        (lambda path: path.write_bytes(CSV.replace(b"1", b"7")), "another sha256"),
        (lambda path: path.rename(path.with_name("other-0123456789ab")), "cannot be read: No such file"),
    ],
)
def test_a_file_that_is_not_what_its_row_says_is_told_of_and_left_alone(
    files: Files, collection: str, damage: Callable[[Path], Any], problem: str
) -> None:
    row = ROWS[collection].objects.store("one", [CSV])
    damage(row.path)
    before = files()
    told = list(misfits(with_hashes=True))
    assert problem in told[0]
    assert len(told) == (2 if "other" in str(before) else 1)
    assert remove_leftovers() == 0
    assert files() == before
    assert ROWS[collection].objects.exists()


@pytest.mark.django_db
def test_what_was_half_decoded_or_is_of_no_dataset_goes(settings: Settings) -> None:
    dataset = Dataset.objects.store("kept", [CSV])
    folder = Path(settings.DATASETS_DIR) / decoded.FOLDER
    decoded.read_decoded(dataset.path, dataset.format, dataset.sha256)
    kept = folder / dataset.sha256
    (kept / ".csv.part").mkdir()
    of_nobody = folder / hashlib.sha256(b"gone").hexdigest()
    of_nobody.mkdir()
    by_hand = folder / "notes"
    by_hand.mkdir()
    assert remove_leftovers() == 2
    assert sorted(folder.iterdir()) == sorted([kept, by_hand])
    assert sorted(path.name for path in kept.iterdir()) == ["csv", "lock"]
    (kept / ".csv.part").mkdir()
    with (kept / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a trainer decodes now
        assert remove_leftovers() == 0
    assert remove_leftovers() == 1


@pytest.mark.django_db
def test_uploads_have_no_name(client: APIClient, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a killed process leaves none; and what came in by halves takes no room when it is answered."""
    seen = []

    def look(chunks: Iterator[bytes], folder: Path) -> Any:
        seen.append((list(Path(settings.UPLOADS_DIR).iterdir()), b"".join(chunks)))
        return receive([CSV], folder)

    monkeypatch.setattr("registry.models.receive", look)
    body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n' + CSV + b"\r\n--x--\r\n"
    answer = client.post("/api/v1/models?model_name=one", body, content_type="multipart/form-data; boundary=x")
    assert answer.status_code == 200
    assert seen == [([], CSV)]


FAILURES = [
    (errno.ENOSPC, 507, "STORAGE_FULL"),
    (errno.EDQUOT, 507, "STORAGE_FULL"),
    (errno.EROFS, 503, "STORAGE_UNAVAILABLE"),
    (errno.EACCES, 503, "STORAGE_UNAVAILABLE"),
    (errno.EIO, 503, "STORAGE_UNAVAILABLE"),
]


@both
@pytest.mark.django_db
@pytest.mark.parametrize(("number", "status", "code"), FAILURES)
@pytest.mark.parametrize(
    "place",
    [
        "tempfile.TemporaryFile",
        "registry.files.Mark.__init__",
        "os.fsync",
        "os.link",
        "registry.formats.reading.recognise",
    ],
)
def test_whatever_the_disk_refuses_the_client_is_told_and_nothing_is_kept(
    upload: Upload,
    files: Files,
    monkeypatch: pytest.MonkeyPatch,
    collection: str,
    number: int,
    status: int,
    code: str,
    place: str,
) -> None:
    if place.startswith("registry.formats") and collection == "models":
        return  # which nobody looks into

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, "inner words", "/inner/path")

    with monkeypatch.context() as disk:
        disk.setattr(place, fail)
        answer = upload(collection, "one", CSV)
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == code
    assert "inner" not in answer.content.decode()
    assert not files()
    assert not ROWS[collection].objects.exists()
    assert upload(collection, "one", CSV).status_code == 200


def test_a_disk_that_fails_under_a_parser_is_not_the_clients_fault() -> None:
    with pytest.raises(OSError, match="inner words"), refusing("the archive is damaged"):
        raise OSError(errno.EIO, "inner words")
    with pytest.raises(InvalidDataset, match="is damaged"), refusing("the archive is damaged"):
        raise OSError("broken data stream")


@committing
def test_kills_at_random_moments(files: Files, settings: Settings) -> None:
    """Processes that store and delete are killed while another one sweeps: what is there is whole, and is all."""
    generator = random.Random(SEED)

    def store_and_delete(number: int) -> None:
        for turn in range(1000):
            rows = (Model, Dataset)[turn % 2]
            name = f"{number}-{turn}"
            row = rows.objects.store(name, [CSV, b"5,6,%d\n" % turn * 100])
            if turn % 3 == 0:
                row.delete()

    def sweep_for_ever() -> None:
        while True:
            remove_leftovers()

    sweeper, kills = in_a_process(sweep_for_ever), 0
    try:
        # On a busy machine some get to nothing before they die.
        while kills < 20 or not (Model.objects.exists() and Dataset.objects.exists()):
            pid = in_a_process(partial(store_and_delete, kills))
            time.sleep(generator.uniform(0.02, 0.15))
            os.kill(pid, signal.SIGKILL)
            assert os.WIFSIGNALED(os.waitpid(pid, 0)[1]), "it failed by itself"
            kills += 1
    finally:
        os.kill(sweeper, signal.SIGKILL)
        assert os.WIFSIGNALED(os.waitpid(sweeper, 0)[1]), "the sweep failed by itself"
    remove_leftovers()
    assert_all_is_well()
    stored = {row.stored_name for rows in (Model, Dataset) for row in rows.objects.all()}
    assert set(files()) == stored
