"""What sends to a node, until all is acknowledged, and what its results go to: an archive with moods."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Literal

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.sop_class import SegmentationStorage, Verification

Mood = Literal["sound", "refuses", "aborts", "aborts after", "slow"]
"""``aborts``: when an object comes; ``aborts after``: when it has stored one, without saying so."""
MOODS: tuple[Mood, ...] = ("sound", "refuses", "aborts", "aborts after", "slow")
_SLOW = 3.0  # seconds
_PATIENCE = 4.0  # seconds until a sender takes a node that does not answer for dead


def send_files(files: Sequence[Path], port: int, ae_title: str = "DELINEATE") -> list[Path]:
    """Send files over one association; those that were acknowledged."""
    found = [pydicom.dcmread(path) for path in files]
    entity = AE("SENDER")
    entity.connection_timeout = entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = _PATIENCE
    for sop_class, syntax in {(one.SOPClassUID, one.file_meta.TransferSyntaxUID) for one in found}:
        entity.add_requested_context(sop_class, syntax)
    association = entity.associate("127.0.0.1", port, ae_title=ae_title)
    if not association.is_established:
        return []
    acknowledged = []
    for path, one in zip(files, found, strict=True):
        try:
            status = association.send_c_store(one)
        except (RuntimeError, ValueError):  # it ended
            break
        if status and status.Status == 0:
            acknowledged.append(path)
    if association.is_established:
        association.release()
    return acknowledged


def send_until_acknowledged(files: Sequence[Path], port: int, seconds: float = 120, pause: float = 0.2) -> int:
    """Send files again and again until the node acknowledged each; how often it had to be tried."""
    left, tries, end = list(files), 0, time.monotonic() + seconds
    while left:
        assert time.monotonic() < end, f"{len(left)} of {len(files)} files are not acknowledged"
        acknowledged = send_files(left, port)
        tries += 1
        left = [path for path in left if path not in acknowledged]
        if left:
            time.sleep(pause)
    return tries


@dataclass
class Archive:
    """A destination, which counts what it stores.

    Attributes:
        port: that it listens at.
        mood: how it behaves.
        stored: of each SOP Instance UID its data set, without pixels, when it came first.
        seen: when it did, in seconds of `time.monotonic`.
        times: how often each came and was stored.
    """

    port: int
    mood: Mood = "sound"
    stored: dict[str, Dataset] = field(default_factory=dict)
    seen: dict[str, float] = field(default_factory=dict)
    times: Counter[str] = field(default_factory=Counter)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def results(self) -> dict[str, list[str]]:
        """The SOP Instance UIDs that are stored of each study."""
        found: dict[str, list[str]] = {}
        with self._turn:
            for uid, one in self.stored.items():
                found.setdefault(one.StudyInstanceUID, []).append(uid)
        return found

    def store(self, event: evt.Event) -> int:
        """Answer a C-STORE as the mood is."""
        mood = self.mood
        if mood == "refuses":
            return 0xA700
        if mood == "slow":
            time.sleep(_SLOW)
        if mood == "aborts":
            event.assoc.abort()
            return 0xC000
        one = pydicom.dcmread(BytesIO(event.encoded_dataset()), stop_before_pixels=True)
        with self._turn:
            self.stored.setdefault(one.SOPInstanceUID, one)
            self.seen.setdefault(one.SOPInstanceUID, time.monotonic())
            self.times[one.SOPInstanceUID] += 1
        if mood == "aborts after":
            event.assoc.abort()
        return 0

    @contextmanager
    def open(self) -> Iterator[Archive]:
        """Listen while the block runs; it may be opened again, and has what it had."""
        entity = AE("ARCHIVE")
        entity.add_supported_context(SegmentationStorage, ExplicitVRLittleEndian)
        entity.add_supported_context(Verification)
        server = entity.start_server(
            ("127.0.0.1", self.port), block=False, evt_handlers=[(evt.EVT_C_STORE, self.store)]
        )
        try:
            yield self
        finally:
            for association in entity.active_associations:
                association.abort()
            server.shutdown()
