"""Where a request comes from."""

from django.http import HttpRequest


def client_address(request: HttpRequest) -> str:
    """The address of the client; empty when it has none, as behind a Unix socket."""
    address: str = request.META.get("REMOTE_ADDR", "")
    return address
