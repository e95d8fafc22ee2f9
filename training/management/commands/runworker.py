"""manage.py runworker: the worker process."""

import os
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from training.journal import AlreadyLocked, Lock
from training.tasks import sweep
from training.watch import Watch, schedule_chores


class Command(BaseCommand):
    help = "Starts the django-q2 clusters that supervise the sessions, and watches over them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--stop-trainers",
            action="store_true",
            help="When stopped, let the trainers save and end too. Without it they go on and are adopted later.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        path = settings.DATA_DIR / "worker.lock"
        try:
            lock = Lock.acquire(path)
        except AlreadyLocked:
            raise CommandError(
                f"A worker with process id {Lock.read_pid(path)} runs on {settings.DATA_DIR} already; stop it first."
            ) from None
        with lock:
            lock.write_pid(os.getpid())
            schedule_chores()
            sweep()
            Watch(stop_trainers=options["stop_trainers"]).run()
