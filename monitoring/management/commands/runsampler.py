from typing import Any

from django.core.management.base import BaseCommand

from monitoring.sampler import Sampler


class Command(BaseCommand):
    help = "Reads CPU, memory, disk and GPUs every SAMPLE_EVERY_SECONDS; ends on SIGTERM or Ctrl-C."

    def handle(self, *args: Any, **options: Any) -> None:
        Sampler().run()
