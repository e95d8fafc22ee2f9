"""The watch over django-q2's clusters: starts them, restarts what dies or hangs, rings for what was missed.

Left alone, clusters exit with their workers orphaned, hang when an idle worker is killed, and forget bells;
docs/decisions/0003-the-watch.md says what was measured. The watch relies on nothing inside them: it sees their
process, and whether work that could be done is taken up.
"""

import logging
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta

from django.conf import settings
from django.db import DatabaseError
from django.utils import timezone
from django_q.models import Schedule

from training import bell, leash
from training.journal import Lock
from training.models import TrainingSession
from training.recovery import frozen_supervisors, work_waits
from training.warm import WarmTrainers

TURN_SECONDS = 0.25
RING_EVERY_SECONDS = 2.0
# A process that waits for a disk does not end at once, even so.
REPLACE_EVERY_SECONDS = 5.0
# Work that a free worker could do and that nobody has taken up for so long means that the cluster hangs.
HANGING_AFTER_SECONDS = 10.0
LONGEST_BACKOFF_SECONDS = 30.0
# A cluster that lived so long starts again at once when it dies.
HEALTHY_AFTER_SECONDS = 60.0
# Runners of Procfiles kill what has not ended five seconds after they asked.
STOP_SECONDS = 4.0

# What the default cluster does every hour.
CHORES = {
    "clean up ended sessions": "training.tasks.clean_up_ended_sessions",
    "remove unfinished uploads": "registry.tasks.remove_unfinished_uploads",
    "remove unfinished sessions": "training.tasks.remove_unfinished_sessions",
    "forget kept answers": "authkeys.tasks.forget_kept_answers",
    "log the head of the audit log": "authkeys.tasks.log_audit_head",
    "prune the audit log": "authkeys.tasks.prune_audit_log",
}

logger = logging.getLogger(__name__)


class Cluster:
    """One django-q2 cluster, in a process group of its own and on a leash."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.deaths = 0  # since it was last healthy
        self.start_at = 0.0
        self.process: subprocess.Popen[bytes] | None = None
        self.leash: int | None = None  # the writing end

    def start(self) -> None:
        reading_end, self.leash = os.pipe()
        try:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "runcluster"],
                cwd=settings.BASE_DIR,
                env={**os.environ, "Q_CLUSTER_NAME": self.name, leash.VARIABLE: str(reading_end)},
                pass_fds=[reading_end],
                process_group=0,
            )
        finally:
            os.close(reading_end)
        self.started_at = time.monotonic()

    def keep_alive(self) -> None:
        """Start it when it does not run, each time later while it keeps dying."""
        if self.process is not None and self.process.poll() is not None:
            logger.warning("Cluster %s ended with status %s; starting it again.", self.name, self.process.returncode)
            self.schedule_restart()
        if self.process is None and time.monotonic() >= self.start_at:
            self.start()

    def schedule_restart(self) -> None:
        """End what is left of it, and start a new one after a pause that grows with each death in a row."""
        if time.monotonic() - self.started_at > HEALTHY_AFTER_SECONDS:
            self.deaths = 0
        self.kill()
        pause = min(0.5 * 2**self.deaths, LONGEST_BACKOFF_SECONDS) if self.deaths else 0.0
        self.start_at = time.monotonic() + pause
        self.deaths += 1

    def let_go(self) -> None:
        """Ask it to end. Its supervisors leave their trainers running."""
        self.cut_leash()
        if self.process is not None:
            # To its main process alone: a SIGTERM to each of them hangs the cluster.
            self.process.terminate()

    def cut_leash(self) -> None:
        if self.leash is not None:
            os.close(self.leash)
            self.leash = None

    def kill(self) -> None:
        """End every process of it now. Nothing is lost by that: trainers live in sessions of their own."""
        self.cut_leash()
        if self.process is None:
            return
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            logger.debug("Nothing is left of cluster %s.", self.name)
        self.process.wait()
        self.process = None


class Watch:
    """Keeps the workers of this machine working until it is told to stop."""

    def __init__(self, stop_trainers: bool) -> None:
        self.stop_trainers = stop_trainers
        self.stopping = False
        self.training = Cluster(bell.CLUSTER)
        self.clusters = [Cluster("default"), self.training]
        self.warm_trainers = WarmTrainers() if settings.WARM_TRAINERS else None
        self.rung_at = self.replaced_at = 0.0
        self.work_waits_since: float | None = None

    def run(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.request_stop)
        while not self.stopping:
            self.turn()
            time.sleep(TURN_SECONDS)
        self.stop()

    def request_stop(self, *_: object) -> None:
        self.stopping = True

    def turn(self) -> None:
        """Look at everything once."""
        for cluster in self.clusters:
            cluster.keep_alive()
        try:
            self.replace_the_frozen()
            self.look_for_work()
            if self.warm_trainers is not None:
                self.warm_trainers.keep(settings.MAX_CONCURRENT_SESSIONS - TrainingSession.objects.running().count())
        except DatabaseError:
            logger.exception("The database did not answer; the watch goes on.")

    def replace_the_frozen(self) -> None:
        """End supervisors that somebody has stopped, whichever watch they belong to: others take their sessions up."""
        now = time.monotonic()
        if now - self.replaced_at < REPLACE_EVERY_SECONDS:
            return
        for session in frozen_supervisors():
            logger.warning("The supervisor of %s is frozen; its process is ended.", session)
            Lock.signal_holder(session.directory.supervisor_lock, signal.SIGKILL)
            self.replaced_at = now

    def look_for_work(self) -> None:
        """Ring while something waits that could be done; when nobody comes, the cluster hangs."""
        now = time.monotonic()
        if not work_waits():
            self.work_waits_since = None
            return
        if self.work_waits_since is None:
            self.work_waits_since = now
        if now - max(self.work_waits_since, self.training.started_at) > HANGING_AFTER_SECONDS:
            logger.warning("Cluster %s leaves work undone; starting it again.", self.training.name)
            self.training.schedule_restart()
            self.work_waits_since = None
        elif now - self.rung_at > RING_EVERY_SECONDS and not bell.is_ringing():
            bell.ring()
            self.rung_at = now

    def stop(self) -> None:
        """Let go of everything, within the deadline."""
        deadline = time.monotonic() + STOP_SECONDS
        if self.warm_trainers is not None:
            self.warm_trainers.end()
        for cluster in self.clusters:
            cluster.let_go()
        if self.stop_trainers:
            self.interrupt_trainers()
        while time.monotonic() < deadline and any(
            cluster.process is not None and cluster.process.poll() is None for cluster in self.clusters
        ):
            time.sleep(0.05)
        for cluster in self.clusters:
            cluster.kill()
        if self.stop_trainers:
            for session in TrainingSession.objects.running():
                self.see_trainer_end(session, deadline)

    def interrupt_trainers(self) -> None:
        """Ask every trainer to save and end; its session goes on when a worker runs again."""
        for session in TrainingSession.objects.running():
            session.directory.signal_trainer(signal.SIGTERM)

    def see_trainer_end(self, session: TrainingSession, deadline: float) -> None:
        """Wait for a trainer until the deadline, then end it: its session goes on from its newest checkpoint."""
        directory = session.directory
        while (directory.trainer_lives() or directory.console_is_kept()) and time.monotonic() < deadline:
            time.sleep(0.05)
        if not directory.trainer_lives():
            return
        logger.warning("The trainer of %s did not save in time; it is ended.", session)
        directory.signal_trainer(signal.SIGKILL)
        while directory.trainer_lives():
            time.sleep(0.01)
        directory.note_interruption(session.attempt)


def schedule_chores() -> None:
    """Make sure that the default cluster does the hourly chores; a change by hand in the admin stays."""
    for name, function in CHORES.items():
        Schedule.objects.get_or_create(name=name, defaults={"func": function, "schedule_type": Schedule.HOURLY})
    # Only a clock that was wrong plans what is hourly for later than in an hour.
    planned = Schedule.objects.filter(name__in=CHORES, schedule_type=Schedule.HOURLY)
    planned.filter(next_run__gt=timezone.now() + timedelta(hours=1)).update(next_run=timezone.now())
