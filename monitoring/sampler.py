"""The sampler process: reads the hardware every few seconds, so that a graph has a past."""

import logging
import signal

from django.conf import settings
from django.db import DatabaseError, close_old_connections, transaction

from monitoring.models import Sample

logger = logging.getLogger(__name__)

ENDING = {signal.SIGTERM, signal.SIGINT}


class Sampler:
    """Takes samples until it is told to end."""

    def sample_once(self) -> Sample:
        """Store one sample and drop those that are too old."""
        sample = Sample.measure()
        with transaction.atomic():  # one at a time, so that ids come in their order
            sample.save()
        Sample.objects.prune()
        return sample

    def run(self) -> None:
        """Sample every SAMPLE_EVERY_SECONDS until SIGTERM or SIGINT."""
        # Blocked and waited for, not handled: a signal can then only arrive between two samples.
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        while True:
            try:
                self.sample_once()
            except (DatabaseError, OSError):
                # A gap in the graph is better than no sampler.
                logger.exception("This sample is lost; the next one comes in %s s.", settings.SAMPLE_EVERY_SECONDS)
                close_old_connections()
            if signal.sigtimedwait(ENDING, settings.SAMPLE_EVERY_SECONDS):
                return
