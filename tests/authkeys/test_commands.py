from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from authkeys import keys
from authkeys.models import APIKey
from authkeys.scopes import WORKING

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def test_createapikey_prints_the_key_and_nothing_else() -> None:
    printed = run("createapikey", "robot")

    clear = printed.removesuffix("\n")
    assert keys.verify(clear)
    row = APIKey.objects.get()
    assert (row.name, row.key_hash, row.expires_at) == ("robot", keys.digest(clear.encode()), None)


def test_createapikey_can_limit_the_life_of_the_key() -> None:
    run("createapikey", "robot", "--expires-in-days", "30")

    expires_at = APIKey.objects.get().expires_at
    assert expires_at is not None
    assert abs(expires_at - timezone.now() - timedelta(days=30)) < timedelta(minutes=1)


def test_createapikey_gives_what_is_asked_for_and_else_what_working_takes() -> None:
    run("createapikey", "robot")
    run("createapikey", "auditor", "--scopes", "audit:read,system:read,audit:read", "--owner", "the lab")

    rows = {row.name: (row.scopes, row.owner) for row in APIKey.objects.all()}
    assert rows == {"robot": (WORKING, ""), "auditor": (["system:read", "audit:read"], "the lab")}


@pytest.mark.parametrize("scopes", ["", "root", "admin,", "ADMIN", "admin, audit:read"])
def test_createapikey_refuses_a_scope_that_there_is_not(scopes: str) -> None:
    with pytest.raises(CommandError, match="is no scope; there are sessions:read, "):
        run("createapikey", "robot", f"--scopes={scopes}")

    assert not APIKey.objects.exists()


def test_rotateapikey_prints_the_new_key_and_leaves_the_old_one_for_a_day() -> None:
    old, _ = APIKey.objects.create_key("robot", scopes=["audit:read"])

    clear = run("rotateapikey", old.prefix).removesuffix("\n")

    new = APIKey.objects.get(key_hash=keys.digest(clear.encode()))
    old.refresh_from_db()
    assert (new.name, new.scopes, new.replaces, new.expires_at) == ("robot", ["audit:read"], old, None)
    assert old.expires_at is not None
    assert abs(old.expires_at - timezone.now() - timedelta(days=1)) < timedelta(minutes=1)


@pytest.mark.parametrize("hours", ["-1", "721", "x", "", "1.5", "٣"])
def test_rotateapikey_refuses_an_overlap_that_is_none(hours: str) -> None:
    APIKey.objects.create_key("robot")

    with pytest.raises(CommandError, match="whole number of hours"):
        run("rotateapikey", "robot", f"--overlap-hours={hours}")

    assert APIKey.objects.count() == 1


def test_rotateapikey_refuses_what_has_ended() -> None:
    APIKey.objects.create_key("robot", timezone.now())

    with pytest.raises(CommandError, match="is expired; make a new one"):
        run("rotateapikey", "robot")


def test_listapikeys_shows_all_but_the_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    row, clear = APIKey.objects.create_key("robot [red]", owner="the [lab]", scopes=["audit:read", "models:read"])
    gone, _ = APIKey.objects.create_key("gone")
    gone.revoke()

    shown = run("listapikeys")

    assert all(text in shown for text in (row.prefix, "robot [red]", "the [lab]", "audit:read models:read", "usable"))
    assert clear not in shown
    assert row.key_hash not in shown
    assert "gone" not in shown
    assert "revoked" in run("listapikeys", "--all")


@pytest.mark.parametrize("days", ["0", "-1", "1.5", "x", "", "٣", "999999999999"])
def test_createapikey_refuses_a_life_that_is_none(days: str) -> None:
    with pytest.raises(CommandError, match="whole number of days"):
        run("createapikey", "robot", f"--expires-in-days={days}")

    assert not APIKey.objects.exists()


@pytest.mark.parametrize("name", ["", "x" * 101])
def test_createapikey_refuses_a_bad_name(name: str) -> None:
    with pytest.raises(CommandError):
        run("createapikey", name)

    assert not APIKey.objects.exists()


def test_revokeapikey_takes_the_name() -> None:
    row, _ = APIKey.objects.create_key("robot")

    run("revokeapikey", "robot")

    row.refresh_from_db()
    assert row.refusal is not None


def test_revokeapikey_takes_the_prefix_and_leaves_the_others() -> None:
    row, _ = APIKey.objects.create_key("robot")
    other, _ = APIKey.objects.create_key("robot")

    run("revokeapikey", row.prefix)

    row.refresh_from_db()
    other.refresh_from_db()
    assert (row.refusal is None, other.refusal is None) == (False, True)


def test_revokeapikey_does_not_guess_between_several() -> None:
    first, _ = APIKey.objects.create_key("robot")
    APIKey.objects.create_key("robot")

    with pytest.raises(CommandError, match=first.prefix):
        run("revokeapikey", "robot")

    assert all(row.refusal is None for row in APIKey.objects.all())


def test_revokeapikey_says_when_there_is_none() -> None:
    APIKey.objects.create_key("robot")
    run("revokeapikey", "robot")

    with pytest.raises(CommandError, match="No key"):
        run("revokeapikey", "robot")
