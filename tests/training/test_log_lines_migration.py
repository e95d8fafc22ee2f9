"""A database that was there before log entries had lines gets them, on SQLite and on PostgreSQL."""

import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
from django.conf import settings

from tests.boundary.live_server import postgres_database

pytestmark = pytest.mark.slow

# Entries of two sessions in turns, stored by the code of before; then the migration, forth, back and forth again.
STORY = """
import django
django.setup()
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

executor = MigrationExecutor(connection)
before = [("training", "0003_steering"), ("registry", "0002_sets_and_text")]
executor.migrate(before)
apps = executor.loader.project_state(before).apps
dataset = apps.get_model("registry", "Dataset").objects.create(
    name="tiny", stored_name="tiny", sha256="0", size_bytes=1, format="csv", dimensions="1", sample_count=1
)
sessions = [
    apps.get_model("training", "TrainingSession").objects.create(session_id=f"sess_{n}", config={}, dataset=dataset)
    for n in range(2)
]
for number in range(9):
    apps.get_model("training", "LogEntry").objects.create(
        session=sessions[number % 3 == 0], timestamp=timezone.now(), level="INFO", message=str(number)
    )
call_command("migrate", verbosity=0)
call_command("migrate", "training", "0003", verbosity=0)
call_command("migrate", verbosity=0)

from training.models import LogEntry, TrainingSession
for session in TrainingSession.objects.order_by("id"):
    session.log("INFO", "new")
for session_id, line, message in LogEntry.objects.order_by("id").values_list("session_id", "line", "message"):
    print(session_id - sessions[0].pk, line, message)
"""


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_entries_are_numbered_in_the_order_in_which_they_came(database: str, tmp_path: Path) -> None:
    with postgres_database() if database == "postgres" else nullcontext("") as url:
        environment = os.environ | {"DATA_DIR": str(tmp_path), "DATABASE_URL": url}
        environment["DJANGO_SETTINGS_MODULE"] = "servermgmt.settings"
        told = subprocess.run(
            [sys.executable, "-c", STORY], cwd=settings.BASE_DIR, env=environment, check=True, stdout=subprocess.PIPE
        ).stdout
    assert told.decode().splitlines() == [
        "1 1 0",
        "0 1 1",
        "0 2 2",
        "1 2 3",
        "0 3 4",
        "0 4 5",
        "1 3 6",
        "0 5 7",
        "0 6 8",
        "0 7 new",
        "1 4 new",
    ]
