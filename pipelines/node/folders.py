"""The folders of a node. What is in them is named by hashes and random numbers, never by what a stranger wrote."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Folders:
    """Where a node keeps what.

    Attributes:
        root: the node's folder, ``folder`` in its configuration; what the queue calls a file is relative to it.
    """

    root: Path

    @property
    def incoming(self) -> Path:
        """Files as they came, one an image, until they are read."""
        return self.root / "incoming"

    @property
    def series(self) -> Path:
        """Images by series."""
        return self.root / "series"

    @property
    def work(self) -> Path:
        """Results that are being computed."""
        return self.root / "work"

    @property
    def results(self) -> Path:
        """Results, one folder a job."""
        return self.root / "results"

    @property
    def quarantine(self) -> Path:
        """Files that could not be read."""
        return self.root / "quarantine"

    @property
    def audit(self) -> Path:
        """What happened, one file a day."""
        return self.root / "audit"

    @property
    def database(self) -> Path:
        """The queue."""
        return self.root / "queue.sqlite"

    @property
    def lock(self) -> Path:
        """Held (`core.files.hold`) by the node that runs."""
        return self.root / "node.lock"

    def make(self) -> None:
        """Make those that are missing, for the eyes of this user alone."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self.incoming, self.series, self.work, self.results, self.quarantine, self.audit):
            folder.mkdir(mode=0o700, exist_ok=True)

    def free_mib(self) -> int:
        """Free space on the disk, in MiB."""
        return shutil.disk_usage(self.root).free // 2**20


def sync_folder(folder: Path) -> None:
    """Let the names in a folder survive a loss of power."""
    if sys.platform == "win32":  # a folder cannot be opened there
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
