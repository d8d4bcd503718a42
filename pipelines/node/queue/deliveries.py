"""Objects on their way to destinations: due, delivered, or to be tried again."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Collection

from .records import Delivery, Waiting
from .schema import Store

_DELIVERIES = """
SELECT id, job, destination, sop_uid, sop_class, file, state, attempts, next_try, reason, transaction_uid
FROM deliveries
"""
_LAST_REASON = """(
    SELECT reason FROM deliveries WHERE state = 'pending' AND destination = d.destination AND reason != ''
    ORDER BY next_try DESC LIMIT 1)"""
COMMITMENT = 3600.0
"""Seconds that a storage commitment may take before the object is sent once more."""


class Deliveries(Store):
    """The part of the queue that results leave by."""

    def deliveries(self, job_id: str) -> list[Delivery]:
        """All deliveries of a job."""
        return self._find("WHERE job = ? ORDER BY id", job_id)

    def due(self, now: float | None = None, destination: str | None = None) -> list[Delivery]:
        """What is to be sent now, the oldest first; of one destination, where one is named."""
        now = time.time() if now is None else now
        return self._find(
            "WHERE state = 'pending' AND next_try <= ? AND destination = ifnull(?, destination) ORDER BY id",
            now,
            destination,
        )

    def waiting(self) -> list[Waiting]:
        """What waits for each destination that it is not sent to yet."""
        found = self.rows(
            f"SELECT destination, count(*), min(ifnull(j.finished, j.received)), ifnull({_LAST_REASON}, '') "
            "FROM deliveries d JOIN jobs j ON j.id = d.job WHERE d.state = 'pending' GROUP BY destination"
        )
        return [Waiting(*row) for row in found]

    def waits_for(self, job_id: str) -> str:
        """The destinations that the result of a job is not sent to yet, each with the last reason, in words."""
        found = self.rows(
            "SELECT destination, max(reason) FROM deliveries WHERE job = ? AND state = 'pending' GROUP BY destination",
            (job_id,),
        )
        return "; ".join(f"waits for {name}: {reason or 'not tried yet'}" for name, reason in found)

    def in_transaction(self, transaction_uid: str) -> list[Delivery]:
        """What a storage commitment was asked for."""
        return self._find("WHERE transaction_uid = ? ORDER BY id", transaction_uid)

    def delivered(self, delivery_id: int) -> None:
        """The destination has it; with its last delivery the job is sent."""
        with self.transaction() as database:
            _sent(database, delivery_id)

    def not_delivered(self, delivery_id: int, reason: str, next_try: float, give_up: bool = False) -> None:
        """The destination has it not: try again at ``next_try``, or give up, and the job has failed."""
        with self.transaction() as database:
            database.execute(
                "UPDATE deliveries SET attempts = attempts + 1, reason = ?, next_try = ?, state = ?, "
                "transaction_uid = NULL WHERE id = ? AND state = 'pending'",
                (reason, next_try, "failed" if give_up else "pending", delivery_id),
            )
            if give_up:
                database.execute(
                    "UPDATE jobs SET state = 'failed', reason = (SELECT destination FROM deliveries WHERE id = ?) "
                    "|| ': ' || ? WHERE state = 'done' AND id = (SELECT job FROM deliveries WHERE id = ?)",
                    (delivery_id, reason, delivery_id),
                )

    def committing(
        self, delivery_id: int, transaction_uid: str, now: float | None = None, patience: float = COMMITMENT
    ) -> None:
        """The destination took it, and was asked to commit its storage; due again where it has not by ``patience``."""
        with self.transaction() as database:
            database.execute(
                "UPDATE deliveries SET transaction_uid = ?, next_try = ?, reason = 'waits for storage commitment' "
                "WHERE id = ? AND state = 'pending'",
                (transaction_uid, (time.time() if now is None else now) + patience, delivery_id),
            )

    def committed(self, transaction_uid: str, sop_uids: Collection[str]) -> list[Delivery]:
        """The destination committed the storage of these objects; the deliveries that are sent by that."""
        with self.transaction() as database:
            found = self._find("WHERE transaction_uid = ? AND state = 'pending' ORDER BY id", transaction_uid)
            sent = [delivery for delivery in found if delivery.sop_uid in sop_uids]
            for delivery in sent:
                _sent(database, delivery.id)
            return sent

    def _find(self, condition: str, *values: object) -> list[Delivery]:
        return [Delivery(*row) for row in self.rows(_DELIVERIES + condition, values)]


def _sent(database: sqlite3.Connection, delivery_id: int) -> None:
    database.execute(
        "UPDATE deliveries SET state = 'sent', attempts = attempts + 1, reason = '' WHERE id = ? AND state = 'pending'",
        (delivery_id,),
    )
    database.execute(
        "UPDATE jobs SET state = 'sent' WHERE state = 'done' AND id = (SELECT job FROM deliveries WHERE id = ?) "
        "AND NOT EXISTS (SELECT 1 FROM deliveries WHERE job = jobs.id AND state != 'sent')",
        (delivery_id,),
    )


def renew(database: sqlite3.Connection, job_id: str) -> int:
    """Begin the deliveries of a job again that are not sent; how many there are.

    They get new ids: what is said of one that is under way just now, that it is given up, e.g., is not said of these.
    """
    facts = "job, destination, sop_uid, sop_class, file"
    found = database.execute(f"SELECT {facts} FROM deliveries WHERE job = ? AND state != 'sent'", (job_id,)).fetchall()
    database.execute("DELETE FROM deliveries WHERE job = ? AND state != 'sent'", (job_id,))
    database.executemany(f"INSERT INTO deliveries ({facts}, state) VALUES (?, ?, ?, ?, ?, 'pending')", found)
    return len(found)
