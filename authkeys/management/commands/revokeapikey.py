"""Close an API key for good."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from authkeys.models import APIKey


class Command(BaseCommand):
    help = "Revoke an API key: from now on it is answered 401."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("key", metavar="PREFIX_OR_NAME", help="the key's first 8 characters, or its name")

    def handle(self, *args: Any, key: str, **options: Any) -> None:
        found = list(APIKey.objects.called(key).filter(revoked_at=None))
        if not found:
            raise CommandError(f"No key that could be revoked goes by {key!r}.")
        if len(found) > 1:
            prefixes = ", ".join(row.prefix for row in found)
            raise CommandError(f"Several keys go by {key!r}; name the one you mean by its prefix: {prefixes}.")
        found[0].revoke()
        self.stdout.write(f"Revoked {found[0]}.")
