"""Jobs to results: each is segmented in a process apart, which may take no more than its limits of time and memory."""

from __future__ import annotations

import json
import logging
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

from ...core.child import Child, ChildEndedError, ChildError
from ...core.errors import DelineateError, counted, printable
from ..audit import Audit
from ..configuration.config import NodeConfig
from ..folders import Folders, sync_folder
from ..queue.queue import Queue
from ..queue.records import Job, NewDelivery
from .models import Model, admit_models

logger = logging.getLogger(__name__)
LOADING = 900.0
"""Seconds that torch and a bundle may take to load."""
FINISHING = 10.0
"""Seconds that the running job has to finish when the node is stopped."""
FULL = 30.0
"""Seconds until a job that the disk did not let be done is begun again."""
_RESERVE = 0.25  # of the space that must be free for images to be received
_LONGEST = 300  # characters of a reason


def work(
    config: NodeConfig, queue: Queue, audit: Audit, stop: threading.Event, models: Mapping[str, Model] | None = None
) -> None:
    """Segment ready jobs, one after the other, until ``stop`` is set; the running one then has `FINISHING` seconds.

    Raises:
        DelineateError: a bundle cannot be loaded, or is another one than at the start.
    """
    worker = Worker(config, queue, audit, stop, admit_models(config) if models is None else models)
    idle = threading.Event()
    threading.Thread(target=worker.end_soon, args=(idle,), daemon=True).start()
    try:
        worker.load()
        while not stop.is_set():
            job = queue.next_job() if worker.has_room() else None
            worker.do(job) if job else queue.wait(0.5)
    finally:
        idle.set()
        worker.child.stop()


class Worker:
    """Does jobs; keeps the process apart, which keeps the models loaded."""

    def __init__(
        self, config: NodeConfig, queue: Queue, audit: Audit, stop: threading.Event, models: Mapping[str, Model]
    ) -> None:
        self.config, self.queue, self.audit, self.stop, self.models = config, queue, audit, stop, models
        self.folders, limits = Folders(config.folder), config.limits
        program = Path(__file__).with_name("segment_apart.py")
        self.child = Child(program, limits.job_seconds, limits.job_mib * 2**20, resident=True, tries=1)
        self._is_loaded = False
        self._told: set[str] = set()  # rules of which a change was told

    def load(self) -> None:
        """Have all models loaded, by a new process where the last one has ended.

        Raises:
            DelineateError: a model cannot be loaded, or is another one than at the start.
        """
        if self._is_loaded:
            return
        for model in self.models.values():
            try:
                found = self._ask({"bundle": model.request}, LOADING)["model"]
            except ChildError as error:
                if self.stop.is_set():
                    return
                advice = "; look at limits.job_mib" if isinstance(error, ChildEndedError) else ""
                raise DelineateError(f"rule {printable(model.rule.name)}: {error}{advice}") from error
            _refuse_another(model, found)
        self._is_loaded = True

    def end_soon(self, idle: threading.Event) -> None:
        """When the node is stopped, kill the process that is not ``idle`` after some seconds."""
        self.stop.wait()
        if not idle.wait(FINISHING):
            self.child.kill()

    def has_room(self) -> bool:
        """Whether there is room for results; the queue, which cannot do without any, is to keep some."""
        return self.folders.free_mib() >= self.config.limits.free_mib * _RESERVE

    def do(self, job: Job) -> None:
        """Bring a job to its end: results, a reason why there are none, or another try."""
        model = self.models.get(job.rule or "")
        if model is None:
            self._quarantine(
                job, f"no rule is called {printable(job.rule)} any more; put it back into node.yaml, then retry"
            )
        elif same := self.queue.same_as(job.id, model.name):
            self.queue.done_before(job.id, same, model.name)
            self._write("repeated", job, model=model.bundle.hash, same_as=same)
        else:
            self._tell_of_change(model)
            self.load()
            place = self.folders.work / f"{job.id}-{job.attempts}"
            try:
                self._segment(job, model, place)
            except OSError as error:
                self._put_off(job, f"the disk: {printable(error.strerror or error)[:_LONGEST]}")
            finally:
                shutil.rmtree(place, ignore_errors=True)

    def _segment(self, job: Job, model: Model, place: Path) -> None:
        begun, rule = monotonic(), model.rule
        try:
            inputs = self._lay_out(job, place)
        except FileNotFoundError:
            self._quarantine(job, "its images are no longer there; have them sent again")
            return
        asked = {"inputs": str(inputs), "out": str(place / "results"), "formats": rule.formats}
        try:
            answer = self._ask({"bundle": model.request, "seg_type": rule.seg_type, **asked}, None)
        except ChildError as error:
            self._is_loaded = False
            self.child.stop()  # after an error CUDA, e.g., may be of no use any more
            if not self.stop.is_set():
                self._fail(job, error)
            return
        _refuse_another(model, answer["model"])  # where something else had ended the process, it was loaded just now
        if answer.get("no_room"):
            self._put_off(job, "the disk is full")
        else:
            self._keep(job, model, place, answer, monotonic() - begun)

    def _ask(self, request: dict[str, Any], patience: float | None) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.child.ask(json.dumps(request).encode(), patience))
        return answer

    def _lay_out(self, job: Job, place: Path) -> Path:
        """A folder of the job's images alone: more may come to those of its series meanwhile."""
        inputs = place / "images"
        inputs.mkdir(parents=True)
        for instance in self.queue.instances(job.id):
            _link(self.folders.root / instance.file, inputs / f"{instance.key}.dcm")
        return inputs

    def _keep(self, job: Job, model: Model, place: Path, answer: dict[str, Any], seconds: float) -> None:
        """Put results in their place, then say so: what a kill leaves between the two is done again."""
        objects, reason = answer["objects"], _together(answer["refused"], answer["skipped"])
        if not objects and answer["refused"]:
            self._quarantine(job, reason)
            return
        target = self.folders.results / job.id
        shutil.rmtree(target, ignore_errors=True)
        if objects:
            sync_folder(place / "results")
            os.replace(place / "results", target)
            sync_folder(self.folders.results)
        deliveries = [
            NewDelivery(destination, one["sop_uid"], one["sop_class"], str(Path("results") / job.id / one["file"]))
            for destination in model.rule.send_to
            for one in objects
        ]
        self.queue.done(job.id, model.name, deliveries, reason)
        uids = [one["sop_uid"] for one in objects]
        self._write("segmented", job, model=model.bundle.hash, results=uids, seconds=round(seconds, 3), reason=reason)

    def _fail(self, job: Job, error: ChildError) -> None:
        reason = printable(error)[:_LONGEST]
        state = self.queue.failed_attempt(job.id, reason, self.config.limits.attempts).state
        ended = isinstance(error, ChildEndedError)
        self._write("failed", job, attempt=job.attempts, state=state, ended=ended, reason=reason)

    def _put_off(self, job: Job, reason: str) -> None:
        """The disk does not let it be done now, which is no fault of the job."""
        self.queue.give_back(job.id, reason, time.time() + FULL)
        self._write("put off", job, reason=reason, free_mib=self.folders.free_mib())

    def _quarantine(self, job: Job, reason: str) -> None:
        self.queue.quarantine(job.id, reason)
        self._write("quarantined", job, reason=reason)

    def _tell_of_change(self, model: Model) -> None:
        """Once; what was loaded at the start stays in use."""
        if model.rule.name not in self._told and (change := model.change):
            self._told.add(model.rule.name)
            logger.warning(change)
            self.audit.write("bundle changed", rule=model.rule.name, reason=change)

    def _write(self, event: str, job: Job, **facts: object) -> None:
        who = {"job": job.id, "study": job.study_uid, "series": job.series_uid, "rule": job.rule, "images": job.images}
        self.audit.write(event, **who, **facts)


def _refuse_another(model: Model, found: str) -> None:
    """See that the process has loaded the bundle that the node was started with."""
    if found != model.bundle.hash:
        raise DelineateError(model.change or f"rule {printable(model.rule.name)}: its bundle was changed; start again")


def _together(refused: Sequence[str], skipped: Sequence[str]) -> str:
    """What is to be said of images without a result: how many, and the first of their different reasons."""
    told = []
    for what, reasons in (("refused", refused), ("skipped", skipped)):
        if reasons:
            most, number = Counter(reasons).most_common(1)[0]
            others = f" (and {counted(len(reasons) - number, 'other')})" if number < len(reasons) else ""
            told.append(f"{counted(len(reasons), 'image')} {what}: {printable(most)[:_LONGEST]}{others}")
    return "; ".join(told)


def _link(source: Path, target: Path) -> None:
    """Another name of a file, which keeps its content if that is replaced; a copy where there are no such names."""
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(source, target)
