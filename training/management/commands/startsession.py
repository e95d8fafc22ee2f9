"""manage.py startsession: queue a session from the command line."""

import dataclasses
from argparse import ArgumentParser
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from training.models import TrainingSession
from training.spec import InvalidConfig, TrainingConfig


class Command(BaseCommand):
    help = "Queues a training session, as POST /api/v1/training/start does, and prints its id."

    def add_arguments(self, parser: ArgumentParser) -> None:
        for rule in dataclasses.fields(TrainingConfig):
            parser.add_argument(
                f"--{rule.name.replace('_', '-')}",
                type=rule.type if callable(rule.type) else str,
                required=rule.default is dataclasses.MISSING,
                choices=rule.metadata.get("choices"),
                default=None if rule.default is dataclasses.MISSING else rule.default,
                help=rule.metadata["help"],
            )
        parser.add_argument("--watch", action="store_true", help="Stay and show the progress, as watchsession does.")

    def handle(self, *args: Any, **options: Any) -> None:
        data = {rule.name: options[rule.name] for rule in dataclasses.fields(TrainingConfig)}
        try:
            session = TrainingSession.objects.submit(data, by="command line")
        except InvalidConfig as refusal:
            raise CommandError(str(refusal)) from None
        self.stdout.write(session.session_id)
        if options["watch"]:
            call_command("watchsession", session.session_id, stdout=self.stdout)
