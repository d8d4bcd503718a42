"""Takes the files that somebody puts into a watched folder; each is moved away once, when it is whole."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from ..audit import Audit
from ..configuration.config import NodeConfig
from ..folders import Folders, sync_folder
from ..queue.queue import Arrival, Queue
from .receiver import name_of

SETTLED = 3.0
"""Seconds for which size and time of a file must stay what they are before it is taken."""
Stamp = tuple[int, int, int]
_READ = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)
_LOOK = 1.0  # seconds between two looks
_UNFINISHED = (".tmp", ".temp", ".part", ".partial", ".filepart", ".crdownload", ".swp", "~")


def watch(config: NodeConfig, queue: Queue, audit: Audit, stop: threading.Event) -> None:
    """Look into the watched folders, until ``stop`` is set."""
    watcher = Watcher(config, queue, audit)
    while not stop.is_set():
        began = time.monotonic()
        watcher.look(began)
        stop.wait(max(_LOOK, 5 * (time.monotonic() - began)))  # a folder on a slow disk is not looked at all the time


class _Seen(NamedTuple):
    """A file as it was first seen like this."""

    stamp: Stamp
    since: float


class Watcher:
    """Remembers what lies in the watched folders, and since when."""

    def __init__(self, config: NodeConfig, queue: Queue, audit: Audit, settled: float = SETTLED) -> None:
        self.queue, self.audit, self.folders, self.watched = queue, audit, Folders(config.folder), config.watch
        self.settled, self.limits = settled, config.limits
        self._seen: dict[Path, _Seen] = {}
        self._told: set[Path] = set()
        self._kept: dict[Path, Stamp] = {}  # taken, but they cannot be removed
        self._unwritten: list[Arrival] = []

    def look(self, now: float) -> int:
        """Take what has not changed for long enough by ``now``, a number of seconds; how many files were taken."""
        there: dict[Path, _Seen] = {}
        taken = 0
        for folder in self.watched:
            for path, facts in self._files(folder):
                before = self._seen.get(path)
                seen = before if before and before.stamp == _stamp(facts) else _Seen(_stamp(facts), now)
                there[path] = seen
                if now - seen.since >= self.settled and facts.st_size and self._kept.get(path) != seen.stamp:
                    taken += self._took(path, folder, facts)
        self._seen = there
        self._kept = {path: stamp for path, stamp in self._kept.items() if path in there}
        self._told &= there.keys() | set(self.watched)
        self._write_down()
        return taken

    def _files(self, folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
        """Regular files below a folder; links are not followed, hidden and unfinished files not seen."""
        for place, folders, names in os.walk(folder, onerror=lambda error: self._tell(folder, error)):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in names:
                if name.startswith((".", "~")) or name.lower().endswith(_UNFINISHED):
                    continue
                path = Path(place, name)
                try:
                    facts = path.lstat()
                except OSError:  # it is gone by now
                    continue
                if stat.S_ISREG(facts.st_mode):
                    yield path, facts

    def _took(self, path: Path, folder: Path, facts: os.stat_result) -> bool:
        try:
            self._refuse_large(facts)
            name = self._move(path, facts)
        except OSError as error:
            self._tell(path, error)
            return False
        arrival = Arrival(name, f"folder {name_of(folder.name)}", "", time.time(), name_of(path.name))
        self._unwritten.append(arrival)
        self.audit.write("image received", peer=arrival.peer, file=name, bytes=facts.st_size, patient_file=arrival.name)
        return True

    def _write_down(self) -> None:
        """Tell the queue of what was taken; what it refuses is tried at the next look, or found at the next start."""
        try:
            while self._unwritten:
                self.queue.receive(self._unwritten[0])
                del self._unwritten[0]
        except sqlite3.Error as error:
            self._tell(self.folders.database, error)

    def _refuse_large(self, facts: os.stat_result) -> None:
        if facts.st_size > self.limits.instance_mib * 2**20:
            raise OSError(f"has more than {self.limits.instance_mib} MiB (instance_mib)")
        if self.folders.free_mib() < self.limits.free_mib:
            raise OSError(f"there are less than {self.limits.free_mib} MiB free (free_mib)")

    def _move(self, path: Path, facts: os.stat_result) -> str:
        """Move a file into ``incoming/``; its name there. It lies in one of both folders at any moment."""
        incoming = self.folders.incoming
        name = f"{uuid4().hex}.dcm"
        if self._is_near(facts):
            with os.fdopen(os.open(path, _READ), "rb") as file:
                os.fsync(file.fileno())
            os.replace(path, incoming / name)
            if _stamp((incoming / name).lstat()) != _stamp(facts):  # somebody put something else there
                os.replace(incoming / name, path)
                raise OSError("changed while it was taken")
            sync_folder(incoming)
            sync_folder(path.parent)
            return name
        self._copy(path, incoming / f".tmp-{name}", facts)
        os.replace(incoming / f".tmp-{name}", incoming / name)
        sync_folder(incoming)
        try:
            path.unlink()
        except OSError as error:
            self._kept[path] = _stamp(facts)
            self._tell(path, error)
        return name

    def _is_near(self, facts: os.stat_result) -> bool:
        return facts.st_dev == self.folders.incoming.stat().st_dev

    def _copy(self, path: Path, temporary: Path, facts: os.stat_result) -> None:
        try:
            with os.fdopen(os.open(path, _READ), "rb") as source, temporary.open("xb") as copy:
                shutil.copyfileobj(source, copy, 2**20)
                copy.flush()
                os.fsync(copy.fileno())
                after = os.fstat(source.fileno())
            if _stamp(after) != _stamp(facts) or temporary.stat().st_size != facts.st_size:
                raise OSError("changed while it was taken")
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def _tell(self, path: Path, error: Exception) -> None:
        """Say once why a file or folder cannot be taken."""
        if path not in self._told:
            self._told.add(path)
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            self.audit.write("file not taken", patient_file=name_of(path.name), reason=reason)


def _stamp(facts: os.stat_result) -> Stamp:
    return facts.st_size, facts.st_mtime_ns, facts.st_ino
