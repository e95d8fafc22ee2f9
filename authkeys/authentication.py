"""Who is asking: somebody with a key, or a member of staff in a browser."""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied, Throttled
from rest_framework.request import Request

from authkeys import keys, rates, scopes
from authkeys.audit import Attempt, note
from authkeys.models import APIKey, Reason

BLANK = " \t"  # HTTP's white space alone: a byte of a key may look like Unicode's


@dataclass(frozen=True)
class KeyHolder:
    """The user of a request that came with a key."""

    name: str
    prefix: str  # empty for a key from the environment
    key_hash: str
    scopes: tuple[str, ...]
    is_authenticated: ClassVar[bool] = True

    def __str__(self) -> str:
        return self.name


class KeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer KEY` or `X-API-Key: KEY`. Leaves the request alone when there is neither."""

    def authenticate(self, request: Request) -> tuple[KeyHolder, APIKey | None] | None:
        note(request._request, Attempt(Reason.THROTTLED))
        rates.spend_address(request._request)
        presented = presented_keys(request)
        if not presented:
            return None
        attempt = judge(request._request, presented)
        note(request._request, attempt)
        if attempt.reason is Reason.THROTTLED:
            raise Throttled(rates.wait_after_failures(request._request), rates.TOO_MANY_FAILURES)
        if attempt.reason is not Reason.OK:
            rates.spend_failure(request._request)
            # One answer for every bad key: whether it once was good is nobody's business.
            raise AuthenticationFailed("The API key is not valid. Ask the operator of this server for a new one.")
        rates.spend_key(request._request, attempt.key_hash)
        held = (scopes.ADMIN,) if attempt.key is None else tuple(attempt.key.scopes)
        return KeyHolder(attempt.key_name, attempt.key_prefix, attempt.key_hash, held), attempt.key

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class StaffSessionAuthentication(SessionAuthentication):
    """A member of staff who is logged in to the admin. Stands last, and so notes whoever came with nothing."""

    def authenticate(self, request: Request) -> tuple[AbstractBaseUser, None] | None:
        user = request._request.user
        if not (user.is_active and user.is_staff):
            note(request._request, Attempt(Reason.MISSING))
            return None
        name = f"user:{user.get_username()}"
        try:
            self.enforce_csrf(request)
        except PermissionDenied:
            note(request._request, Attempt(Reason.CSRF, key_name=name))
            raise
        note(request._request, Attempt(Reason.OK, key_name=name))
        return user, None


def actor(request: HttpRequest | Request) -> str:
    """Who asks, for people to read: `key:PREFIX`, `key:env-1` for a key from the environment, or `user:NAME`."""
    user: Any = request.user
    if isinstance(user, KeyHolder):
        return f"key:{user.prefix or user.name}"
    return f"user:{user.get_username()}"


def asker(request: Request) -> str:
    """Who asks, so that nobody else can ever be taken for him: the hash of a key, or the number of a user."""
    user: Any = request.user
    return user.key_hash if isinstance(user, KeyHolder) else f"user:{user.pk}"


def held_scopes(request: HttpRequest | Request) -> list[str]:
    """What the one who asks may do."""
    user: Any = request.user
    return list(user.scopes) if isinstance(user, KeyHolder) else scopes.of_staff(user)


def may_go_on(request: Request, scope: str) -> Callable[[], bool]:
    """Whether the one who asks may still do what this scope opens, looked up anew at each call of what this gives."""
    user: Any = request.user
    if not isinstance(user, KeyHolder):
        return partial(_is_logged_in, user, request._request.session.session_key or "", scope)
    if request.auth is None:  # a key from the environment, which is there as long as this process
        return lambda: True
    return partial(_is_usable, user.key_hash, scope)


def _is_usable(key_hash: str, scope: str) -> bool:
    key = APIKey.objects.with_hash(key_hash)
    return key is not None and not key.refusal and scopes.holds(key.scopes, scope)


def _is_logged_in(user: Any, session_key: str, scope: str) -> bool:
    now = type(user)._default_manager.filter(pk=user.pk, is_active=True, is_staff=True).first()
    return now is not None and SessionStore().exists(session_key) and scopes.holds(scopes.of_staff(now), scope)


def presented_keys(request: Request) -> list[bytes]:
    """The different keys that came over the wire. Another scheme, as a proxy may need it, is no key."""
    scheme, _, bearer = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    found = [
        bearer.strip(BLANK) if scheme.lower() == "bearer" else "",
        request.META.get("HTTP_X_API_KEY", "").strip(BLANK),
    ]
    # WSGI hands headers over as latin-1.
    return [key.encode("latin-1", "backslashreplace") for key in dict.fromkeys(found) if key]


def judge(request: HttpRequest, presented: list[bytes]) -> Attempt:
    """Whose key this is, and whether it opens anything."""
    key_hash = keys.digest(presented[0])
    if len(presented) > 1:
        return Attempt(Reason.AMBIGUOUS, key_hash)
    text = presented[0].decode("ascii", "replace")
    is_well_formed = keys.verify(text)
    # A key that was made here cannot be guessed; what somebody chose for the environment perhaps can.
    if not is_well_formed and rates.wait_after_failures(request):
        return Attempt(Reason.THROTTLED, key_hash)
    for number, key in enumerate(settings.API_KEYS, start=1):
        if hmac.compare_digest(keys.digest(key.encode(errors="surrogateescape")), key_hash):
            return Attempt(Reason.OK, key_hash, key_name=f"env-{number}")
    if not is_well_formed:
        # No prefix here: of something that is no key of ours, such as a password, no part may be kept.
        return Attempt(Reason.MALFORMED, key_hash)
    row = APIKey.objects.with_hash(key_hash)
    if row is None:
        return Attempt(Reason.UNKNOWN, key_hash, keys.prefix(text))
    return Attempt(row.refusal or Reason.OK, key_hash, row.prefix, row.name, row)
