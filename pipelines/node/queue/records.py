"""What the queue keeps: arrivals, images, jobs and deliveries. Times are seconds since 1970."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

State = Literal["received", "ready", "running", "done", "sent", "failed", "quarantined"]
STATES: tuple[State, ...] = get_args(State)
DeliveryState = Literal["pending", "sent", "failed"]


@dataclass(frozen=True)
class Arrival:
    """A file in ``incoming/`` that nobody has read yet.

    Attributes:
        file: its name in that folder.
        peer: who sent it, e.g. ``"ORTHANC 10.0.0.7"``.
        association: names the association that it came over; empty where there was none.
        when: it was received.
        name: its own in a watched folder, escaped and shortened; empty where it came over the network.
    """

    file: str
    peer: str
    association: str
    when: float
    name: str = ""


@dataclass(frozen=True)
class Facts:
    """What the header of an image says, and nothing about the patient."""

    study_uid: str
    series_uid: str
    sop_uid: str
    sop_class: str
    modality: str = ""
    body_part: str = ""
    station: str = ""
    series_description: str = ""
    manufacturer: str = ""
    image: bool = True
    """Whether it has pixels to segment: a report or a presentation state has none."""


@dataclass(frozen=True)
class Instance:
    """An image of a job; ``file`` is relative to the node's folder, ``digest`` the SHA-256 of its bytes.

    ``name`` is that of `Arrival`.
    """

    key: int
    sop_uid: str
    digest: str
    file: str
    name: str


@dataclass(frozen=True)
class Job:
    """The work on one series: all images that had come when it began, and one rule.

    Attributes:
        generation: 1, and one more each time that images came after the job before had become ready.
        rule: name of the rule; ``None`` until it is known, or where none is for it.
        received: when its first image came.
        last_image: when the last one came.
        attempts: how often it was begun.
        next_try: when it may be begun.
        reason: why it is in its state, in words.
        model: names the model, and its settings, that it was done with.
    """

    id: str
    study_uid: str
    series_uid: str
    generation: int
    state: State
    rule: str | None
    images: int
    peer: str
    received: float
    last_image: float
    started: float | None
    finished: float | None
    attempts: int
    next_try: float
    reason: str
    model: str | None


@dataclass(frozen=True)
class NewDelivery:
    """An object of a result that is to be sent; ``file`` is relative to the node's folder."""

    destination: str
    sop_uid: str
    sop_class: str
    file: str


@dataclass(frozen=True)
class Waiting:
    """What waits for a destination: how many objects, since when, and why the last one that was tried is not sent."""

    destination: str
    objects: int
    since: float
    reason: str


@dataclass(frozen=True)
class Delivery:
    """An object on its way to a destination.

    Attributes:
        transaction: UID of the storage commitment that was asked for; ``None`` before that.
    """

    id: int
    job: str
    destination: str
    sop_uid: str
    sop_class: str
    file: str
    state: DeliveryState
    attempts: int
    next_try: float
    reason: str
    transaction: str | None
