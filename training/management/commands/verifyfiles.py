"""manage.py verifyfiles: whether rows and files belong together."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from training.consistency import problems
from training.tasks import sweep


class Command(BaseCommand):
    help = (
        "Checks that every row's file is there with its size and sha256, that nothing is left over and nothing is "
        "nobody's, and that the database is whole. Prints each problem in one line; exits with 1 if there is any."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--sweep",
            action="store_true",
            help="First delete what killed processes left behind, as a worker does when it starts.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["sweep"]:
            sweep()
        found = 0
        for problem in problems():
            self.stdout.write(problem)
            found += 1
        if found:
            raise CommandError(f"{found} problems were found.", returncode=1)
        self.stdout.write("Every row has its file, nothing is left over, and the database is whole.")
