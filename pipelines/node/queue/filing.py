"""From files that came to jobs: which series an image belongs to, and when a series is complete."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from ...core.errors import DelineateError
from ..configuration.rules import kind_of, matching_rules, why_not_segmented
from ..folders import Folders
from .deliveries import COMMITMENT
from .records import Arrival, Facts, Job
from .schema import Store

if TYPE_CHECKING:
    from ..configuration.config import NodeConfig

FOUND = "found at start"
"""The peer of a file whose arrival was not written down when the node ended."""
JOBS = """
SELECT j.id, s.study_uid, s.series_uid, j.generation, j.state, j.rule, j.images, j.peer, j.received, j.last_image,
    j.started, j.finished, j.attempts, j.next_try, j.reason, j.model
FROM jobs j JOIN series s ON s.id = j.series
"""
_FACTS = (
    *("study_uid", "series_uid", "sop_uid", "sop_class", "modality", "body_part", "station", "series_description"),
    *("manufacturer", "image"),
)


class Filing(Store):
    """The part of the queue that takes files in."""

    _since = 0.0
    """When the node started: whoever could not send meanwhile has the time that a series waits for its images."""

    def receive(self, arrival: Arrival) -> None:
        """Write down that a file lies in ``incoming/``; only then may its sender be told so."""
        with self.transaction() as database:
            _write_down(database, arrival)

    def arrivals(self) -> list[Arrival]:
        """Files that have not been read yet, in the order in which they came."""
        return [Arrival(*row) for row in self.rows("SELECT * FROM arrivals ORDER BY at, rowid")]

    def digest_of(self, facts: Facts) -> str | None:
        """The digest of the image that has this SOP Instance UID in its series now, ``None`` where there is none."""
        found = self.rows(
            "SELECT digest FROM instances i JOIN series s ON s.id = i.series "
            "WHERE study_uid = ? AND series_uid = ? AND i.sop_uid = ? AND until IS NULL",
            (facts.study_uid, facts.series_uid, facts.sop_uid),
        )
        return str(found[0][0]) if found else None

    def file(self, arrival: Arrival, facts: Facts, digest: str, series_file: str) -> Job:
        """Put an image into its series; its arrival is settled.

        Link the file to its place in the series before, and unlink it from ``incoming/`` after: then it may end
        between any two steps, and all can be done again.

        Args:
            arrival: how it came.
            facts: of its header.
            digest: SHA-256 of its bytes.
            series_file: where it lies now, relative to the node's folder.

        Returns:
            The job that it belongs to: a new one where the last one of its series is past ``received``, which is in
            place of one that is not begun yet. The same
            bytes once more are ignored; others under the same UID take the place of the first.
        """
        with self.transaction() as database:
            series = _series(database, facts)
            job = _latest(database, series)
            present = database.execute(
                "SELECT id, digest FROM instances WHERE series = ? AND sop_uid = ? AND until IS NULL",
                (series, facts.sop_uid),
            ).fetchone()
            is_new = present is None or present[1] != digest
            if job is None or (is_new and job[2] != "received"):
                job = _new_job(database, series, job[1] + 1 if job else 1, arrival)
            id_, generation, state = job
            if is_new:
                if present:
                    database.execute("UPDATE instances SET until = ? WHERE id = ?", (generation, present[0]))
                database.execute(
                    "INSERT INTO instances (series, sop_uid, digest, file, association, name, since) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (series, facts.sop_uid, digest, series_file, arrival.association, arrival.name, generation),
                )
            if state == "received":
                _note_image(database, id_, series, arrival.when)
            database.execute("DELETE FROM arrivals WHERE file = ?", (arrival.file,))
            return Job(*database.execute(f"{JOBS} WHERE j.id = ?", (id_,)).fetchone())

    def reject(self, arrival: Arrival, reason: str, file: str, now: float | None = None) -> Job:
        """Write down a file that cannot be read, as a quarantined job of its own; its arrival is settled.

        As with `file`, link it to ``file``, relative to the node's folder, before, and unlink it from ``incoming/``
        after; the same file once more is the same job.
        """
        with self.transaction() as database:
            known = database.execute("SELECT series FROM instances WHERE file = ?", (file,)).fetchone()
            series = known[0] if known else _rejected(database, arrival, reason, file, now)
            database.execute("DELETE FROM arrivals WHERE file = ?", (arrival.file,))
            return Job(*database.execute(f"{JOBS} WHERE j.series = ?", (series,)).fetchone())

    def release(self, job_id: str, now: float | None = None) -> Arrival:
        """Let a file that could not be read, and is a quarantined job of its own, be read again; that job is gone.

        Raises:
            DelineateError: the file has been deleted.
        """
        folders = Folders(self.database.parent)
        with self.transaction() as database:
            series, peer, file, name = database.execute(
                "SELECT j.series, peer, file, name FROM jobs j JOIN instances i ON i.series = j.series "
                "WHERE j.id = ? AND j.state = 'quarantined' AND sop_uid = ''",
                (job_id,),
            ).fetchone() or (None, "", "", "")
            place, again = folders.root / file, folders.incoming / Path(file).name
            if series is None or not (place.is_file() or again.is_file()):
                raise DelineateError(f"the file of job {job_id[:8]} has been deleted; send it again")
            if place.is_file():  # else it was killed here before
                os.replace(place, again)
            arrival = Arrival(again.name, peer, "", time.time() if now is None else now, name)
            _write_down(database, arrival)
            for table, column in (("instances", "series"), ("jobs", "series"), ("series", "id")):
                database.execute(f"DELETE FROM {table} WHERE {column} = ?", (series,))
            return arrival

    def released(self, association: str, now: float | None = None) -> None:
        """An association came to its regular end: no more images will come over it."""
        with self.transaction() as database:
            database.execute(
                "INSERT OR REPLACE INTO releases VALUES (?, ?)", (association, time.time() if now is None else now)
            )

    def complete(self, study_uid: str, now: float | None = None) -> int:
        """Somebody says that a study is complete; of how many series here that was not known yet."""
        with self.transaction() as database:
            return database.execute(
                "UPDATE jobs SET complete_at = ? "
                "WHERE state = 'received' AND series IN (SELECT id FROM series WHERE study_uid = ?)",
                (time.time() if now is None else now, study_uid),
            ).rowcount

    def settle(self, config: NodeConfig, now: float | None = None) -> list[Job]:
        """Let the jobs of complete series become ready, one for each rule, or done where no rule is for them.

        A series is complete when no image came for some time, its associations were released (where the
        configuration says so), or somebody said so; and when all files that had come by then have been read.

        Returns:
            The jobs that are ready or done now.
        """
        now = time.time() if now is None else now
        if not self.rows("SELECT 1 FROM jobs WHERE state = 'received' LIMIT 1"):
            return []
        with self.transaction() as database:
            unread = database.execute("SELECT min(at) FROM arrivals").fetchone()[0]
            upto = now if unread is None else min(now, unread - 1e-6)
            changed: list[str] = []
            for id_, series, generation, at in _received(database, config, self._since):
                if at <= upto:
                    changed += _match(database, config, id_, series, generation, now)
            database.execute("DELETE FROM releases WHERE at < ?", (now - 86400,))
            return [Job(*database.execute(f"{JOBS} WHERE j.id = ?", (id_,)).fetchone()) for id_ in changed]

    def turn_back(self, config: NodeConfig, now: float) -> None:
        """Let nothing wait for what the clock said before it was put right: no time is later than it can be."""
        pause = now + max(config.sending.longest_pause, COMMITMENT)
        with self.transaction() as database:
            for table, column, state, latest in (
                ("jobs", "last_image", "received", now),
                ("jobs", "complete_at", "received", now),
                ("jobs", "next_try", "ready", now),
                ("deliveries", "next_try", "pending", pause),
            ):
                statement = f"UPDATE {table} SET {column} = ? WHERE state = ? AND {column} > ?"
                database.execute(statement, (latest, state, latest))
            database.execute("UPDATE releases SET at = ? WHERE at > ?", (now, now))
            database.execute("UPDATE arrivals SET at = ? WHERE at > ?", (now, now))

    def recover(self, now: float | None = None) -> tuple[list[Job], list[str], list[str]]:
        """Bring queue and folders together, when a node starts: nothing else may run in its folder.

        Returns:
            Jobs that were running and are ready again; files of ``incoming/`` that were not written down; arrivals
            that were dropped because their file is gone.
        """
        incoming = Folders(self.database.parent).incoming
        self._since = time.time() if now is None else now
        with self.transaction() as database:
            running = database.execute(f"{JOBS} WHERE j.state = 'running'").fetchall()
            database.execute("UPDATE jobs SET state = 'ready' WHERE state = 'running'")
            known = {row[0] for row in database.execute("SELECT file FROM arrivals")}
            there = {path.name: path.stat().st_mtime for path in incoming.glob("[!.]*.dcm")}
            found, gone = sorted(there.keys() - known), sorted(known - there.keys())
            database.executemany("INSERT INTO arrivals VALUES (?, ?, '', ?, '')", [(f, FOUND, there[f]) for f in found])
            database.executemany("DELETE FROM arrivals WHERE file = ?", [(file,) for file in gone])
        for unfinished in incoming.glob(".tmp-*"):  # nobody was told that it is here
            unfinished.unlink(missing_ok=True)  # an association that is ending may be quicker
        return [Job(*row) for row in running], found, gone


def _write_down(database: sqlite3.Connection, arrival: Arrival) -> None:
    values = (arrival.file, arrival.peer, arrival.association, arrival.when, arrival.name)
    database.execute("INSERT OR IGNORE INTO arrivals VALUES (?, ?, ?, ?, ?)", values)


def _series(database: sqlite3.Connection, facts: Facts) -> int:
    found = database.execute(
        "SELECT id FROM series WHERE study_uid = ? AND series_uid = ? AND series_uid != ''",
        (facts.study_uid, facts.series_uid),
    ).fetchone()
    return int(found[0]) if found else _new_series(database, facts)


def _new_series(database: sqlite3.Connection, facts: Facts) -> int:
    values = [getattr(facts, name) for name in _FACTS]
    places = ", ".join("?" * len(values))
    row = database.execute(f"INSERT INTO series ({', '.join(_FACTS)}) VALUES ({places})", values).lastrowid
    assert row is not None
    return row


def _latest(database: sqlite3.Connection, series: int) -> tuple[str, int, str] | None:
    found: tuple[str, int, str] | None = database.execute(
        "SELECT id, generation, state FROM jobs WHERE series = ? ORDER BY generation DESC, rowid LIMIT 1", (series,)
    ).fetchone()
    return found


def _new_job(database: sqlite3.Connection, series: int, generation: int, arrival: Arrival) -> tuple[str, int, str]:
    """Of all images of the series, so that one of fewer images need not be begun any more."""
    id_ = uuid4().hex
    reason = f"more images came before it was begun: see job {id_[:12]}"
    statement = "UPDATE jobs SET state = 'done', finished = ?, reason = ? WHERE series = ? AND state = 'ready'"
    database.execute(statement, (time.time(), reason, series))
    database.execute(
        "INSERT INTO jobs (id, series, generation, state, peer, received, last_image) "
        "VALUES (?, ?, ?, 'received', ?, ?, ?)",
        (id_, series, generation, arrival.peer, arrival.when, arrival.when),
    )
    return id_, generation, "received"


def _rejected(database: sqlite3.Connection, arrival: Arrival, reason: str, file: str, now: float | None) -> int:
    series = _new_series(database, Facts("", "", "", "", image=False))
    database.execute(
        "INSERT INTO instances (series, sop_uid, digest, file, association, name, since) "
        "VALUES (?, '', '', ?, ?, ?, 1)",
        (series, file, arrival.association, arrival.name),
    )
    id_, _, _ = _new_job(database, series, 1, arrival)
    database.execute(
        "UPDATE jobs SET state = 'quarantined', reason = ?, finished = ?, images = 1 WHERE id = ?",
        (reason, time.time() if now is None else now, id_),
    )
    return series


def _note_image(database: sqlite3.Connection, job: str, series: int, when: float) -> None:
    """What a job in ``received`` says of its images; that somebody called it complete before this one came is over."""
    database.execute(
        "UPDATE jobs SET images = (SELECT count(*) FROM instances WHERE series = ? AND until IS NULL), "
        "received = min(received, ?), last_image = max(last_image, ?), "
        "complete_at = CASE WHEN complete_at >= ? THEN complete_at END WHERE id = ?",
        (series, when, when, when, job),
    )


def _received(database: sqlite3.Connection, config: NodeConfig, since: float) -> list[tuple[str, int, int, float]]:
    """Of each job in ``received`` its id, series and generation, and when it is, or will be, complete."""
    released = """(
        SELECT CASE WHEN count(*) = count(r.at) THEN max(r.at) END
        FROM (SELECT DISTINCT association FROM instances WHERE series = j.series AND since = j.generation) i
        LEFT JOIN releases r ON r.association = i.association)"""
    jobs = database.execute(
        f"SELECT id, series, generation, last_image, complete_at, {released} FROM jobs j WHERE state = 'received'"
    ).fetchall()
    found = []
    for id_, series, generation, last_image, complete_at, released_at in jobs:
        ends = [max(last_image, since) + config.completeness.idle_seconds]
        ends += [] if complete_at is None else [complete_at]
        ends += [released_at] if config.completeness.at_release and released_at is not None else []
        found.append((id_, series, generation, min(ends)))
    return found


def _match(
    database: sqlite3.Connection, config: NodeConfig, id_: str, series: int, generation: int, now: float
) -> list[str]:
    """Match the rules with a complete series; the ids of its jobs."""
    row = database.execute(f"SELECT {', '.join(_FACTS)} FROM series WHERE id = ?", (series,)).fetchone()
    facts = Facts(*row)
    reason = why_not_segmented(facts)
    rules = [] if reason else [rule.name for rule in matching_rules(config, facts)]
    if not rules:
        reason = reason or f"no rule is for it: {kind_of(facts)}"
        database.execute("UPDATE jobs SET state = 'done', finished = ?, reason = ? WHERE id = ?", (now, reason, id_))
        return [id_]
    content = _content(database, series, generation)
    database.execute("UPDATE jobs SET state = 'ready', rule = ?, content = ? WHERE id = ?", (rules[0], content, id_))
    others = [uuid4().hex for _ in rules[1:]]
    for other, rule in zip(others, rules[1:], strict=True):
        database.execute(
            "INSERT INTO jobs (id, series, generation, rule, state, images, peer, received, last_image, content) "
            "SELECT ?, series, generation, ?, 'ready', images, peer, received, last_image, content "
            "FROM jobs WHERE id = ?",
            (other, rule, id_),
        )
    return [id_, *others]


def _content(database: sqlite3.Connection, series: int, generation: int) -> str:
    """Hash of the images of one generation, whatever their order."""
    images = database.execute(
        "SELECT sop_uid, digest FROM instances WHERE series = ? AND since <= ? AND ifnull(until, ? + 1) > ? "
        "ORDER BY sop_uid",
        (series, generation, generation, generation),
    )
    return hashlib.sha256(repr(images.fetchall()).encode()).hexdigest()
