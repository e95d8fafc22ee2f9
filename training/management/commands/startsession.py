"""manage.py startsession: queue a session from the command line."""

import argparse
import json
from argparse import ArgumentParser
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from training.fields import fields_of
from training.models import TrainingSession
from training.spec import InvalidConfig, TrainingConfig


def as_json(text: str) -> Any:
    """A number, true, false, null, a list or an object, as JSON writes it; anything else is text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


class Command(BaseCommand):
    help = "Queues a training session, as POST /api/v1/training/start does, and prints its id."

    def add_arguments(self, parser: ArgumentParser) -> None:
        for field in fields_of(TrainingConfig):
            parser.add_argument(
                f"--{field.name.replace('_', '-')}",
                type=str if field.kind is str else as_json,
                required=field.required,
                choices=field.rule.choices if field.kind is str else None,
                default=argparse.SUPPRESS,
                help=field.rule.help,
            )
        parser.add_argument("--watch", action="store_true", help="Stay and show the progress, as watchsession does.")

    def handle(self, *args: Any, **options: Any) -> None:
        data = {field.name: options[field.name] for field in fields_of(TrainingConfig) if field.name in options}
        try:
            session = TrainingSession.objects.submit(data, by="command line")
        except InvalidConfig as refusal:
            raise CommandError(str(refusal)) from None
        self.stdout.write(session.session_id)
        if options["watch"]:
            call_command("watchsession", session.session_id, stdout=self.stdout)
