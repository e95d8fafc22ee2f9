"""How much of a rate everybody has used, shared by all web processes."""

import time

from django.db import connection, models

from authkeys.allowances import Allowance, Rate

# The generic cell rate algorithm in one statement, so that no two requests can take the same place. What was spent
# is gone at `empty_at`; one that lies further away than a period comes from a clock that was set back.
SPEND = """
    INSERT INTO rates (subject, empty_at) VALUES (%(subject)s, %(now)s + %(each)s)
    ON CONFLICT (subject) DO UPDATE SET empty_at = %(each)s + CASE
        WHEN rates.empty_at BETWEEN %(now)s AND %(now)s + %(period)s THEN rates.empty_at ELSE %(now)s END
    WHERE NOT rates.empty_at BETWEEN %(now)s + %(period)s - %(each)s * 0.999999 AND %(now)s + %(period)s
    RETURNING empty_at
"""
READ = "SELECT empty_at FROM rates WHERE subject = %s"


class UsageQuerySet(models.QuerySet["Usage"]):
    def spend(self, subject: str, rate: Rate) -> Allowance:
        """Take one request out of what this subject may send, if there is one left."""
        now = time.time()
        values: dict[str, str | float] = {
            "subject": subject,
            "now": now,
            "each": rate.each_seconds,
            "period": rate.period_seconds,
        }
        with connection.cursor() as cursor:
            cursor.execute(SPEND, values)
            row = cursor.fetchone()
        if row is None:
            return self.left(subject, rate)
        return rate.allowance(row[0] - now, is_refused=False)

    def left(self, subject: str, rate: Rate) -> Allowance:
        """What this subject may still send; takes nothing."""
        now = time.time()
        with connection.cursor() as cursor:
            cursor.execute(READ, [subject])
            row = cursor.fetchone()
        spent = row[0] - now if row else 0.0
        return rate.allowance(spent if 0 <= spent <= rate.period_seconds else 0.0, is_refused=True)

    def empty(self) -> "UsageQuerySet":
        """Those of which nothing is used any more."""
        return self.filter(empty_at__lt=time.time())


class Usage(models.Model):
    """Until when what somebody has sent counts against his rate."""

    subject = models.CharField(primary_key=True, max_length=100)
    empty_at = models.FloatField(help_text="In seconds since 1970.")

    objects = UsageQuerySet.as_manager()

    class Meta:
        db_table = "rates"

    def __str__(self) -> str:
        return self.subject
