"""Django's PostgreSQL, with transactions that come one after the other, as they do on SQLite.

What the code finds out in a transaction (that a place is free, that a key is new, which row is the last) stays true
until its end. The price is that of SQLite, too: one writes at a time. Reads outside of transactions wait for nobody.
"""

from django.db.backends.postgresql import base

TURN = 7_263_514_920  # any number that no other program takes an advisory lock on in this database


class DatabaseWrapper(base.DatabaseWrapper):
    def _set_autocommit(self, autocommit: bool) -> None:
        super()._set_autocommit(autocommit)  # type: ignore[misc]  # the stubs leave out what is private
        if not autocommit:
            self._wait_for_turn()

    def _wait_for_turn(self) -> None:
        """Take the one lock of all writers, which the end of the transaction gives back."""
        try:
            with self.wrap_database_errors, self.connection.cursor() as cursor:
                cursor.execute(f"SELECT pg_advisory_xact_lock({TURN})")
        except BaseException:
            with self.wrap_database_errors:
                self.connection.rollback()
            super()._set_autocommit(True)  # type: ignore[misc]
            raise
