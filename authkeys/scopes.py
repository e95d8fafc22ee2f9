"""What a key may do: the names of scopes, what they open, and who holds which.

A scope opens what it names and nothing else: to write is not to read. `admin` opens everything.
"""

from collections.abc import Iterable, Sequence
from typing import Any

ADMIN = "admin"
SCOPES = {
    "sessions:read": "see sessions, their metrics, logs and queue, and what can be trained",
    "sessions:write": "start, steer and move sessions, and validate configurations",
    "models:read": "list and download models",
    "models:write": "upload and delete models",
    "datasets:read": "list datasets",
    "datasets:write": "upload datasets",
    "system:read": "see the machine's figures",
    "keys:manage": "list, make, rotate and revoke keys whose scopes one has oneself",
    "audit:read": "read the audit log",
    ADMIN: "everything",
}
CHOICES = [(name, f"{name}: {opens}") for name, opens in SCOPES.items()]
# What it takes to work with the server, without power over others.
WORKING = [name for name in SCOPES if name not in ("keys:manage", "audit:read", ADMIN)]


def holds(held: Iterable[str], needed: str) -> bool:
    """Whether who has these scopes may do what this one opens."""
    return not {needed, ADMIN}.isdisjoint(held)


def holds_all(held: Sequence[str], needed: Iterable[str]) -> bool:
    """Whether who has these scopes may do whatever those open."""
    return all(holds(held, scope) for scope in needed)


def in_order(scopes: Iterable[str]) -> list[str]:
    """Each scope once, in the order in which they are documented."""
    return [name for name in SCOPES if name in set(scopes)]


def permission(scope: str) -> str:
    """The name of the Django permission that gives a member of staff this scope."""
    return f"scope_{scope.replace(':', '_')}"


def of_staff(user: Any) -> list[str]:
    """The scopes of a member of staff: a superuser's is `admin`, all others have what their permissions say."""
    if user.is_superuser:
        return [ADMIN]
    return [name for name in SCOPES if user.has_perm(f"authkeys.{permission(name)}")]
