"""A node's queue, configuration and files, as small as they can be."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any
from uuid import uuid4

from delineate.pipelines.node.configuration.config import NodeConfig
from delineate.pipelines.node.folders import Folders
from delineate.pipelines.node.queue.queue import Arrival, Facts, Job, NewDelivery, Queue

CT = "1.2.840.10008.5.1.4.1.1.2"
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
IDLE = 30.0
RESULT = NewDelivery("pacs", "1.2.9", SEGMENTATION, "results/job/seg.dcm")


def config_of(folder: Path, **keys: Any) -> NodeConfig:
    """A configuration with a rule for CT, whose results go to one destination; changed by ``keys``."""
    small: dict[str, Any] = {
        "folder": folder,
        "callers": [{"ae_title": "*"}],
        "rules": [{"name": "ct", "match": {"modality": "CT"}, "bundle": "ct_slice", "send_to": "pacs"}],
        "destinations": [{"name": "pacs", "host": "127.0.0.1", "port": 4242, "ae_title": "PACS"}],
        "completeness": {"idle_seconds": IDLE},
    }
    return NodeConfig.model_validate(small | keys)


def uncommented(template: str) -> str:
    """The template of a configuration with all its examples in use; what is said of them stays a comment."""
    return re.sub(r"^#(?! )|^#(?=  )", "", template, flags=re.MULTILINE)


def open_queue(folder: Path) -> Queue:
    """The queue of a node's folder, whose folders are there, too."""
    Folders(folder).make()
    return Queue(Folders(folder).database)


def facts_of(series: str = "1.2.3", sop_uid: str = "1.2.3.1", **facts: Any) -> Facts:
    """Of a slice of CT."""
    known = {"study_uid": "1.2", "sop_class": CT, "modality": "CT"}
    return Facts(**{**known, "series_uid": series, "sop_uid": sop_uid, **facts})


def take_in(queue: Queue, facts: Facts, content: bytes = b"pixels", when: float = 0.0, association: str = "") -> Job:
    """What receiver and intake do with a file, in their order."""
    root = queue.database.parent
    arrival = Arrival(f"{uuid4().hex}.dcm", "SCANNER 127.0.0.1", association, when)
    incoming = root / "incoming" / arrival.file
    incoming.write_bytes(content)
    queue.receive(arrival)
    return take_further(queue, arrival, facts)


def take_further(queue: Queue, arrival: Arrival, facts: Facts) -> Job:
    """What intake does with a file that was received."""
    root = queue.database.parent
    incoming = root / "incoming" / arrival.file
    digest = hashlib.sha256(incoming.read_bytes()).hexdigest()
    name = hashlib.sha256(f"{facts.sop_uid} {digest}".encode()).hexdigest()
    place = root / "series" / hashlib.sha256(facts.series_uid.encode()).hexdigest() / f"{name}.dcm"
    place.parent.mkdir(exist_ok=True)
    if not place.exists():
        place.hardlink_to(incoming)
    job = queue.file(arrival, facts, digest, str(place.relative_to(root)))
    incoming.unlink()
    return job


def put_result(queue: Queue) -> None:
    """The file of `RESULT`."""
    path = queue.database.parent / RESULT.file
    path.parent.mkdir(exist_ok=True)
    path.touch()


def ready_job(queue: Queue, config: NodeConfig, **facts: Any) -> Job:
    """A job of one image that may be begun."""
    take_in(queue, facts_of(**facts))
    (job,) = queue.settle(config, IDLE)
    return job


def done_job(queue: Queue, config: NodeConfig, **facts: Any) -> Job:
    """A job whose result, one object, waits for its delivery."""
    job = ready_job(queue, config, **facts)
    assert queue.next_job(IDLE) is not None
    queue.done(job.id, "model", [RESULT], now=IDLE)
    return queue.job(job.id)
