"""manage.py managequeue: look at the queue, pause it, drain it, or move a session in it."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from training.admission import Overview
from training.models import IllegalTransition, QueueControl, TrainingSession
from training.moving import Move, move
from training.spec import InvalidConfig

COMMAND_LINE = "command line"


class Command(BaseCommand):
    help = "Shows the queue, pauses, resumes or drains it, or moves a session in it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        show = actions.add_parser("show", help="What waits, in the order in which it will start, and why.")
        show.add_argument("--limit", type=int, default=20, help="The most sessions to show (default: 20).")
        actions.add_parser("pause", help="Let no session start any more; those that run go on.")
        actions.add_parser("resume", help="Let sessions start again.")
        actions.add_parser("drain", help="Pause, and have what runs save a checkpoint and go back into the queue.")
        moving = actions.add_parser("move", help="Give a queued session another place.")
        moving.add_argument("session_id")
        moving.add_argument("--priority", type=int, help="Behind those that have this priority already.")
        moving.add_argument("--position", type=int, help="The place in the whole queue; 1 starts next.")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["action"] == "move":
            return self.move(options)
        if options["action"] == "pause":
            QueueControl.objects.pause(by=COMMAND_LINE)
        elif options["action"] == "resume":
            QueueControl.objects.resume()
        elif options["action"] == "drain":
            TrainingSession.objects.drain(by=COMMAND_LINE)
        else:
            return self.show(max(0, options["limit"]))
        return self.show_state()

    def move(self, options: dict[str, Any]) -> None:
        session = TrainingSession.objects.filter(session_id=options["session_id"]).first()
        if session is None:
            raise CommandError(f"There is no session {options['session_id']}.")
        try:
            wanted = Move.read({"priority": options["priority"], "position": options["position"]})
            self.stdout.write(move(session, wanted, by=COMMAND_LINE))
        except (InvalidConfig, IllegalTransition) as refusal:
            raise CommandError(str(refusal)) from None

    def show_state(self) -> None:
        control, sessions = QueueControl.objects.current(), TrainingSession.objects
        state = "open"
        if control.paused_at is not None:
            state = f"paused by {control.paused_by} since {control.paused_at:%Y-%m-%d %H:%M} UTC"
        running, queued, draining = sessions.running().count(), sessions.queued().count(), sessions.draining().count()
        going_back = f", {draining} of them about to go back" if draining else ""
        self.stdout.write(f"The queue is {state}: {running} running{going_back}, {queued} queued.")

    def show(self, limit: int) -> None:
        """The queue's state, and a line for each of the first that wait."""
        self.show_state()
        overview = Overview.now()
        for position, session in enumerate(TrainingSession.objects.queued()[:limit], start=1):
            waiting = overview.waiting(session)
            reason = " ".join((waiting.reason, *waiting.waits_for)) if waiting else ""
            self.stdout.write(f"{position:5}  {session}  priority {session.priority:4}  {reason}")
