import django.db.models.deletion
from django.db import migrations, models

# Entries of a session were stored in the order of their ids.
NUMBER_LINES = """
    UPDATE logs SET line = numbered.line
    FROM (SELECT id, ROW_NUMBER() OVER (PARTITION BY session_id ORDER BY id) AS line FROM logs) AS numbered
    WHERE numbered.id = logs.id
"""


class Migration(migrations.Migration):
    dependencies = [
        ("training", "0003_steering"),
    ]

    operations = [
        migrations.AddField(
            model_name="logentry",
            name="line",
            field=models.PositiveBigIntegerField(null=True),
        ),
        migrations.RunSQL(NUMBER_LINES, migrations.RunSQL.noop),
        migrations.AlterField(
            model_name="logentry",
            name="line",
            field=models.PositiveBigIntegerField(),
        ),
        migrations.AlterField(
            model_name="logentry",
            name="session",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="log_entries",
                to="training.trainingsession",
            ),
        ),
        migrations.AddConstraint(
            model_name="logentry",
            constraint=models.UniqueConstraint(fields=("session", "line"), name="one_entry_per_line"),
        ),
        migrations.AddIndex(
            model_name="logentry",
            index=models.Index(fields=["session", "level", "line"], name="logs_by_level"),
        ),
    ]
