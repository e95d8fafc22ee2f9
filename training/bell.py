"""The doorbell: tells the workers that there may be work.

A bell carries nothing. It may be lost, doubled or late: the row is the queue, and the watch rings again for
whatever was missed.
"""

import logging

from django.db import DatabaseError
from django.utils import timezone
from django_q.models import OrmQ
from django_q.tasks import async_task

CLUSTER = "training"

logger = logging.getLogger(__name__)


def ring() -> None:
    """Wake a worker. A broker that does not answer is logged and no more: the watch will ring again."""
    try:
        # -1 is "no timeout": None would kill the worker at each delivery.
        async_task("training.tasks.answer_bell", cluster=CLUSTER, timeout=-1, save=False)
    except DatabaseError:
        logger.warning("The bell could not be rung; the watch rings it again.", exc_info=True)


def is_ringing() -> bool:
    """Whether a bell waits that no worker has heard yet."""
    return bool(OrmQ.objects.filter(key=CLUSTER, lock__lte=timezone.now()).exists())
