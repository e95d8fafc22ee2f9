"""manage.py startsession: queue a session from the command line."""

import argparse
import json
from argparse import ArgumentParser
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from training.fields import Field, default_of, fields_of
from training.installation import CatalogueUnavailable
from training.models import TrainingSession
from training.repetition import CannotRepeat, configuration_like
from training.spec import InvalidConfig, TrainingConfig


def as_json(text: str) -> Any:
    """A number, true, false, null, a list or an object, as JSON writes it; anything else is text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def help_for(field: Field) -> str:
    """What the field means, and what it is when it is not given."""
    default = "required" if field.required else f"default: {json.dumps(default_of(field))}"
    return f"{field.rule.help} ({default})".replace("%", "%%")


class Command(BaseCommand):
    help = "Queues a training session, as POST /api/v1/training/start does, and prints its id."

    def add_arguments(self, parser: ArgumentParser) -> None:
        for field in fields_of(TrainingConfig):
            many = {"nargs": "*", "metavar": "TEXT"} if field.kind is tuple else {}
            parser.add_argument(
                f"--{field.name.replace('_', '-')}",
                type=str if field.kind in (str, tuple) else as_json,
                choices=field.rule.choices if field.kind is str else None,
                default=argparse.SUPPRESS,
                help=help_for(field),
                **many,  # type: ignore[arg-type]
            )
        parser.add_argument(
            "--like",
            metavar="SESSION_ID",
            help="Train what this session trained, with its seed, threads and device; other arguments change it.",
        )
        parser.add_argument("--watch", action="store_true", help="Stay and show the progress, as watchsession does.")

    def handle(self, *args: Any, **options: Any) -> None:
        given = {field.name: options[field.name] for field in fields_of(TrainingConfig) if field.name in options}
        try:
            earlier = self.find_configuration(options["like"]) if options["like"] else {}
            session = TrainingSession.objects.submit(earlier | given, by="command line")
        except (InvalidConfig, CannotRepeat, CatalogueUnavailable) as refusal:
            raise CommandError(str(refusal)) from None
        self.stdout.write(session.session_id)
        if options["watch"]:
            call_command("watchsession", session.session_id, stdout=self.stdout)

    @staticmethod
    def find_configuration(session_id: str) -> dict[str, Any]:
        """That of an earlier session, as it was resolved."""
        session = TrainingSession.objects.filter(session_id=session_id).first()
        if session is None:
            raise CommandError(f"There is no session {session_id}.")
        return configuration_like(session)
