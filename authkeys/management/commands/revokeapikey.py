"""Close an API key for good."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from authkeys.naming import PREFIX_OR_NAME, the_key


class Command(BaseCommand):
    help = "Revoke an API key: from now on it is answered 401."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("key", **PREFIX_OR_NAME)

    def handle(self, *args: Any, key: str, **options: Any) -> None:
        row = the_key(key, "revoked")
        row.revoke()
        self.stdout.write(f"Revoked {row}.")
