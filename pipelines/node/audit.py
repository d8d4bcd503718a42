"""What happened, a JSON line an event and a file a day; it stays when images and results are deleted."""

from __future__ import annotations

import errno
import json
import logging
import os
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ..core.errors import printable

logger = logging.getLogger(__name__)
_LONGEST = 500  # characters of a text


class Audit:
    """Writes events into a folder; several threads and processes may do so at once.

    Args:
        folder: ``audit/`` of the node.
        patient_names: whether facts whose name begins with ``patient`` are written, too.
    """

    def __init__(self, folder: Path, patient_names: bool = False) -> None:
        self.folder, self.patient_names = folder, patient_names
        self._is_torn = False  # whether a full disk left half a line

    def write(self, event: str, /, **facts: object) -> None:
        """Write what happened, synced to the disk; what is ``None`` is left out.

        By custom ``job``, ``study``, ``series``, ``image``, ``peer``, ``rule``, ``model``, ``result``, ``destination``,
        ``reason`` and ``seconds`` are called so. A full disk is logged as an error, and the node goes on.
        """
        now = datetime.now(timezone.utc)
        line = {"when": now.isoformat(timespec="milliseconds"), "event": event}
        line |= {name: _plain(fact) for name, fact in facts.items() if fact is not None and self._may_be_said(name)}
        data = ("\n" * self._is_torn + json.dumps(line, allow_nan=False) + "\n").encode()
        try:
            descriptor = os.open(self.folder / f"{now:%Y-%m-%d}.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                written = os.write(descriptor, data)  # in one piece, so that lines of several writers do not mix
                self._is_torn = written < len(data)
                os.fsync(descriptor)
                if self._is_torn:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            finally:
                os.close(descriptor)
        except OSError as error:
            logger.error(f"{printable(self.folder)}: {event} could not be written down ({error.strerror}); make room")

    def _may_be_said(self, name: str) -> bool:
        return self.patient_names or not name.startswith("patient")


def events(folder: Path, job: str) -> Iterator[dict[str, Any]]:
    """What was written down of a job, the oldest first.

    Args:
        folder: ``audit/`` of the node.
        job: its whole id.
    """
    for file in sorted(folder.glob("*.jsonl")):
        with file.open(encoding="utf-8") as lines:
            for line in lines:
                if job in line and (event := _parsed(line)).get("job") == job:
                    yield event


def _parsed(line: str) -> dict[str, Any]:
    """A line's event; of half a line, which a full disk leaves, none."""
    try:
        event = json.loads(line)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}


def _plain(fact: object) -> Any:
    if isinstance(fact, bool | int):
        return fact
    if isinstance(fact, float):
        return round(fact, 3) if abs(fact) < float("inf") else str(fact)
    if isinstance(fact, list | tuple):
        return [_plain(each) for each in fact]
    return printable(fact)[:_LONGEST]
