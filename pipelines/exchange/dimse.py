"""DICOM over associations: C-ECHO and C-STORE as SCU, storage commitment. PS3.4 (B, J), PS3.7, PS3.8."""

from __future__ import annotations

import logging
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Event as Flag
from typing import Any

from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, _config, evt
from pynetdicom import association as _pynetdicom
from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.events import Event
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import (  # type: ignore[attr-defined]  # made when it is imported
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
    Verification,
)

from ..core.errors import printable
from . import Answer, Certificates, ExchangeError, Outgoing

_NATIVE = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
_LOOK = 0.05  # seconds between two looks
_LONGEST = 64  # characters of what a stranger wrote
_WARNINGS = {
    0xB000: "stored it with other values in place of ours",
    0xB006: "stored it without some of its elements",
    0xB007: "stored it, but says that it does not fit its SOP class",
}
_FAILURES = (
    (0xA700, 0xA7FF, "is out of resources"),
    (0xA900, 0xA9FF, "says that it does not fit its SOP class"),
    (0xC000, 0xCFFF, "cannot understand it"),
    (0x0122, 0x0122, "does not support its SOP class"),
    (0x0124, 0x0124, "does not authorise us to store"),
    (0x0110, 0x0110, "failed while it processed it"),
    (0x0112, 0x0112, "does not have it"),
    (0x0213, 0x0213, "is out of resources"),
    (0x0119, 0x0119, "has it as another SOP class"),
)
_REJECTIONS = {
    (1, 3): "does not know our AE title, {calling}; declare it there",
    (1, 7): "is not called {called}; correct its AE title here",
    (3, 1): "is too busy; it will take associations later",
    (3, 2): "has too many associations; it will take more later",
}

logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)  # what matters of it is in our reasons
_config.LOG_HANDLER_LEVEL = "none"  # nor are texts made of each message, that nobody reads


class _UpperLayer(DULServiceProvider):
    """Holds up no process that ends; pynetdicom's has it wait until its peer, or a minute, is over."""

    def start(self) -> None:
        self.daemon = True
        super().start()


_pynetdicom.DULServiceProvider = _UpperLayer  # type: ignore[misc]  # of those that we open; it cannot be handed over


@dataclass(frozen=True)
class Peer:
    """Whom we call, and as whom.

    Attributes:
        host: name or address.
        port: that it listens at.
        ae_title: of theirs.
        calling: our AE title.
        tls: where it is spoken to by TLS.
        connect_seconds: in which a connection must be there.
        answer_seconds: in which it must answer each message.
    """

    host: str
    port: int
    ae_title: str
    calling: str = "DELINEATE"
    tls: Certificates | None = None
    connect_seconds: float = 10
    answer_seconds: float = 60

    def __str__(self) -> str:
        return f"{self.ae_title} at {self.host}:{self.port}"


@dataclass(frozen=True)
class Report:
    """What a peer says of a storage commitment.

    Attributes:
        transaction: that was asked for.
        committed: SOP Instance UIDs that it answers for.
        failed: those that it does not, and why.
    """

    transaction: str
    committed: tuple[str, ...]
    failed: tuple[Answer, ...]


def echo(peer: Peer) -> None:
    """Ask whether a peer is there (C-ECHO).

    Raises:
        ExchangeError: it is not, or does not take us.
    """
    with _association(peer, [build_context(Verification)]) as open_:
        began = time.monotonic()
        if (reason := _failure(open_.send_c_echo(), peer, began)) is not None:
            raise ExchangeError(f"{peer} {reason}")


def store(peer: Peer, instances: Sequence[Outgoing]) -> Iterator[Answer]:
    """Store instances at a peer (C-STORE), one after the other over one association.

    Args:
        peer: where to.
        instances: files with a header, Explicit or Implicit VR Little Endian; others are sent as they are.

    Yields:
        of each, in their order, what became of it, as soon as that is known; after the association broke off, the
        rest with that reason. Stored is what was answered with the status 0x0000, and nothing else.
    """
    left = list(instances)
    try:
        contexts, unread = _contexts(left)
        yield from unread
        left = [one for one in left if one.sop_uid not in {answer.sop_uid for answer in unread}]
        if not left:
            return
        with _association(peer, contexts) as open_:
            while left:
                answer = Answer(left[0].sop_uid, _store(open_, peer, left[0]))
                left.pop(0)
                yield answer
    except ExchangeError as error:
        yield from (Answer(one.sop_uid, str(error)) for one in left)


def request_commitment(
    peer: Peer,
    transaction: str,
    instances: Sequence[Outgoing],
    wait_seconds: float = 2,
    is_known: Callable[[], bool] = lambda: False,
) -> Report | None:
    """Ask a peer to answer for instances that it stored (Storage Commitment Push Model, N-ACTION).

    Args:
        peer: that has them.
        transaction: a UID of this request.
        instances: those.
        wait_seconds: how long the association is kept for the report, which some send over it.
        is_known: whether it has come elsewhere meanwhile; it is waited for no longer then.

    Returns:
        the report (N-EVENT-REPORT) if it came over the same association; else it comes later, over one that the peer
        opens to us: see `accept_reports`.

    Raises:
        ExchangeError: the peer cannot be reached, does not offer storage commitment, or refuses.
    """
    found: list[Report] = []
    came = Flag()

    def take(event: Event) -> tuple[int, None]:
        found.append(read_report(event))
        came.set()
        return 0x0000, None

    with _association(peer, [build_context(StorageCommitmentPushModel, list(_NATIVE))], take) as open_:
        began = time.monotonic()
        asked = _request(transaction, instances)
        status, _ = open_.send_n_action(asked, 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance)
        if (reason := _failure(status, peer, began)) is not None:
            raise ExchangeError(f"{peer}, asked for storage commitment, {reason}")
        end = time.monotonic() + wait_seconds
        while open_.is_established and not came.wait(_LOOK) and not is_known() and time.monotonic() < end:
            pass
    return next((one for one in found if one.transaction == transaction), None)


def accept_reports(ae: AE) -> None:
    """Let an application entity that listens take reports of storage commitment; a peer opens the association then."""
    ae.add_supported_context(StorageCommitmentPushModel, list(_NATIVE), scu_role=True, scp_role=True)


def tune(association: Association, seconds: float) -> None:
    """Let an open connection, of either side, last in silence no longer than that, and no message wait for another.

    Without a limit a peer that stops while it reads or writes holds us for ever. Messages are small and come in two
    pieces: the second waits for 40 ms where one side puts off its acknowledgement and the other waits for it, which is
    ten times as long as an archive takes to store a small image.

    Args:
        association: of the event ``evt.EVT_CONN_OPEN``.
        seconds: between two pieces.
    """
    if (held := association.dul.socket) is None or held.socket is None:
        return
    held.socket.settimeout(seconds)
    held.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    _acknowledge(association)
    association.bind(evt.EVT_DATA_SENT, lambda event: _acknowledge(event.assoc))  # the system forgets it now and then


def _acknowledge(association: Association) -> None:
    """At once, where the system knows how."""
    held = association.dul.socket
    if (option := getattr(socket, "TCP_QUICKACK", None)) is not None and held is not None and held.socket is not None:
        with suppress(OSError):  # it has just been closed
            held.socket.setsockopt(socket.IPPROTO_TCP, option, 1)


def read_report(event: Event) -> Report:
    """What an N-EVENT-REPORT says.

    Args:
        event: as a handler of ``evt.EVT_N_EVENT_REPORT`` gets it.

    Raises:
        ExchangeError: it cannot be understood.
    """
    try:
        told = event.event_information
        failed = [
            Answer(str(one.ReferencedSOPInstanceUID), _why(int(one.get("FailureReason") or 0x0110)))
            for one in told.get("FailedSOPSequence") or ()
        ]
        committed = [str(one.ReferencedSOPInstanceUID) for one in told.get("ReferencedSOPSequence") or ()]
        return Report(str(told.TransactionUID), tuple(committed), tuple(failed))
    except Exception as error:  # whatever pydicom makes of what a stranger sent
        raise ExchangeError("a report of storage commitment cannot be understood; it is refused") from error


def _contexts(instances: Sequence[Outgoing]) -> tuple[list[PresentationContext], list[Answer]]:
    """Each SOP class with each transfer syntax by itself, so that the peer may take both; files that are no DICOM."""
    wanted: dict[tuple[str, UID], None] = {}
    unread = []
    for one in instances:
        try:
            syntax = UID(read_file_meta_info(one.file).TransferSyntaxUID)
        except (OSError, InvalidDicomError, AttributeError, ValueError) as error:
            unread.append(Answer(one.sop_uid, f"{one.file.name} cannot be read ({printable(error)[:_LONGEST]})"))
            continue
        wanted |= dict.fromkeys((one.sop_class, each) for each in (_NATIVE if syntax in _NATIVE else (syntax,)))
    return [build_context(sop_class, syntax) for sop_class, syntax in wanted], unread


def _store(open_: Association, peer: Peer, one: Outgoing) -> str:
    """Why the peer did not store an instance; nothing where it did.

    Raises:
        ExchangeError: the association is over.
    """
    began = time.monotonic()
    if not any(context.abstract_syntax == one.sop_class for context in open_.accepted_contexts):
        return f"{peer} does not take {_name(one.sop_class)}; allow it there"
    try:
        status = open_.send_c_store(one.file)
    except (OSError, InvalidDicomError, AttributeError, ValueError) as error:
        return f"{one.file.name} cannot be sent ({' '.join(printable(error).split())[:200]})"
    reason = _failure(status, peer, began)
    if "Status" not in status:
        raise ExchangeError(f"{peer} {reason}")
    return "" if reason is None else f"{peer} {reason}"


def _failure(status: Dataset, peer: Peer, began: float) -> str | None:
    """What a status says, in words; ``None`` where it is success."""
    if "Status" not in status:
        late = time.monotonic() - began >= peer.answer_seconds
        return f"gave no answer within {peer.answer_seconds:g} s" if late else "broke off in place of an answer"
    if status.Status == 0x0000:
        return None
    comment = printable(status.get("ErrorComment") or "")[:_LONGEST]
    return _why(int(status.Status)) + (f": {comment}" if comment else "")


def _why(status: int) -> str:
    words = [words for first, last, words in _FAILURES if first <= status <= last]
    return f"{_WARNINGS.get(status) or (words[0] if words else 'refused')} (status 0x{status:04X})"


def _name(sop_class: str) -> str:
    name = UID(sop_class).name
    return name if name == sop_class else f"{name} ({sop_class})"


def _request(transaction: str, instances: Sequence[Outgoing]) -> Dataset:
    asked = Dataset()
    asked.TransactionUID = transaction
    asked.ReferencedSOPSequence = []
    for one in instances:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = one.sop_class, one.sop_uid
        asked.ReferencedSOPSequence.append(item)
    return asked


@contextmanager
def _association(peer: Peer, contexts: list[PresentationContext], on_report: Any = None) -> Iterator[Association]:
    """An association, released at the end, or ended however else that may be.

    Raises:
        ExchangeError: there is none to be had; why.
    """
    ae = AE(peer.calling)
    ae.connection_timeout = peer.connect_seconds
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = peer.answer_seconds
    opened: list[socket.socket] = []

    def on_open(event: Event) -> None:
        opened.append(event.assoc.dul.socket.socket)
        tune(event.assoc, peer.answer_seconds)

    handlers: list[Any] = [(evt.EVT_CONN_OPEN, on_open)]
    handlers += [(evt.EVT_N_EVENT_REPORT, on_report)] if on_report else []
    began = time.monotonic()
    try:
        tls = (_tls(peer.tls), peer.host) if peer.tls else None
        found = ae.associate(peer.host, peer.port, contexts, peer.ae_title, tls_args=tls, evt_handlers=handlers)
    except socket.gaierror as error:
        raise ExchangeError(f"{peer}: no such host is known; check its name") from error
    except OSError as error:
        raise ExchangeError(f"{peer} cannot be reached ({error.strerror or error}); check its address") from error
    try:
        if not found.is_established:
            raise ExchangeError(f"{peer} " + _refusal(found, peer, bool(opened), began))
        yield found
    except RuntimeError as error:  # it ended between two messages
        raise ExchangeError(f"{peer} ended the association") from error
    finally:
        found.release()
        if not found.is_released and not found.is_aborted:
            found.abort()
        for one in opened:
            one.close()  # pynetdicom leaves it to the garbage where the peer was quicker


def _tls(files: Certificates) -> ssl.SSLContext:
    """How TLS is spoken.

    Raises:
        ExchangeError: a file of it is missing, or is something else.
    """
    try:
        context = ssl.create_default_context(cafile=files.ca)
        if files.certificate:
            context.load_cert_chain(files.certificate, files.key)
    except (OSError, ssl.SSLError) as error:
        named = ", ".join(str(one) for one in (files.ca, files.certificate, files.key) if one)
        raise ExchangeError(f"{named}: cannot be used for TLS ({error.strerror or error}); name PEM files") from error
    return context


def _refusal(found: Association, peer: Peer, opened: bool, began: float) -> str:
    """Why there is no association, in words."""
    if not opened:
        return _no_connection(peer)
    if found.is_rejected:
        said = found.acceptor.primitive
        known = _REJECTIONS.get((said.result_source or 0, said.diagnostic or 0)) if said else None
        words = known or f"refuses the association ({said.reason_str if said else 'without a reason'})"
        return words.format(calling=peer.calling, called=peer.ae_title)
    if found.rejected_contexts:
        names = dict.fromkeys(_name(str(context.abstract_syntax)) for context in found.rejected_contexts)
        return f"does not take {', '.join(names)}; allow it there"
    if time.monotonic() - began >= peer.answer_seconds:
        return f"accepts the connection, but says nothing within {peer.answer_seconds:g} s; is it a DICOM port?"
    return "ends the association before it begins; is it a DICOM port, and does it expect TLS?"


def _no_connection(peer: Peer) -> str:
    """Why there is no connection; pynetdicom does not tell, so it is tried once more."""
    try:
        with socket.create_connection((peer.host, peer.port), peer.connect_seconds) as plain:
            if peer.tls:
                with _tls(peer.tls).wrap_socket(plain, server_hostname=peer.host):
                    pass
    except ssl.SSLError as error:
        return f"cannot be spoken to by TLS ({error.reason or error}); check the certificates, and its port"
    except TimeoutError:
        return f"does not answer within {peer.connect_seconds:g} s; is it on, and does a firewall let us through?"
    except OSError as error:
        return f"cannot be reached ({error.strerror or error}); is it running, and is this its port?"
    return "closed the connection; it will be tried again"
