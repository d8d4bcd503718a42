"""The queue: what came, what is to be done with it, and what became of it.

Each method is one transaction: whenever the process ends, the next one finds the state before or after it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from ...core.errors import DelineateError, printable
from ..folders import Folders
from .deliveries import Deliveries, renew
from .filing import JOBS, Filing
from .records import STATES, State
from .records import Arrival as Arrival
from .records import Delivery as Delivery
from .records import Facts as Facts
from .records import Instance as Instance
from .records import Job as Job
from .records import NewDelivery as NewDelivery


class Queue(Filing, Deliveries):
    """The jobs of a node and all that belongs to them."""

    def next_job(self, now: float | None = None) -> Job | None:
        """Claim the job that waits longest: it is running from now on, and nobody else gets it."""
        now = time.time() if now is None else now
        if not self.rows("SELECT 1 FROM jobs WHERE state = 'ready' AND next_try <= ? LIMIT 1", (now,)):
            return None
        with self.transaction() as database:
            found = database.execute(
                "SELECT id FROM jobs WHERE state = 'ready' AND next_try <= ? ORDER BY received, rowid LIMIT 1", (now,)
            ).fetchone()
            if found is None:
                return None
            database.execute(
                "UPDATE jobs SET state = 'running', started = ?, attempts = attempts + 1 WHERE id = ?", (now, *found)
            )
            return self._job(*found)

    def instances(self, job_id: str) -> list[Instance]:
        """The images of a job, in the order in which they came."""
        found = self.rows(
            "SELECT i.id, i.sop_uid, i.digest, i.file, i.name FROM instances i JOIN jobs j ON j.series = i.series "
            "WHERE j.id = ? AND since <= generation AND ifnull(until, generation + 1) > generation ORDER BY i.id",
            (job_id,),
        )
        return [Instance(*row) for row in found]

    def same_as(self, job_id: str, model: str) -> str | None:
        """The first job that did the same before: the same images, rule and model; ``None`` after `retry`.

        Its result was sent, or is to be, or lies in ``results/``: one that has been deleted is of no use to anybody.

        Args:
            job_id: of the job that runs.
            model: names the model, and its settings, that it would be done with.
        """
        found = self.rows(
            "SELECT old.id, EXISTS (SELECT 1 FROM deliveries WHERE job = old.id) FROM jobs old "
            "JOIN jobs new ON new.id = ? AND old.id != new.id AND NOT new.forced "
            "AND old.content = new.content AND old.rule = new.rule "
            "WHERE old.model = ? AND old.state IN ('done', 'sent') ORDER BY old.rowid",
            (job_id, model),
        )
        results = Folders(self.database.parent).results
        return next((str(id_) for id_, goes_out in found if goes_out or (results / id_).is_dir()), None)

    def done(
        self,
        job_id: str,
        model: str,
        deliveries: Sequence[NewDelivery],
        reason: str = "",
        now: float | None = None,
    ) -> None:
        """The result of a job is there; what is to be sent of it, once for each destination."""
        with self.transaction() as database:
            self._finish(job_id, "done", reason, now, model)
            database.executemany(
                "INSERT OR IGNORE INTO deliveries (job, destination, sop_uid, sop_class, file, state) "
                "VALUES (?, ?, ?, ?, ?, 'pending')",
                [(job_id, each.destination, each.sop_uid, each.sop_class, each.file) for each in deliveries],
            )

    def done_before(self, job_id: str, earlier: str, model: str, now: float | None = None) -> None:
        """An earlier job (`same_as`) has the result of this one: nothing is computed, nothing is sent."""
        reason = f"same images and model as job {earlier[:12]}: not done again"
        with self.transaction():
            self._finish(job_id, "sent", reason, now, model)

    def failed_attempt(self, job_id: str, reason: str, most_attempts: int, now: float | None = None) -> Job:
        """The process that worked on a job failed: it is ready again, or quarantined at the last of its attempts."""
        with self.transaction() as database:
            database.execute("UPDATE jobs SET failures = failures + 1 WHERE id = ? AND state = 'running'", (job_id,))
            failures = database.execute("SELECT failures FROM jobs WHERE id = ?", (job_id,)).fetchone()
            if failures is not None and failures[0] >= most_attempts:
                self._finish(job_id, "quarantined", reason, now)
            else:
                database.execute(
                    "UPDATE jobs SET state = 'ready', reason = ? WHERE id = ? AND state = 'running'", (reason, job_id)
                )
            return self._job(job_id)

    def give_back(self, job_id: str, reason: str, next_try: float) -> None:
        """A job that runs cannot be done now, through no fault of its own: it is ready again from ``next_try`` on."""
        with self.transaction() as database:
            statement = "UPDATE jobs SET state = 'ready', reason = ?, next_try = ? WHERE id = ? AND state = 'running'"
            database.execute(statement, (reason, next_try, job_id))

    def quarantine(self, job_id: str, reason: str, now: float | None = None) -> None:
        """Nothing can be done with the images of a job that runs."""
        with self.transaction():
            self._finish(job_id, "quarantined", reason, now)

    def retry(self, job_id: str, now: float | None = None) -> Job:
        """Do a job once more that has come to its end; where a part of its result is there and not sent, only send it.

        One that no rule was for is matched with the rules again.

        Raises:
            DelineateError: it waits or runs, its file could not be read, or its images have been deleted.
        """
        now = time.time() if now is None else now
        with self.transaction() as database:
            job = self.job(job_id)
            if job.state in ("received", "ready", "running"):
                raise DelineateError(f"job {job.id[:8]} is {job.state}: it is done as soon as it can be; wait for it")
            if self._result_is_there(job.id) and renew(database, job.id):
                database.execute("UPDATE jobs SET state = 'done', reason = '' WHERE id = ?", (job.id,))
                return self._job(job.id)
            if not job.series_uid:
                raise DelineateError(f"job {job.id[:8]} is a file that could not be read; release it")
            if not job.images or len(self.instances(job.id)) < job.images:
                raise DelineateError(f"the images of job {job.id[:8]} have been deleted; send them again")
            database.execute("DELETE FROM deliveries WHERE job = ?", (job.id,))
            database.execute(
                "UPDATE jobs SET state = ?, complete_at = ?, reason = '', failures = 0, next_try = 0, finished = NULL, "
                "forced = 1 WHERE id = ?",
                ("received" if job.rule is None else "ready", now, job.id),
            )
            return self._job(job.id)

    def _result_is_there(self, job_id: str) -> bool:
        """Whether what is not sent can be: a disk may have lost it, or somebody tidied up."""
        return all(
            (self.database.parent / each.file).is_file() for each in self.deliveries(job_id) if each.state != "sent"
        )

    def jobs(self, state: State | None = None, limit: int = 1000) -> list[Job]:
        """Jobs, the newest first."""
        condition, values = ("WHERE j.state = ?", (state,)) if state else ("", ())
        order = "ORDER BY j.received DESC, j.rowid DESC LIMIT ?"
        return [Job(*row) for row in self.rows(f"{JOBS} {condition} {order}", (*values, limit))]

    def job(self, id_or_prefix: str) -> Job:
        """The job with an id, or with the only one that begins so.

        Raises:
            DelineateError: there is none, or several.
        """
        statement = f"{JOBS} WHERE j.id >= ? AND j.id < ? || 'g' AND ? != '' LIMIT 2"
        found = self.rows(statement, (id_or_prefix,) * 3)
        if len(found) != 1:
            several = "several jobs have ids that begin" if found else "no job has an id that begins"
            raise DelineateError(f"{several} with {printable(id_or_prefix[:64])!r}; 'delineate node list' has them all")
        return Job(*found[0])

    def counts(self) -> dict[State, int]:
        """How many jobs there are in each state."""
        found = dict(self.rows("SELECT state, count(*) FROM jobs GROUP BY state"))
        return {state: found.get(state, 0) for state in STATES}

    def oldest_waiting(self) -> float | None:
        """When the first image came of those whose result is not there, or not sent, yet; ``None``: nothing waits."""
        found = self.rows(
            "SELECT min(at) FROM (SELECT min(at) AS at FROM arrivals UNION ALL "
            "SELECT min(received) FROM jobs WHERE state IN ('received', 'ready', 'running') UNION ALL "
            "SELECT min(received) FROM jobs WHERE id IN (SELECT job FROM deliveries WHERE state = 'pending'))"
        )
        return None if found[0][0] is None else float(found[0][0])

    def waiting_deliveries(self) -> dict[str, int]:
        """How many objects wait for each destination."""
        return {each.destination: each.objects for each in self.waiting()}

    def _job(self, id_: str) -> Job:
        return Job(*self.rows(f"{JOBS} WHERE j.id = ?", (id_,))[0])

    def _finish(self, job_id: str, state: State, reason: str, now: float | None, model: str | None = None) -> None:
        """Inside a transaction."""
        changed = self._connection.execute(
            "UPDATE jobs SET state = ?, reason = ?, finished = ?, model = ifnull(?, model) "
            "WHERE id = ? AND state = 'running'",
            (state, reason, time.time() if now is None else now, model, job_id),
        ).rowcount
        if not changed:
            raise DelineateError(f"job {job_id[:8]} does not run; it cannot become {state}")
