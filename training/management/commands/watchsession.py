"""manage.py watchsession: the live progress of a session in a terminal."""

import time
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from training.admission import Overview
from training.models import TrainingSession
from training.state import State

LOOK_EVERY_SECONDS = 0.25


class Command(BaseCommand):
    help = "Shows the live progress of a session until it ends. Ctrl-C leaves the session alone."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("session_id")

    def handle(self, *args: Any, **options: Any) -> None:
        session = TrainingSession.objects.filter(session_id=options["session_id"]).first()
        if session is None:
            raise CommandError(f"There is no session {options['session_id']}.")
        try:
            self.watch(session)
        except KeyboardInterrupt:
            return
        if session.state == State.FAILED:
            raise CommandError(f"{session} failed: {session.error_message} {session.remedy}")
        self.stdout.write(f"{session} is {session.state}.")

    def watch(self, session: TrainingSession) -> None:
        columns = (
            TextColumn("{task.fields[state]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=Console(file=self.stdout)) as progress:  # type: ignore[arg-type]
            bar = progress.add_task(str(session), total=session.total_epochs, state=session.state, figures="")
            shown = None
            while True:
                session.refresh_from_db()
                if session.state == State.PAUSED != shown:
                    # A bar that stands still needs a reason, and where there is no terminal there is no bar.
                    progress.console.print(f"{session} is paused; manage.py managesession resume lets it go on.")
                shown = session.state
                progress.update(
                    bar, completed=session.current_epoch or 0, state=session.state, figures=self.describe(session)
                )
                if session.has_ended:
                    return
                time.sleep(LOOK_EVERY_SECONDS)

    @staticmethod
    def describe(session: TrainingSession) -> str:
        """The newest metrics in a few words."""
        if session.state == State.PAUSED:
            return "waits until it is resumed"
        overview = Overview.now()
        if waiting := overview.waiting(session):
            return f"position {overview.position(session)} in the queue: {waiting.reason.label.lower()}"
        newest = session.metrics.order_by("epoch").last()
        if newest is None:
            return "starting"
        figures = {"loss": newest.loss, "accuracy": newest.accuracy, "val_accuracy": newest.val_accuracy}
        return "  ".join(f"{name} {value:.4f}" for name, value in figures.items() if value is not None)
