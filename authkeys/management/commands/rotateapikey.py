"""Put a new API key in the place of one, which goes on working for a while."""

from argparse import ArgumentParser, ArgumentTypeError
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from authkeys.models import KeyNotUsable
from authkeys.naming import PREFIX_OR_NAME, the_key

LONGEST_OVERLAP_HOURS = 30 * 24


def hours(text: str) -> timedelta:
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and int(text) <= LONGEST_OVERLAP_HOURS):
        raise ArgumentTypeError(f"must be a whole number of hours from 0 to {LONGEST_OVERLAP_HOURS}, not {text!r}")
    return timedelta(hours=int(text))


class Command(BaseCommand):
    help = "Make an API key in place of one, with its name, owner, scopes and end, and print it. It is shown this once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("key", **PREFIX_OR_NAME)
        parser.add_argument(
            "--overlap-hours", type=hours, default=hours("24"), metavar="N", help="how long the old one works yet (24)"
        )

    def handle(self, *args: Any, key: str, overlap_hours: timedelta, **options: Any) -> None:
        try:
            _, clear = the_key(key, "rotated").rotate(overlap_hours)
        except KeyNotUsable as error:
            raise CommandError(str(error)) from error
        self.stdout.write(clear)
