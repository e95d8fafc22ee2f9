"""manage.py runcluster: one django-q2 cluster, as `runworker` starts it."""

from typing import Any

from django_q.management.commands.qcluster import Command as QClusterCommand

from training import leash


class Command(QClusterCommand):
    help = "Starts one django-q2 cluster that ends with the watch that started it. Use runworker instead."

    def handle(self, *args: Any, **options: Any) -> None:
        leash.end_with_watch()
        super().handle(*args, **options)
