"""Where a request comes from."""

from ipaddress import ip_address

from django.conf import settings
from django.http import HttpRequest


def client_address(request: HttpRequest) -> str:
    """The address of the client, beyond as many proxies as TRUSTED_PROXIES says; empty for a socket of this machine.

    Each proxy adds to X-Forwarded-For whom it was asked by; what stands before their entries anybody can have written.
    """
    connected: str = request.META.get("REMOTE_ADDR", "")
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")
    if not settings.TRUSTED_PROXIES or len(forwarded) < settings.TRUSTED_PROXIES:
        return connected
    try:
        return str(ip_address(forwarded[-settings.TRUSTED_PROXIES].strip()))
    except ValueError:
        return connected
