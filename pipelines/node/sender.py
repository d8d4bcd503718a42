"""Results on their way out: each destination has a thread of its own, so that a dead one holds up no other."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from itertools import groupby
from threading import Event, Thread
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from ..core.errors import printable
from ..exchange import Answer, Certificates, ExchangeError, Outgoing, dicomweb, dimse
from .configuration.config import ClientTls, Dicom, NodeConfig, Sending, Web
from .queue.queue import Delivery, Queue

if TYPE_CHECKING:
    from .audit import Audit

logger = logging.getLogger(__name__)
_POLL = 0.25  # seconds after which a thread looks, whether or not anything changed
_LONGEST = 300  # characters of a reason
_UNKNOWN = 60.0  # seconds between two looks for deliveries that no thread takes: `retry` may renew them at any time
_LEAVE = 5.0  # seconds that the threads have to come to an end


def send(config: NodeConfig, queue: Queue, audit: Audit, stop: Event) -> None:
    """Send what is due to its destinations, until `stop` is set.

    An object is sent when its destination has confirmed that it stored it and, where ``commitment`` is on, that it
    answers for it. It is tried again otherwise, with a growing pause, and given up after ``sending.give_up_after``.

    Args:
        config: of the node.
        queue: whose deliveries are sent.
        audit: is told what became of each.
        stop: ends it; what is being sent then is sent again after the next start, if nobody confirmed it.
    """
    threads = [
        Thread(target=_serve, args=(one, config, queue, audit, stop), name=f"to {one.name}", daemon=True)
        for one in config.destinations
    ]
    for thread in threads:
        thread.start()
    while not stop.is_set():
        _give_up_unknown(config, queue, audit)
        stop.wait(_UNKNOWN)
    end = time.monotonic() + _LEAVE
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))


def handle_commitment(event: Any, config: NodeConfig, queue: Queue, audit: Audit) -> tuple[int, None]:
    """Take a report of storage commitment that came over an association of its own.

    Bound to ``evt.EVT_N_EVENT_REPORT`` where the node listens, with ``[config, queue, audit]`` as its arguments; the
    application entity needs `exchange.dimse.accept_reports`.

    Returns:
        the status that is answered: success, or that the report cannot be understood.
    """
    try:
        report = dimse.read_report(event)
    except ExchangeError as error:
        audit.write("commitment not understood", reason=str(error))
        return 0x0110, None
    settle_report(report, config, queue, audit)
    return 0x0000, None


def settle_report(report: dimse.Report, config: NodeConfig, queue: Queue, audit: Audit) -> None:
    """Note what a report of storage commitment says; one of a transaction that nobody waits for changes nothing."""
    waiting = queue.in_transaction(report.transaction)
    failed = dict(report.failed)
    for delivery in queue.committed(report.transaction, report.committed):
        _tell(audit, "sent", delivery, committed=True)
    for delivery in waiting:
        if delivery.state == "pending" and delivery.sop_uid in failed:
            reason = f"{delivery.destination} does not answer for its storage: it {failed[delivery.sop_uid]}"
            _put_off(delivery, reason, config.sending, queue, audit)


def pause_before(attempts: int, sending: Sending) -> float:
    """Seconds before the next try, after so many that failed: twice those of the one before, up to the longest."""
    return min(sending.pause * 2.0 ** min(attempts - 1, 60), sending.longest_pause)


def is_given_up(attempts: int, sending: Sending) -> bool:
    """Whether the pauses after so many failed tries have taken as long as one tries at all."""
    total = 0.0
    for number in range(1, attempts + 1):
        total += pause_before(number, sending)
        if total > sending.give_up_after:
            return True
    return False


def _give_up_unknown(config: NodeConfig, queue: Queue, audit: Audit) -> None:
    """Deliveries to destinations that are not in the configuration any more: `retry` tries again once they are."""
    for name in queue.waiting_deliveries():
        if config.destination(name) is None:
            for delivery in queue.due(float("inf"), name):
                reason = f"no destination is called {name} any more; put it back into node.yaml, then retry"
                _put_off(delivery, reason, config.sending, queue, audit, give_up=True)


def _serve(destination: Dicom | Web, config: NodeConfig, queue: Queue, audit: Audit, stop: Event) -> None:
    """Send to one destination; whatever goes wrong, it goes on."""
    while not stop.is_set():
        try:
            if not _send_due(destination, config, queue, audit, stop):
                queue.wait(_POLL)
        except Exception as error:
            if stop.is_set():  # the queue may be closed
                return
            reason = f"{type(error).__name__}: {printable(error)[:_LONGEST]}"
            logger.error(f"sending to {destination.name} failed ({reason}); it is tried again")
            stop.wait(config.sending.pause)


def _send_due(destination: Dicom | Web, config: NodeConfig, queue: Queue, audit: Audit, stop: Event) -> int:
    """Send what is due, an association a job; how many objects were tried."""
    due = queue.due(destination=destination.name)
    for _, batch in groupby(due, key=lambda delivery: delivery.job):
        if stop.is_set():
            break
        if not _send_job(destination, list(batch), config, queue, audit, stop):
            stop.wait(min(config.sending.pause, _POLL))  # it takes nothing: do not hurry from one job to the next
            break
    return len(due)


def _send_job(
    destination: Dicom | Web, batch: Sequence[Delivery], config: NodeConfig, queue: Queue, audit: Audit, stop: Event
) -> bool:
    """Send the objects of a job; whether any of them was taken."""
    for delivery in (one for one in batch if one.transaction):
        reason = f"{destination.name} did not report on its storage commitment in time; it is sent once more"
        _put_off(delivery, reason, config.sending, queue, audit)
    by_uid = {one.sop_uid: one for one in batch if not one.transaction}
    taken: list[Delivery] = []
    for answer in _answers(destination, list(by_uid.values()), config):
        delivery = by_uid[answer.sop_uid]
        if answer.reason:
            _put_off(delivery, answer.reason, config.sending, queue, audit)
            continue
        taken.append(delivery)
        if not (isinstance(destination, Dicom) and destination.commitment):
            queue.delivered(delivery.id)
            _tell(audit, "sent", delivery)
        if stop.is_set():
            break
    if taken and isinstance(destination, Dicom) and destination.commitment:
        _commit(destination, taken, config, queue, audit)
    return bool(taken) or not by_uid


def _answers(destination: Dicom | Web, batch: Sequence[Delivery], config: NodeConfig) -> Iterator[Answer]:
    instances = [_outgoing(one, config) for one in batch]
    if not instances:
        return iter(())
    if isinstance(destination, Web):
        return dicomweb.store(_server(destination), instances)
    return dimse.store(_peer(destination, config), instances)


def _commit(destination: Dicom, taken: list[Delivery], config: NodeConfig, queue: Queue, audit: Audit) -> None:
    """Ask for storage commitment. The report may be there before the answer, so the queue knows of it first."""
    transaction = f"2.25.{uuid4().int}"
    for delivery in taken:
        queue.committing(delivery.id, transaction)
        _tell(audit, "stored", delivery)
    try:
        instances = [_outgoing(one, config) for one in taken]
        report = dimse.request_commitment(
            _peer(destination, config),
            transaction,
            instances,
            is_known=lambda: all(one.state != "pending" for one in queue.in_transaction(transaction)),
        )
    except ExchangeError as error:
        for delivery in taken:
            _put_off(delivery, str(error), config.sending, queue, audit)
        return
    if report is not None:
        settle_report(report, config, queue, audit)


def _put_off(
    delivery: Delivery, reason: str, sending: Sending, queue: Queue, audit: Audit, give_up: bool = False
) -> None:
    """Try again later, or give up."""
    attempts = delivery.attempts + 1
    ended = give_up or is_given_up(attempts, sending)
    queue.not_delivered(delivery.id, reason, time.time() + pause_before(attempts, sending), ended)
    _tell(audit, "given up" if ended else "not sent", delivery, reason=reason, attempts=attempts)


def _tell(audit: Audit, event: str, delivery: Delivery, **facts: object) -> None:
    audit.write(event, job=delivery.job, destination=delivery.destination, result=delivery.sop_uid, **facts)


def _outgoing(delivery: Delivery, config: NodeConfig) -> Outgoing:
    return Outgoing(config.folder / delivery.file, delivery.sop_class, delivery.sop_uid)


def _certificates(tls: ClientTls | None) -> Certificates | None:
    return Certificates(tls.ca, tls.certificate, tls.key) if tls else None


def _peer(destination: Dicom, config: NodeConfig) -> dimse.Peer:
    where = (destination.host, destination.port, destination.ae_title)
    return dimse.Peer(*where, calling=config.ae_title, tls=_certificates(destination.tls))


def _server(destination: Web) -> dicomweb.Server:
    tls = _certificates(destination.tls)
    return dicomweb.Server(destination.url, destination.token_file, destination.headers, tls)
