from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from authkeys import keys
from authkeys.models import APIKey

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
