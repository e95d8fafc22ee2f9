"""How a command names a key."""

from typing import Any

from django.core.management.base import CommandError

from authkeys.models import APIKey

PREFIX_OR_NAME: dict[str, Any] = {"metavar": "PREFIX_OR_NAME", "help": "the key's first 8 characters, or its name"}


def the_key(prefix_or_name: str, done: str) -> APIKey:
    """The one key of this prefix or name that is not revoked. Raises CommandError when there is none, or several."""
    found = list(APIKey.objects.called(prefix_or_name).kept())
    if not found:
        raise CommandError(f"No key that could be {done} goes by {prefix_or_name!r}.")
    if len(found) > 1:
        prefixes = ", ".join(row.prefix for row in found)
        raise CommandError(f"Several keys go by {prefix_or_name!r}; name the one you mean by its prefix: {prefixes}.")
    return found[0]
