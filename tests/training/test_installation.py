"""The server's view of what can be trained: asked for once, kept, asked for again when something changed."""

import json
import logging
import os
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings
from rest_framework.test import APIClient

from tests.engine.plugins import SIMPLE, install
from tests.training.conftest import CONFIG
from training import installation
from training.catalogue import LeftOut


@pytest.fixture(autouse=True)
def _nothing_is_known() -> Iterator[None]:
    """Each test is a process that has just started, and leaves nothing that another would believe."""
    installation._installation.cache_clear()
    yield
    installation._installation.cache_clear()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages, on the path of this process and of those that it starts."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder


def forget() -> None:
    """The process starts anew: only what is kept in DATA_DIR is there."""
    installation._installation.cache_clear()


def answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str) -> None:
    """Put an engine in place that answers with a text, and notes each time it is asked."""
    notes = tmp_path / "asked"
    notes.touch()
    (tmp_path / "answer").write_text(text)
    monkeypatch.setattr(installation, "COMMAND", ["sh", "-c", f"echo x >> {notes}; cat {tmp_path / 'answer'}"])


def times_asked(tmp_path: Path) -> int:
    return len((tmp_path / "asked").read_text().split())


ONE = {"name": "one", "takes": ["rows"], "arguments": {}, "description": "It.", "source": "built in"}
LIST = json.dumps({"architectures": [ONE], "left_out": [{"module": "m", "source": "s", "reason": "r"}]})


def test_the_engine_is_asked_once_and_what_it_said_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    answers(monkeypatch, tmp_path, LIST)
    for _ in range(3):
        found = installation.installation()
        assert found.architectures["one"].takes == ("rows",)
        assert found.left_out == (LeftOut("m", "s", "r"),)
        forget()
    assert times_asked(tmp_path) == 1
    assert [path.name for path in settings.DATA_DIR.glob("*catalogue*")] == ["catalogue.json"]


@pytest.mark.parametrize("damage", [b"", b"{", b'{"fingerprint": "another"}', b"\xff"])
def test_what_is_kept_is_asked_for_again_when_it_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: bytes
) -> None:
    answers(monkeypatch, tmp_path, LIST)
    (tmp_path / "catalogue.json").write_bytes(damage)
    assert list(installation.catalogue()) == ["one"]
    assert times_asked(tmp_path) == 1


def test_it_is_asked_for_again_when_something_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings, site: Path
) -> None:
    def changed() -> bool:
        before = times_asked(tmp_path)
        forget()
        installation.catalogue()
        return times_asked(tmp_path) > before

    answers(monkeypatch, tmp_path, LIST)
    assert changed()
    install(site, "fine_nets", {"__init__.py": "", "nets.py": SIMPLE}, "fine_nets.nets")
    assert changed()
    assert not changed()
    os.utime(site / "fine_nets" / "nets.py", (1, 1))
    assert changed()
    (site / "my_nets.py").write_text(SIMPLE)
    assert not changed()  # nobody has named it
    settings.ARCHITECTURE_MODULES = ["my_nets", "no_such.nets", "not a name"]
    assert changed()
    os.utime(site / "my_nets.py", (1, 1))
    assert changed()
    install(site, "something_else", {"__init__.py": ""})  # what a module needed may be there now
    assert changed()
    assert not changed()


def test_an_engine_that_fails_is_told_of_and_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, client: APIClient
) -> None:
    monkeypatch.setattr(installation, "COMMAND", ["sh", "-c", "echo torch is gone >&2; exit 3"])
    monkeypatch.setenv("API_PORT", "18766")
    with pytest.raises(installation.CatalogueUnavailable, match="log says why"):
        installation.catalogue()
    assert "torch is gone" in caplog.text
    shown = StringIO()
    call_command("prepare", "--without-credentials", stdout=StringIO(), stderr=shown)
    assert "could not list its architectures" in shown.getvalue()
    refused = client.post("/api/v1/training/start", CONFIG, format="json")
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "CATALOGUE_UNAVAILABLE")
    with pytest.raises(CommandError, match="could not list"):
        call_command(
            "startsession",
            *("--model-architecture", "mlp", "--dataset-name", "tiny", "--learning-rate", "0.01"),
            *("--batch-size", "8", "--epochs", "3"),
        )
    answers(monkeypatch, tmp_path, LIST)
    assert list(installation.catalogue()) == ["one"]


def test_an_engine_that_hangs_is_not_waited_for_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "COMMAND", ["sleep", "60"])
    monkeypatch.setattr(installation, "PATIENCE_SECONDS", 0.2)
    with pytest.raises(installation.CatalogueUnavailable, match="ARCHITECTURE_MODULES"):
        installation.catalogue()


def test_the_engine_does_not_learn_the_servers_secrets(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    for name in ("SECRET_KEY", "API_KEYS", "WORKER_LEASH_FD", "SOMETHING_ELSE"):
        monkeypatch.setenv(name, "7")
    settings.ARCHITECTURE_MODULES = ["one", "two.nets"]
    environment = installation.engine_environment()
    assert not {"SECRET_KEY", "API_KEYS", "WORKER_LEASH_FD"} & environment.keys()
    assert (environment["SOMETHING_ELSE"], environment["ARCHITECTURE_MODULES"]) == ("7", "one,two.nets")


@pytest.mark.slow
def test_a_package_that_is_left_out_is_told_of_in_the_log_at_the_start_and_over_http(
    client: APIClient, site: Path, settings: Settings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(
        site, "broken_nets", {"__init__.py": SIMPLE.replace("NAME", "HALF") + "import nothing_like_it"}, "broken_nets"
    )
    (site / "my_nets.py").write_text(SIMPLE)
    settings.ARCHITECTURE_MODULES = ["my_nets"]
    monkeypatch.setenv("API_PORT", "18765")
    shown = StringIO()
    with caplog.at_level(logging.WARNING):
        call_command("prepare", "--without-credentials", stdout=StringIO(), stderr=shown)
        names = {entry["name"] for entry in client.get("/api/v1/architectures").json()}
        left_out = client.get("/api/v1/architectures/left_out").json()
    assert {"NAME", "mlp"} <= names
    reason = "ModuleNotFoundError: No module named 'nothing_like_it'"
    assert left_out == [{"module": "broken_nets", "source": "broken-nets 1.2", "reason": reason}]
    assert (
        f"The architectures of broken-nets 1.2 are left out, since its module broken_nets cannot be imported: {reason}"
        in (shown.getvalue())
    )
    assert caplog.text.count(reason) == 1
