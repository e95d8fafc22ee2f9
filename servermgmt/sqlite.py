"""Connections to SQLite as a server needs them."""

import sqlite3
from typing import Any


class WritableConnection(sqlite3.Connection):
    """A connection that can write, or none.

    One that is opened on a read-only disk stays read-only when the disk is mended, and so does every later one of its
    process as long as it is there.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        try:
            # BEGIN IMMEDIATE alone is content with reading where it cannot write.
            self.execute("BEGIN IMMEDIATE")
            (version,) = self.execute("PRAGMA user_version").fetchone()
            self.execute(f"PRAGMA user_version = {version:d}")
            self.execute("ROLLBACK")
        except sqlite3.Error:
            self.close()
            raise
