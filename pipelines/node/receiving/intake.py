"""Puts the files that came into their series; what cannot be read goes into quarantine, with the reason.

Every step can be done again: a file is linked to its new place, then the queue is told, then its old name is removed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import threading
from contextlib import suppress
from pathlib import Path

from ...core.child import Child, ChildError
from ...core.errors import printable
from ...core.files import replacing
from ..audit import Audit
from ..configuration.config import NodeConfig
from ..folders import Folders, sync_folder
from ..queue.queue import Arrival, Facts, Queue

_LONGEST_REASON = 300
_PAUSE = 0.5  # seconds between two looks where nothing is said to have changed, and before a step is tried again


def take_in(config: NodeConfig, queue: Queue, audit: Audit, stop: threading.Event) -> None:
    """Read what has arrived, until ``stop`` is set."""
    intake = Intake(config, queue, audit)
    try:
        while not stop.is_set():
            if not intake.take_all(stop):
                queue.wait(_PAUSE)
    finally:
        intake.close()


class Intake:
    """Takes in one file after the other; a process apart reads them."""

    def __init__(self, config: NodeConfig, queue: Queue, audit: Audit) -> None:
        self.queue, self.audit, self.folders = queue, audit, Folders(config.folder)
        program = Path(__file__).with_name("intake_apart.py")
        limits = config.limits
        self._told = ""
        self._child = Child(program, patience=limits.intake_seconds, memory=limits.intake_mib * 2**20)

    def take_all(self, stop: threading.Event) -> int:
        """Take in all files that have arrived by now; how many there were. What the disk refuses is tried later."""
        arrivals = self.queue.arrivals()
        for arrival in arrivals:
            if stop.is_set():
                break
            try:
                self.take(arrival, stop)
            except (OSError, sqlite3.Error) as error:
                self._tell(arrival, printable(error)[:_LONGEST_REASON])
                stop.wait(_PAUSE)
        return len(arrivals)

    def take(self, arrival: Arrival, stop: threading.Event) -> None:
        """Put one file into its series or into quarantine."""
        path = self.folders.incoming / arrival.file
        if path.is_symlink():  # somebody put it into a watched folder while a file was taken
            self._quarantine(arrival, path, "is a link, not a file")
            return
        try:
            answer = json.loads(self._child.ask(os.fsencode(path)))
        except ChildError as error:
            if stop.is_set():  # Ctrl-C ends that process, too: it says nothing of the file
                return
            self._quarantine(arrival, path, printable(error)[:_LONGEST_REASON])
            return
        facts, digest = Facts(**answer["facts"]), answer["digest"]
        target = self.folders.series / key(facts.study_uid, facts.series_uid) / f"{key(facts.sop_uid, digest)}.dcm"
        before = self.queue.digest_of(facts)
        put(path, target)
        job = self.queue.file(arrival, facts, digest, str(target.relative_to(self.folders.root)))
        path.unlink(missing_ok=True)
        if before not in (None, digest):
            uids = {"study": facts.study_uid, "series": facts.series_uid, "image": facts.sop_uid}
            self.audit.write("image replaced", peer=arrival.peer, job=job.id, **uids, was=before, now=digest)

    def close(self) -> None:
        """End the process apart."""
        self._child.stop()

    def _tell(self, arrival: Arrival, reason: str) -> None:
        """Once, though it is tried again and again: a disk that is full must not be filled with that."""
        if reason != self._told:
            self._told = reason
            self.audit.write("intake waits", file=arrival.file, reason=reason)

    def _quarantine(self, arrival: Arrival, path: Path, reason: str) -> None:
        target = self.folders.quarantine / arrival.file
        if path.is_file() and not path.is_symlink():
            put(path, target)
        elif not path.is_symlink():
            reason = "its file is gone from incoming/"
        job = self.queue.reject(arrival, reason, str(target.relative_to(self.folders.root)))
        path.unlink(missing_ok=True)
        facts = {"peer": arrival.peer, "job": job.id, "file": arrival.file, "patient_file": arrival.name or None}
        self.audit.write("image quarantined", **facts, reason=reason)


def key(*parts: str) -> str:
    """A name on the disk for what a stranger named."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def put(path: Path, target: Path) -> None:
    """Let ``target`` be the file, too, safe from a loss of power; nothing happens where it is there."""
    if not target.parent.is_dir():
        target.parent.mkdir(mode=0o700, exist_ok=True)
        sync_folder(target.parent.parent)
    try:
        with suppress(FileExistsError):
            os.link(path, target, follow_symlinks=False)
    except OSError:  # not every file system has hard links
        with replacing(target) as copy:
            shutil.copyfile(path, copy)
    sync_folder(target.parent)
