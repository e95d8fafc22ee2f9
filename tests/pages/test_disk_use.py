"""What takes the disk's room, counted by kind, within a time."""

import os
from pathlib import Path

import pytest
from django.test import Client
from pytest_django import Settings

from registry.models import Dataset, Model
from servermgmt import disk_use
from servermgmt.disk_use import DiskUse
from tests.training.conftest import MakeSession

pytestmark = pytest.mark.django_db


def sizes() -> dict[str, int]:
    return {share.name: share.size_bytes for share in DiskUse.measure().shares}


def test_every_kind_is_counted_where_it_lies(make_session: MakeSession, settings: Settings) -> None:
    session = make_session()
    model = Model.objects.store("weights", [b"w" * 500])
    directory = session.directory
    directory.create()
    (directory.checkpoints / "step-1").mkdir()
    (directory.checkpoints / "step-1" / "state.pt").write_bytes(b"s" * 1000)
    (directory.checkpoints / "step-1" / "manifest.json").write_bytes(b"m" * 100)
    (directory.weights / "model.pt").write_bytes(b"w" * 10)
    directory.events.write_bytes(b"e" * 20)
    directory.console.write_bytes(b"c" * 3)
    os.link(model.path, directory.root / "initial_weights.pt")
    (directory.root / "link").symlink_to(model.path)
    kept = Path(settings.DATASETS_DIR) / "decoded" / "0" / "npz"
    kept.mkdir(parents=True)
    (kept / "x.npy").write_bytes(b"x" * 77)

    found = sizes()
    assert found["datasets"] == Dataset.objects.get().size_bytes
    assert found["decoded"] == 77
    assert found["models"] == 500
    assert found["checkpoints"] == 1110
    assert found["logs"] == 23
    assert found["database"] > 0
    assert found["others"] >= 0


def test_an_empty_server_has_no_files() -> None:
    found = sizes()
    assert [found[name] for name in ("datasets", "decoded", "models", "checkpoints", "logs")] == [0] * 5


def test_what_takes_too_long_is_not_counted_to_its_end(
    make_session: MakeSession, monkeypatch: pytest.MonkeyPatch, admin_client: Client
) -> None:
    directory = make_session().directory
    directory.create()
    for number in range(3):
        (directory.root / f"{number}.log").write_bytes(b"12345")
    monkeypatch.setattr(disk_use, "COUNTING_SECONDS", -1.0)
    page = admin_client.get("/admin/disk/").text
    assert "at least 5 bytes" in page


def test_it_is_counted_once_a_minute(admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    first = admin_client.get("/admin/disk/").text
    monkeypatch.setattr(DiskUse, "measure", None)
    assert admin_client.get("/admin/disk/").text == first


@pytest.mark.parametrize(
    ("size", "words"), [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (3 << 40, "3.0 TiB")]
)
def test_sizes_are_said_in_the_largest_unit(size: int, words: str) -> None:
    assert disk_use.in_words(size) == words
