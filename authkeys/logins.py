"""Logins to the admin, as attempts to authenticate like any other."""

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.contrib.auth.signals import user_logged_in, user_login_failed
from django.dispatch import receiver
from django.http import HttpRequest

from authkeys.audit import Attempt, note
from authkeys.models import Reason


@receiver(user_logged_in)
def note_login(request: HttpRequest | None, user: AbstractBaseUser, **kwargs: Any) -> None:
    if request is not None:
        note(request, Attempt(Reason.OK, key_name=f"user:{user.get_username()}"))


@receiver(user_login_failed)
def note_failed_login(credentials: dict[str, Any], request: HttpRequest | None = None, **kwargs: Any) -> None:
    if request is not None:
        note(request, Attempt(Reason.PASSWORD, key_name=known_name(str(credentials.get("username", "")))))


def known_name(name: str) -> str:
    """Whose password was wrong, if there is such a user: people type passwords where their name belongs."""
    users = get_user_model()
    is_known = "\0" not in name and len(name) <= 150 and users._default_manager.filter(username=name).exists()
    return f"user:{name}" if is_known else ""
