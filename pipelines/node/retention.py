"""What is old and over is deleted; never what is still to be done or sent, and never the audit."""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from .folders import Folders

if TYPE_CHECKING:
    from .audit import Audit
    from .configuration.config import NodeConfig
    from .queue.queue import Queue

_DAY = 86400.0
_PENDING = "EXISTS (SELECT 1 FROM deliveries WHERE job = j.id AND state = 'pending')"
_OVER = f"(state IN ('done', 'sent') AND NOT {_PENDING} AND finished < :over)"
_OLD_SERIES = f"""
SELECT j.series, s.series_uid FROM jobs j JOIN series s ON s.id = j.series
WHERE j.series IN (SELECT series FROM instances)
GROUP BY j.series HAVING min({_OVER} OR (state = 'quarantined' AND finished < :quarantined)) = 1
LIMIT 20 -- at once, since nobody else can write meanwhile
"""
_FORGOTTEN = """
SELECT file, EXISTS (SELECT 1 FROM instances WHERE file = d.file) FROM deleted d LIMIT 200
"""


def delete_old(config: NodeConfig, queue: Queue, audit: Audit, now: float | None = None) -> int:
    """Delete images, results and what is quarantined once they are older than the configuration says.

    Images go when all jobs of their series are over, results when they are sent or go nowhere. What could not be sent
    stays until somebody tries it again, and so do its images.

    Returns:
        how many series and results were deleted.
    """
    now, keep = time.time() if now is None else now, config.retention
    ages = {"over": now - keep.days_images * _DAY, "quarantined": now - keep.days_quarantine * _DAY}
    count = 0
    while forgotten := _forget_images(queue, audit, ages):
        count += forgotten
    while _delete_forgotten(Folders(config.folder), queue):
        pass
    return count + _delete_results(Folders(config.folder), queue, audit, now - keep.days_results * _DAY)


def _forget_images(queue: Queue, audit: Audit, ages: dict[str, float]) -> int:
    """Take old images out of the queue in one step, so that late images of a series do without all of them."""
    counts: list[tuple[str, int]] = []
    with queue.transaction() as database:
        for series, uid in database.execute(_OLD_SERIES, ages).fetchall():
            database.execute("INSERT OR IGNORE INTO deleted SELECT file FROM instances WHERE series = ?", (series,))
            counts.append((uid, database.execute("DELETE FROM instances WHERE series = ?", (series,)).rowcount))
    for uid, images in counts:
        audit.write("images deleted", series=uid or None, images=images)
    return len(counts)


def _delete_forgotten(folders: Folders, queue: Queue) -> int:
    """Delete the files of such images; not while one that came is read, since it may be the same file once more."""
    if not queue.rows("SELECT 1 FROM deleted LIMIT 1"):
        return 0
    with queue.transaction() as database:
        if database.execute("SELECT 1 FROM arrivals LIMIT 1").fetchone():
            return 0
        files = database.execute(_FORGOTTEN).fetchall()
        for file, is_used in files:
            if not is_used:
                _delete(folders, folders.root / file)
        database.executemany("DELETE FROM deleted WHERE file = ?", [(file,) for file, _ in files])
    return len(files)


def _delete(folders: Folders, path: Path) -> None:
    path.unlink(missing_ok=True)
    if path.parent.parent == folders.series:
        with suppress(OSError):  # there are others in it
            path.parent.rmdir()


def _delete_results(folders: Folders, queue: Queue, audit: Audit, before: float) -> int:
    count = 0
    for folder in sorted(folders.results.iterdir()):
        with queue.transaction() as database:  # nobody tries the job again meanwhile
            statement = f"SELECT 1 FROM jobs j WHERE id = :job AND {_OVER}"
            is_old = database.execute(statement, {"job": folder.name, "over": before}).fetchone()
            if is_old:
                shutil.rmtree(folder)
        if is_old:
            audit.write("result deleted", job=folder.name)
            count += 1
    return count
