"""Make an API key and print it once."""

from argparse import ArgumentParser, ArgumentTypeError
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from authkeys.models import APIKey
from authkeys.scopes import ADMIN, SCOPES, WORKING, in_order

LONGEST_LIFE_DAYS = 36500


def days(text: str) -> timedelta:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) <= LONGEST_LIFE_DAYS):
        raise ArgumentTypeError(f"must be a whole number of days from 1 to {LONGEST_LIFE_DAYS}, not {text!r}")
    return timedelta(days=int(text))


def scopes(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in SCOPES]
    if unknown:
        raise ArgumentTypeError(f"{unknown[0]!r} is no scope; there are {', '.join(SCOPES)}")
    return in_order(names)


class Command(BaseCommand):
    help = "Make an API key and print it. It is shown this once: only its hash is kept."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", help="who or what will use the key")
        parser.add_argument("--owner", default="", help="who answers for it: a person, a team")
        parser.add_argument(
            "--scopes",
            type=scopes,
            default=WORKING,
            metavar="SCOPE,…",
            help=f"what it may do: {', '.join(SCOPES)}; without it, all but the last three. {ADMIN} is everything",
        )
        parser.add_argument("--expires-in-days", type=days, metavar="N", help="the key's life; without it, for ever")

    def handle(
        self,
        *args: Any,
        name: str,
        owner: str,
        scopes: list[str],
        expires_in_days: timedelta | None,
        **options: Any,
    ) -> None:
        expires_at = timezone.now() + expires_in_days if expires_in_days else None
        try:
            _, clear = APIKey.objects.create_key(name, expires_at, scopes=scopes, owner=owner)
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from error
        self.stdout.write(clear)
