"""How many requests may come: from an address, with a key, and with what is no key. The usage is in models/rates.py."""

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from rest_framework.exceptions import Throttled

from authkeys.addresses import client_address
from authkeys.allowances import Allowance, Rate
from authkeys.models import Usage

TOO_MANY = "Too many requests; send fewer."
TOO_MANY_FAILURES = "Too many requests with keys that are none have come from here."


def spend(request: HttpRequest, kind: str, who: str, rate: Rate | None) -> None:
    """Count a request of somebody against a rate; the tightest one is told in the headers. Raises Throttled.

    Without a rate everything is let in.
    """
    if rate is None:
        return
    allowance = Usage.objects.spend(f"{kind}:{who}", rate)
    tell(request, allowance)
    if allowance.wait_seconds:
        raise Throttled(allowance.wait_seconds, TOO_MANY)


def spend_address(request: HttpRequest) -> None:
    spend(request, "address", client_address(request), settings.ADDRESS_RATE)


def spend_key(request: HttpRequest, key_hash: str) -> None:
    spend(request, "key", key_hash, settings.KEY_RATE)


def spend_failure(request: HttpRequest) -> None:
    """Count an attempt with what is no good key."""
    spend(request, "failed", client_address(request), settings.FAILED_ATTEMPTS_RATE)


def wait_after_failures(request: HttpRequest) -> int:
    """The seconds for which this address has failed too often to have another guess looked at; mostly 0."""
    rate = settings.FAILED_ATTEMPTS_RATE
    return Usage.objects.left(f"failed:{client_address(request)}", rate).wait_seconds if rate else 0


def tell(request: HttpRequest, allowance: Allowance) -> None:
    """Keep with the request what is left, if it is less than what was found before."""
    found: Allowance | None = getattr(request, "allowance", None)
    if found is None or allowance.wait_seconds or allowance.remaining < found.remaining:
        request.allowance = allowance  # type: ignore[attr-defined]


def add_headers(request: HttpRequest, response: HttpResponseBase) -> None:
    """Say in an answer how much more may come."""
    allowance: Allowance | None = getattr(request, "allowance", None)
    if allowance is not None:
        response["RateLimit-Limit"] = str(allowance.limit)
        response["RateLimit-Remaining"] = str(allowance.remaining)
        response["RateLimit-Reset"] = str(allowance.reset_seconds)
