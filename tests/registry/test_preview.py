"""A dataset's page shows what is in the file, without the web process ever reading it."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client

from registry import preview
from registry.models import Dataset
from registry.preview import LookingBusy, NothingToSee

HOSTILE = "<img src=x onerror=alert(1)>"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _nothing_is_kept() -> None:
    cache.clear()


@pytest.fixture
def dataset() -> Dataset:
    return Dataset.objects.store("rows", [f"height,width,label\n1,2,{HOSTILE}\n3,4,plain\n".encode()])


def play(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, program: str) -> None:
    """Put a program in the place of the one that looks."""
    path = tmp_path / "looks.py"
    path.write_text(f"import json, os, sys, time\n{program}\n")
    monkeypatch.setattr(preview, "COMMAND", [sys.executable, str(path)])


def asked(client: Client, dataset: Dataset) -> str:
    page = client.get(f"/admin/registry/dataset/{dataset.pk}/preview/")
    assert page.status_code == 200
    return page.text


@pytest.mark.slow
def test_the_page_asks_for_it_and_shows_it(admin_client: Client, dataset: Dataset) -> None:
    page = admin_client.get(f"/admin/registry/dataset/{dataset.pk}/change/").text
    assert f'hx-get="/admin/registry/dataset/{dataset.pk}/preview/"' in page
    shown = asked(admin_client, dataset)
    assert HOSTILE not in shown
    assert "&lt;img src=x" in shown
    for word in ("Class balance", "height", "width", "plain", "First rows"):
        assert word in shown


@pytest.mark.slow
def test_it_is_looked_at_once(
    admin_client: Client, dataset: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = asked(admin_client, dataset)
    play(monkeypatch, tmp_path, "sys.exit('looked at again')")
    assert asked(admin_client, dataset) == first


@pytest.mark.slow
def test_images_are_shown(admin_client: Client) -> None:
    file = io.BytesIO()
    np.savez(file, x=np.zeros((4, 8, 8), np.uint8), y=[0, 1, 0, 1])
    shown = asked(admin_client, Dataset.objects.store("images", [file.getvalue()]))
    assert shown.count('src="data:image/png;base64,') == 2
    assert 'alt="Samples of 0"' in shown


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"1,0.5\n2,0.25\n3,7.5\n", ["Labels", "mean 2.75"]),
        (b"To be or not to be <b>\n" * 100, ["How it begins", "or not to be &lt;b&gt;", "Most frequent"]),
        (b"x,label:cat,label:dog\n1,1,0\n2,1,1\n", ["cat, dog"]),
    ],
)
def test_every_kind_has_its_picture(admin_client: Client, data: bytes, words: list[str]) -> None:
    shown = asked(admin_client, Dataset.objects.store("any", [data]))
    for word in words:
        assert word in shown


@pytest.mark.slow
def test_it_goes_with_the_dataset(dataset: Dataset, admin_client: Client) -> None:
    asked(admin_client, dataset)
    assert list(dataset.decoded_folder.iterdir())
    dataset.forget_decoded()
    assert not dataset.decoded_folder.exists()


def test_a_file_that_cannot_be_read_is_told_and_not_tried_again(
    admin_client: Client, dataset: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    play(monkeypatch, tmp_path, f"print(json.dumps({{'problem': 'It is {HOSTILE}.'}})); sys.exit(1)")
    shown = asked(admin_client, dataset)
    assert "It is &lt;img" in shown
    play(monkeypatch, tmp_path, "sys.exit('tried again')")
    assert asked(admin_client, dataset) == shown


@pytest.mark.parametrize("program", ["os.abort()", "print('nonsense')", "sys.exit(3)"])
def test_a_process_that_dies_is_told(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, program: str
) -> None:
    play(monkeypatch, tmp_path, program)
    with pytest.raises(NothingToSee, match="died"):
        preview.preview(dataset)


def test_what_takes_too_long_is_ended(dataset: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    play(monkeypatch, tmp_path, f"open('{tmp_path}/pid', 'w').write(str(os.getpid()))\ntime.sleep(60)")
    monkeypatch.setattr(preview, "LOOKING_SECONDS", 1.0)
    with pytest.raises(NothingToSee, match="too large"):
        preview.preview(dataset)
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


def test_one_is_looked_at_at_a_time(admin_client: Client, dataset: Dataset) -> None:
    with preview._turn:
        with pytest.raises(LookingBusy):
            preview.preview(dataset)
        shown = asked(admin_client, dataset)
    assert "Another dataset is being looked at" in shown
    assert "hx-get" in shown  # it asks again by itself


def test_a_folder_that_cannot_be_written_to_keeps_nothing(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    play(monkeypatch, tmp_path, "print(json.dumps({'preview': {'layout': 1, 'kind': 'rows'}}))")
    dataset.decoded_folder.parent.write_text("a file where the folder would be")
    assert preview.preview(dataset)["kind"] == "rows"


def test_the_layout_of_another_version_is_made_anew(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    play(monkeypatch, tmp_path, "print(json.dumps({'preview': {'layout': 1, 'kind': 'new'}}))")
    dataset.decoded_folder.mkdir(parents=True)
    place = dataset.decoded_folder / "preview-csv.json"
    for old in (json.dumps({"layout": 0, "kind": "old"}), "{", ""):
        place.write_text(old)
        assert preview.preview(dataset)["kind"] == "new"
    assert json.loads(place.read_text())["kind"] == "new"


def test_the_process_knows_none_of_the_servers_secrets(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SECRET_KEY", "of the server")
    play(monkeypatch, tmp_path, "print(json.dumps({'preview': {'layout': 1, 'seen': os.environ.get('SECRET_KEY')}}))")
    assert preview.preview(dataset)["seen"] is None


def test_the_preview_is_for_those_who_may_see_datasets(client: Client, dataset: Dataset) -> None:
    path = f"/admin/registry/dataset/{dataset.pk}/preview/"
    assert client.get(path).status_code == 302
    client.force_login(User.objects.create_user("ada", is_staff=True))
    assert client.get(path).status_code == 403
    assert client.get("/admin/registry/dataset/99999/preview/").status_code in (403, 404)


def test_a_dataset_that_is_gone_is_not_found(admin_client: Client) -> None:
    assert admin_client.get("/admin/registry/dataset/99999/preview/").status_code == 404
