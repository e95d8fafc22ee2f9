"""Who is asking: somebody with a key, or a member of staff in a browser."""

import hmac
from dataclasses import dataclass
from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser
from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.request import Request

from authkeys import audit, keys
from authkeys.models import APIKey, Reason


@dataclass(frozen=True)
class KeyHolder:
    """The user of a request that came with a key."""

    name: str
    prefix: str  # empty for a key from the environment
    key_hash: str
    is_authenticated: ClassVar[bool] = True

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Verdict:
    """What became of a key: why it was taken or refused, and whose it is where that is known."""

    reason: Reason
    name: str = ""
    prefix: str = ""
    row: APIKey | None = None


class KeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer KEY` or `X-API-Key: KEY`. Leaves the request alone when there is neither."""

    def authenticate(self, request: Request) -> tuple[KeyHolder, APIKey | None] | None:
        presented = presented_key(request)
        if not presented:
            return None
        key_hash = keys.digest(presented)
        verdict = judge(presented, key_hash)
        audit.record(request, verdict.reason, key_hash=key_hash, key_prefix=verdict.prefix, key_name=verdict.name)
        if verdict.reason is not Reason.OK:
            # One answer for every bad key: whether it once was good is nobody's business.
            raise AuthenticationFailed("The API key is not valid. Ask the operator of this server for a new one.")
        if verdict.row:
            verdict.row.note_use()
        return KeyHolder(verdict.name, verdict.prefix, key_hash), verdict.row

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class StaffSessionAuthentication(SessionAuthentication):
    """A member of staff who is logged in to the admin. Stands last, and so records whoever came with nothing."""

    def authenticate(self, request: Request) -> tuple[AbstractBaseUser, None] | None:
        user = request._request.user
        if not (user.is_active and user.is_staff):
            audit.record(request, Reason.MISSING)
            return None
        name = f"user:{user.get_username()}"
        try:
            self.enforce_csrf(request)
        except PermissionDenied:
            audit.record(request, Reason.CSRF, key_name=name)
            raise
        audit.record(request, Reason.OK, key_name=name)
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


def presented_key(request: Request) -> bytes:
    """The key as it came over the wire; empty when none did. Another scheme, as a proxy may need it, is no key."""
    scheme, _, bearer = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    blank = " \t"  # HTTP's white space alone: a byte of a key may look like Unicode's
    key = bearer.strip(blank) if scheme.lower() == "bearer" else ""
    header: str = key or request.META.get("HTTP_X_API_KEY", "").strip(blank)
    return header.encode("latin-1", "backslashreplace")  # WSGI hands headers over as latin-1


def judge(presented: bytes, key_hash: str) -> Verdict:
    """Whose key this is, and whether it opens anything."""
    for number, key in enumerate(settings.API_KEYS, start=1):
        if hmac.compare_digest(keys.digest(key.encode(errors="surrogateescape")), key_hash):
            return Verdict(Reason.OK, f"env-{number}")
    text = presented.decode("ascii", "replace")
    if not keys.verify(text):
        # No prefix here: of something that is no key of ours, such as a password, no part may be kept.
        return Verdict(Reason.MALFORMED)
    row = APIKey.objects.with_hash(key_hash)
    if row is None:
        return Verdict(Reason.UNKNOWN, prefix=keys.prefix(text))
    return Verdict(row.refusal or Reason.OK, row.name, row.prefix, row)
