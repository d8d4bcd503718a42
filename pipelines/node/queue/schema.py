"""The queue's database: SQLite, written ahead and synced, so that what was committed survives a loss of power."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...core.errors import DelineateError, printable
from .records import STATES

VERSION = 2
_STATES = ", ".join(f"'{state}'" for state in STATES)
_SCHEMA = f"""
CREATE TABLE arrivals (
    file TEXT PRIMARY KEY, peer TEXT NOT NULL, association TEXT NOT NULL, at REAL NOT NULL,
    name TEXT NOT NULL -- in a watched folder
);
CREATE TABLE releases (association TEXT PRIMARY KEY, at REAL NOT NULL);
CREATE TABLE series (
    id INTEGER PRIMARY KEY,
    study_uid TEXT NOT NULL, series_uid TEXT NOT NULL, sop_uid TEXT NOT NULL, sop_class TEXT NOT NULL,
    modality TEXT NOT NULL, body_part TEXT NOT NULL, station TEXT NOT NULL, series_description TEXT NOT NULL,
    manufacturer TEXT NOT NULL, image INTEGER NOT NULL
);
CREATE UNIQUE INDEX series_by_uid ON series (study_uid, series_uid) WHERE series_uid != '';
CREATE TABLE instances (
    id INTEGER PRIMARY KEY, series INTEGER NOT NULL REFERENCES series, sop_uid TEXT NOT NULL, digest TEXT NOT NULL,
    file TEXT NOT NULL, association TEXT NOT NULL, name TEXT NOT NULL,
    since INTEGER NOT NULL, -- the first generation that it belongs to
    until INTEGER           -- the first that it does not belong to any more: another took its place
);
CREATE INDEX instances_by_series ON instances (series);
CREATE INDEX instances_by_file ON instances (file);
CREATE UNIQUE INDEX present_instances ON instances (series, sop_uid) WHERE until IS NULL;
CREATE TABLE jobs (
    id TEXT PRIMARY KEY, series INTEGER NOT NULL REFERENCES series, generation INTEGER NOT NULL, rule TEXT,
    state TEXT NOT NULL CHECK (state IN ({_STATES})),
    images INTEGER NOT NULL DEFAULT 0, peer TEXT NOT NULL, received REAL NOT NULL, last_image REAL NOT NULL,
    complete_at REAL,       -- somebody said so
    started REAL, finished REAL,
    attempts INTEGER NOT NULL DEFAULT 0, failures INTEGER NOT NULL DEFAULT 0, next_try REAL NOT NULL DEFAULT 0,
    reason TEXT NOT NULL DEFAULT '', model TEXT,
    content TEXT,           -- hash of its images
    forced INTEGER NOT NULL DEFAULT 0 -- to be computed even if an earlier job is the same
);
CREATE UNIQUE INDEX jobs_by_series ON jobs (series, generation, ifnull(rule, ''));
CREATE INDEX jobs_by_state ON jobs (state, received);
CREATE INDEX jobs_by_time ON jobs (received);
CREATE INDEX jobs_by_content ON jobs (content);
CREATE TABLE deliveries (
    id INTEGER PRIMARY KEY AUTOINCREMENT, job TEXT NOT NULL REFERENCES jobs, destination TEXT NOT NULL,
    sop_uid TEXT NOT NULL, sop_class TEXT NOT NULL, file TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'sent', 'failed')),
    attempts INTEGER NOT NULL DEFAULT 0, next_try REAL NOT NULL DEFAULT 0, reason TEXT NOT NULL DEFAULT '',
    transaction_uid TEXT,
    UNIQUE (job, destination, sop_uid)
);
CREATE INDEX deliveries_by_state ON deliveries (state, next_try);
CREATE INDEX deliveries_by_transaction ON deliveries (transaction_uid);
CREATE TABLE deleted (file TEXT PRIMARY KEY); -- no longer used, but perhaps still on the disk
PRAGMA user_version = {VERSION};
"""


class Store:
    """The database, opened once a process; its threads take turns, and other processes may have it open, too.

    Args:
        database: made if missing; on a local disk.

    Raises:
        DelineateError: it is no queue, or of another version, or cannot be kept safe where it lies.
    """

    def __init__(self, database: Path) -> None:
        self.database = database
        self.changed = threading.Condition()
        """Notified after each change that this process made."""
        self._turn = threading.RLock()
        try:
            self._connection = sqlite3.connect(database, timeout=30, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise DelineateError(
                f"{printable(database)} cannot be opened ({error}); see that its folder is there"
            ) from error
        try:
            self._prepare()
        except sqlite3.DatabaseError as error:
            self.close()
            raise DelineateError(
                f"{printable(database)} cannot be used as a queue ({error}); put back a copy of it, or move it away"
            ) from error
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        mode = self._connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise DelineateError(f"{printable(self.database)}: no write-ahead log can be kept; use a local disk")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("PRAGMA foreign_keys = ON")
        with self.transaction() as database:  # two processes may come at once
            version = database.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                for statement in _SCHEMA.split(";"):
                    database.execute(statement)
            elif version != VERSION:
                raise DelineateError(
                    f"{printable(self.database)} is a queue of version {version}, and this Delineate knows {VERSION}; "
                    "use the version that made it, or begin in a new folder once all is sent"
                )

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All that the block does, or nothing; nobody else, in whatever process, writes meanwhile."""
        with self._turn:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
        with self.changed:
            self.changed.notify_all()

    def rows(self, statement: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """What a ``SELECT`` finds."""
        with self._turn:
            return self._connection.execute(statement, values).fetchall()

    def wait(self, seconds: float) -> None:
        """Sleep until this process changed something, but no longer than that: other processes change things, too."""
        with self.changed:
            self.changed.wait(seconds)

    def close(self) -> None:
        """Close the database; what was committed is in it."""
        with self._turn:
            self._connection.close()
