"""Jobs, and what belongs to them, as ``delineate node`` prints them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ..core.errors import printable
from .console import show_table

if TYPE_CHECKING:
    from ..node.queue.queue import Delivery, Instance, Job
    from ..node.queue.records import Waiting

_SHOWN = 10  # images or deliveries
_TEXT = 64  # characters of a cell
JOB_COLUMNS = ("id", "state", "rule", "images", "from", "last image", "reason")


def job_row(job: Job, waits: str = "") -> list[object]:
    """A job in a list; its columns are `JOB_COLUMNS`."""
    last = when(job.last_image)
    return [job.id[:12], job.state, job.rule or "", job.images, cell(job.peer), last, _reason(job, waits)]


def _reason(job: Job, waits: str) -> str:
    return line("; ".join(filter(None, (job.reason, waits))))


def waiting(found: Waiting) -> str:
    """What waits for a destination."""
    return f"{found.objects}, {ago(found.since)}: {line(found.reason) or 'not tried yet'}"


def job_facts(job: Job, waits: str = "") -> list[tuple[str, object]]:
    """All that is known of a job itself."""
    facts: list[tuple[str, object]] = [
        ("id", job.id),
        ("state", job.state),
        ("reason", _reason(job, waits)),
        ("rule", job.rule or ""),
        ("model", line(job.model or "")),
        ("study", cell(job.study_uid)),
        ("series", cell(job.series_uid)),
        ("generation", job.generation),
        ("images", job.images),
        ("from", cell(job.peer)),
        ("first image", when(job.received)),
        ("last image", when(job.last_image)),
        ("started", when(job.started)),
        ("finished", when(job.finished)),
        ("attempts", job.attempts),
    ]
    return [(what, value) for what, value in facts if value != ""]


def names(images: Sequence[Instance]) -> str:
    """What the files were called in a watched folder: the first of them, and how many others there are."""
    found = [each.name for each in images if each.name]
    return f"{found[0]} and {len(found) - 1} more" if len(found) > 1 else "".join(found)


def show_images(images: Sequence[Instance]) -> None:
    """The first images of a job."""
    rows = [(cell(each.sop_uid), each.file, each.name) for each in images[:_SHOWN]]
    if more := len(images) - len(rows):
        rows.append((f"and {more} more", "", ""))
    if rows:
        show_table("images", ["SOP Instance UID", "file", "its own name"], rows)


def show_deliveries(deliveries: Sequence[Delivery]) -> None:
    """Where the result of a job is, or is to be, sent: the first objects, those that are not sent before others."""
    first = sorted(deliveries, key=lambda each: each.state == "sent")[:_SHOWN]
    rows: list[list[object]] = [
        [
            each.destination,
            each.state,
            each.attempts,
            _next(each),
            cell(each.sop_uid),
            each.file,
            line(each.reason),
        ]
        for each in first
    ]
    if more := len(deliveries) - len(rows):
        rows.append([f"and {more} more", *[""] * 6])
    if rows:
        columns = ["destination", "state", "attempts", "next attempt", "SOP Instance UID", "file", "reason"]
        show_table("deliveries", columns, rows)


def _next(delivery: Delivery) -> str:
    if delivery.state != "pending":
        return ""
    return when(delivery.next_try) if delivery.next_try > time.time() else "now"


def show_trail(events: Iterable[dict[str, Any]]) -> None:
    """What the audit has of a job."""
    rows = []
    for event in events:
        told = {name: fact for name, fact in event.items() if name not in ("when", "event", "job") and fact != ""}
        details = [f"{cell(name)} {line(fact)}" for name, fact in told.items()]
        rows.append([cell(event.get("when")), cell(event.get("event")), ", ".join(details)])
    if rows:
        show_table("audit", ["when", "event", "details"], rows)


def cell(text: object) -> str:
    """A text that a stranger wrote."""
    return printable(text)[:_TEXT]


def line(text: object) -> str:
    """A text of ours, in which a stranger's may be."""
    return printable(text)[: 8 * _TEXT]


def when(seconds: float | None) -> str:
    """A time on the clock of this machine, with its zone; empty where there is none."""
    return "" if seconds is None else datetime.fromtimestamp(seconds).astimezone().isoformat(" ", "seconds")


def ago(since: float) -> str:
    """A time, and how long ago it is."""
    minutes, seconds = divmod(int(max(0, time.time() - since)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"since {when(since)}, {hours} h {minutes} min {seconds} s"
