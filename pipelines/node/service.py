"""The node: all its parts started, watched and stopped together."""

from __future__ import annotations

import logging
import math
import os
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from ..core.errors import DelineateError, printable
from ..core.failures import in_words
from ..core.files import hold, let_go
from ..core.versions import own_version
from .audit import Audit
from .configuration.config import NodeConfig
from .folders import Folders
from .health import Health, Meter
from .journal import Journal
from .queue.queue import Queue
from .receiving.intake import take_in
from .receiving.receiver import Receiver
from .receiving.watcher import watch
from .retention import delete_old
from .segmenting.models import Model, admit_models
from .segmenting.worker import FINISHING, work
from .sender import send

logger = logging.getLogger(__name__)
_RETENTION = 3600.0  # seconds between two looks for what is old
_DISK = 15.0  # seconds between two looks at the free space
STOPPING = FINISHING + 5.0
"""Seconds that the parts have to end."""
_LOOK = 0.2  # seconds between two looks whether the node is to stop
_SETTLE = (0.5, 0.1)  # seconds to wait for a change of the queue, and until the next look at it

Part = Callable[[NodeConfig, Queue, Audit, threading.Event], None]


class CountingAudit(Audit):
    """The audit; a meter counts what it is told, and a journal logs the trouble in it."""

    def __init__(self, config: NodeConfig, meter: Meter) -> None:
        super().__init__(Folders(config.folder).audit, config.audit.patient_names)
        self._meter, self._journal = meter, Journal()

    def write(self, event: str, /, **facts: Any) -> None:
        """A line of the audit."""
        super().write(event, **facts)
        self._meter.count(event, facts)
        self._journal.note(event, facts)


class Parts:
    """Threads that end together: where one ends before it is told to, all are told.

    Args:
        stop: tells them.
    """

    def __init__(self, stop: threading.Event) -> None:
        self.stop = stop
        self.failure: tuple[str, BaseException | None] | None = None
        self._threads: list[threading.Thread] = []

    def start(self, name: str, part: Callable[[], None]) -> None:
        """Run a part in a thread."""
        thread = threading.Thread(target=self._run, args=(name, part), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run(self, name: str, part: Callable[[], None]) -> None:
        failure: BaseException | None = None
        try:
            part()
        except BaseException as error:  # whatever it is, the node must not go on by halves
            failure = error
            logger.debug(f"the node's {name} failed", exc_info=True)
        if (failure or not self.stop.is_set()) and self.failure is None:
            self.failure = name, failure
        self.stop.set()

    def join(self, seconds: float) -> bool:
        """Wait until all have ended; whether they have."""
        end = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def refuse_failure(self) -> None:
        """Say what ended the node.

        Raises:
            DelineateError: a part ended before it was told to.
        """
        if self.failure is not None:
            name, error = self.failure
            reason = "it ended" if error is None else in_words(error) or f"{type(error).__name__}: {error}"
            if isinstance(error, DelineateError | sqlite3.Error):
                raise error
            raise DelineateError(
                f"the node's {name} ended: {printable(reason)[:300]}; nothing that was received is lost, start it again"
            ) from error


def run(config: NodeConfig, stop: threading.Event | None = None, say: Callable[[str], None] = logger.info) -> int:
    """Serve until a signal comes or ``stop`` is set; a second signal ends the process at once.

    Args:
        config: of the node.
        stop: ends it.
        say: is told, in a line, that it serves, and that it stops.

    Returns:
        0: what runs was finished or given back; the next start goes on.

    Raises:
        UnverifiedError: a bundle is not let in.
        DelineateError: another node runs in the folder, a port is taken, or a part ended unexpectedly.
    """
    models = admit_models(config)
    folders = Folders(config.folder)
    folders.make()
    if not hold(folders.lock):
        raise DelineateError(f"{printable(folders.root)}: a node runs there already; stop that, or name another folder")
    try:
        queue = Queue(folders.database)
        try:
            _serve(config, queue, models, stop or threading.Event(), say)
        except sqlite3.Error as error:
            reason = f"{printable(folders.database)}: {error}; make room on its disk, and look at its permissions"
            raise DelineateError(f"{reason}; nothing that was received is lost, start the node again") from error
        finally:
            queue.close()
    finally:
        let_go(folders.lock)
    return 0


def _serve(
    config: NodeConfig,
    queue: Queue,
    models: Mapping[str, Model],
    stop: threading.Event,
    say: Callable[[str], None],
) -> None:
    meter = Meter(config, queue)
    audit = CountingAudit(config, meter)
    _recover(config, queue, audit)
    health, receiver, parts = Health(config, queue, meter), Receiver(config, queue, audit), Parts(stop)
    threads: dict[str, Part] = {
        "intake": take_in,
        "settling": settle,
        "worker": partial(work, models=models),
        "sender": send,
        "retention": retain,
        "disk": look_at_disk,
    }
    with _signals(stop):
        try:
            receiver.start()
            health.start()
            hashes = [f"{name} {model.bundle.hash}" for name, model in models.items()]
            audit.write("started", version=own_version(), rules=hashes)
            for name, part in ({**threads, "watcher": watch} if config.watch else threads).items():
                parts.start(name, partial(part, config, queue, audit, stop))
            say(f"{config.ae_title} listens on {config.address}, port {receiver.port}; health: port {health.port}")
            while receiver.is_listening and not stop.wait(_LOOK):
                pass
            if not stop.is_set():
                parts.failure = "receiver", None
            say("stopping")
        finally:
            stop.set()
            receiver.stop()
            if parts.join(STOPPING):
                queue.recover()  # what was not finished waits for the next start
            health.stop()
    audit.write("stopped", failed=parts.failure[0] if parts.failure else "")
    parts.refuse_failure()


def settle(config: NodeConfig, queue: Queue, audit: Audit, stop: threading.Event) -> None:
    """Let the jobs of complete series become ready, until ``stop`` is set."""
    for_change, between = _SETTLE
    before = math.inf
    while not stop.is_set():
        if (now := time.time()) < before:  # at the start, and where the clock was put back
            queue.turn_back(config, now)
        before = now
        for job in queue.settle(config):
            who = {"job": job.id, "study": job.study_uid, "series": job.series_uid, "rule": job.rule}
            audit.write(job.state, **who, images=job.images, reason=job.reason)
        queue.wait(for_change)
        stop.wait(between)


def retain(config: NodeConfig, queue: Queue, audit: Audit, stop: threading.Event) -> None:
    """Delete what is old, until ``stop`` is set."""
    while not stop.is_set():
        try:
            delete_old(config, queue, audit)
        except OSError as error:  # a file of somebody else's, e.g.: no reason to receive nothing any more
            audit.write("not deleted", file=error.filename, reason=error.strerror or type(error).__name__)
        stop.wait(_RETENTION)


def look_at_disk(config: NodeConfig, queue: Queue, audit: Audit, stop: threading.Event) -> None:
    """Say when there is too little room to receive images, and when there is again, until ``stop`` is set."""
    folders, needed, was_low = Folders(config.folder), config.limits.free_mib, False
    while not stop.is_set():
        if (is_low := (free := folders.free_mib()) < needed) != was_low:
            audit.write("low disk" if is_low else "room again", free_mib=free, needed_mib=needed)
        was_low = is_low
        stop.wait(_DISK)


def _recover(config: NodeConfig, queue: Queue, audit: Audit) -> None:
    """Bring folders and queue together after an end of any kind."""
    work_folder = Folders(config.folder).work
    shutil.rmtree(work_folder, ignore_errors=True)
    work_folder.mkdir(mode=0o700, exist_ok=True)
    again, found, gone = queue.recover()
    for job in again:
        audit.write("begun again", job=job.id, study=job.study_uid, series=job.series_uid, rule=job.rule)
    for event, files in (("found at start", found), ("gone at start", gone)):
        for file in files:
            audit.write(event, file=file)


@contextmanager
def _signals(stop: threading.Event) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM set ``stop``, and the second of them end the process."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard: list[int] = []

    def hear(number: int, _: object) -> None:
        if heard:
            os._exit(128 + number)
        heard.append(number)
        threading.Thread(target=stop.set).start()  # the main thread may hold the event's lock just now

    before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
