"""Show the API keys."""

from argparse import ArgumentParser
from datetime import datetime
from typing import IO, Any, cast

from django.core.management.base import BaseCommand
from rich.console import Console
from rich.table import Table

from authkeys.models import APIKey


def day(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment else "never"


class Command(BaseCommand):
    help = "List the API keys, of which only the beginning is known, with what they may do and when they were used."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--all", action="store_true", help="the revoked ones, too")

    def handle(self, *args: Any, all: bool, **options: Any) -> None:
        table = Table("prefix", "name", "owner", "scopes", "state", "expires", "last used")
        for key in APIKey.objects.all() if all else APIKey.objects.kept():
            state = str(key.refusal or "usable")
            # Text of somebody's, in which rich would else look for styles.
            texts = [text.replace("[", "\\[") for text in (key.name, key.owner)]
            table.add_row(key.prefix, *texts, " ".join(key.scopes), state, day(key.expires_at), day(key.last_used_at))
        Console(file=cast(IO[str], self.stdout)).print(table)
