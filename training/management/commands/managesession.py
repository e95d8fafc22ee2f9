"""manage.py managesession: pause, resume, stop, kill or restart a session from the command line."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from training.installation import CatalogueUnavailable
from training.models import IllegalTransition, TrainingSession
from training.repetition import CannotRepeat
from training.restart import NoCheckpoint, Restart, restart
from training.spec import InvalidConfig
from training.state import Action
from training.steering import steer

ACTIONS = (Action.PAUSE, Action.RESUME, Action.STOP, Action.KILL, Action.RESTART)


class Command(BaseCommand):
    help = "Pauses, resumes, stops, kills or restarts a session. A restart prints the id of the new session."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("action", choices=[str(action) for action in ACTIONS])
        parser.add_argument("session_id")
        parser.add_argument(
            "--from-checkpoint",
            metavar="NAME",
            help="restart: go on from this checkpoint, such as step-00001500, or from the newest. "
            "Without it the new session begins from the start.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        action, checkpoint = Action(options["action"]), options["from_checkpoint"]
        if checkpoint is not None and action != Action.RESTART:
            raise CommandError(f"--from-checkpoint is for restart; leave it out to {action} a session.")
        session = TrainingSession.objects.filter(session_id=options["session_id"]).first()
        if session is None:
            raise CommandError(f"There is no session {options['session_id']}.")
        try:
            if action == Action.RESTART:
                wanted = Restart.read({"from_checkpoint": checkpoint})
                answer = restart(session, wanted, by="command line").session_id
            else:
                answer = steer(session, action, by="command line")
        except (IllegalTransition, InvalidConfig, CannotRepeat, NoCheckpoint, CatalogueUnavailable) as refusal:
            raise CommandError(str(refusal)) from None
        self.stdout.write(answer)
