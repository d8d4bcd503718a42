"""Receives images by C-STORE, answers C-ECHO, takes reports of storage commitment.

What was answered with status 0x0000 is on the disk and in the queue.
"""

from __future__ import annotations

import ipaddress
import sqlite3
import ssl
import threading
import time
from functools import cache
from typing import Any

from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pynetdicom import AE, AllStoragePresentationContexts, build_context, evt
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import Verification

from ...core.errors import DelineateError, printable
from ...exchange.dimse import accept_reports
from ...imaging.dicom.parsing import SYNTAXES
from ..audit import Audit
from ..configuration.config import Caller, Dicom, NodeConfig, Tls
from ..configuration.errors import ConfigurationError
from ..folders import Folders
from ..queue.queue import Arrival, Queue
from ..sender import handle_commitment
from .acceptor import Acceptor, GuardedAssociation, Owner, association_of
from .incoming import Incoming
from .wire import MAXIMUM_PDU, Command, DataSet

RETIRED = tuple(f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("3", "5", "6", "12.3", "77.1", "77.2"))
"""Image storage of before its revision (US, US multi-frame, NM, XA biplane, VL): devices in use still send it."""
SOP_CLASSES = (*(str(context.abstract_syntax) for context in AllStoragePresentationContexts), *RETIRED)
_PLAIN = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
TRANSFER_SYNTAXES = (*_PLAIN, *(syntax for syntax in SYNTAXES if syntax not in _PLAIN))
"""Of several that a peer proposes for one context, the first here is taken."""

SUCCESS, OUT_OF_RESOURCES, NOT_UNDERSTOOD = 0x0000, 0xA700, 0xC000
_NO_CALLED, _NO_CALLING = (1, 1, 7), (1, 1, 3)  # rejected for good, by the service user: AE title not recognised
_CONGESTED, _TOO_MANY = (2, 3, 1), (2, 3, 2)  # for now, by the provider: temporary congestion, local limit exceeded
_WAITING = 128  # connections beyond the associations that are allowed: each is answered
_LONGEST_NAME = 64
_REFUSALS = 60  # events a minute; what nobody had to be let in for must not fill the disk


def name_of(text: object) -> str:
    """What a stranger wrote, on one line and short enough for a log."""
    return printable(text)[:_LONGEST_NAME]


class Receiver:
    """The node's listening side.

    Args:
        config: of the node; its port may be 0, which takes a free one.
        queue: where arrivals are written down.
        audit: where events are.
    """

    def __init__(self, config: NodeConfig, queue: Queue, audit: Audit) -> None:
        self.config, self.queue, self.audit = config, queue, audit
        self.folders = Folders(config.folder)
        self._accepted: set[GuardedAssociation] = set()
        self._turn = threading.Lock()
        self._refusals = _Refusals(audit)
        self._acceptor: Acceptor | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Listen.

        Raises:
            DelineateError: the address or port cannot be had, or the certificates cannot be used.
        """
        config = self.config
        context = tls_context(config.tls) if config.tls else None
        handlers: list[Any] = [
            (evt.EVT_REQUESTED, self._admit),
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_C_ECHO, lambda _: SUCCESS),
            (evt.EVT_RELEASED, self._released),
            (evt.EVT_N_EVENT_REPORT, handle_commitment, [config, self.queue, self.audit]),
        ]
        try:
            self._acceptor = self._entity().make_server(
                (config.address, config.port),
                ssl_context=context,
                evt_handlers=handlers,
                server_class=Acceptor,
                owner=Owner(self._open, self._ended, self._refusals.write),
                connections=config.limits.associations + _WAITING,
            )
        except OSError as error:
            raise DelineateError(
                f"cannot listen at {config.address} port {config.port} ({error.strerror}); choose another port or "
                "address, or end what listens there"
            ) from error
        self._thread = threading.Thread(target=self._acceptor.serve_forever, args=(0.05,), daemon=True, name="receiver")
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that is listened at."""
        assert self._acceptor
        return int(self._acceptor.server_address[1])

    @property
    def is_listening(self) -> bool:
        """Whether connections are taken."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def associations(self) -> int:
        """How many are open."""
        return len(self._accepted)

    def stop(self, patience: float = 5.0) -> None:
        """Take no more connections, and abort those that are there; what was acknowledged stays."""
        if self._acceptor is None or self._thread is None:
            return
        acceptor, self._acceptor = self._acceptor, None
        acceptor.close()
        self._thread.join(patience)
        with self._turn:
            accepted = list(self._accepted)
        for association in accepted:
            association.messages.break_off("the node is ending")
        end = time.monotonic() + patience
        for association in accepted:
            association.join(max(0, end - time.monotonic()))

    def _entity(self) -> AE:
        entity = AE(self.config.ae_title)
        entity.maximum_pdu_size = MAXIMUM_PDU
        entity.acse_timeout = entity.network_timeout = entity.dimse_timeout = self.config.limits.seconds_silent
        entity.maximum_associations = 2**31  # those that are rejected would count; see `_refusal`
        entity.supported_contexts = _contexts()
        if any(isinstance(each, Dicom) and each.commitment for each in self.config.destinations):
            accept_reports(entity)
        return entity

    def _admit(self, event: evt.Event) -> None:
        """Accept the association, or reject it with the reason."""
        try:
            self._decide(association_of(event))
        except Exception as error:  # pynetdicom would pass it over, and accept the association
            association_of(event).messages.break_off(f"it could not be decided on: {type(error).__name__}")
            association_of(event).kill()

    def _decide(self, association: GuardedAssociation) -> None:
        request = association.requestor.primitive
        called, calling = (
            str(request and name).strip() for name in (request.called_ae_title, request.calling_ae_title)
        )
        address = str(association.requestor.address)
        association.peer = f"{name_of(calling)} {address}"[:_LONGEST_NAME]
        refusal, reason = self._refusal(association, called, calling, address)
        if refusal is None:
            who = {"peer": association.peer, "association": association.key}
            self.audit.write("association accepted", **who, certificate=association.certificate)
            return
        association.messages.reason = reason
        self._refusals.write(association.peer, reason)
        association.acse.send_reject(*refusal)
        association.is_rejected = True
        association.kill()

    def _refusal(
        self, association: GuardedAssociation, called: str, calling: str, address: str
    ) -> tuple[tuple[int, int, int] | None, str]:
        if called != self.config.ae_title:
            return _NO_CALLED, f"called AE title {name_of(called)} is not ours"
        if not any(admits(caller, calling, address) for caller in self.config.callers):
            return _NO_CALLING, "no caller of this AE title and address is known"
        if self._is_full():
            return _CONGESTED, "the disk is full"
        with self._turn:
            if len(self._accepted) >= self.config.limits.associations:
                return _TOO_MANY, f"{len(self._accepted)} associations are open"
            self._accepted.add(association)
        return None, ""

    def _is_full(self) -> bool:
        return self.folders.free_mib() < self.config.limits.free_mib

    def _open(self, command: Command) -> DataSet:
        return Incoming(self.folders.incoming, command, self.config.limits.instance_mib * 2**20, self._is_full)

    def _store(self, event: evt.Event) -> int:
        """Keep the data set that has come, then say so."""
        association, request = association_of(event), event.request
        facts = {
            "peer": association.peer,
            "association": association.key,
            "sop_class": name_of(request.AffectedSOPClassUID),
            "image": name_of(request.AffectedSOPInstanceUID),
        }
        data_set = request.DataSet
        if not isinstance(data_set, Incoming) or not data_set.length:
            self.audit.write("image refused", **facts, reason="it came without a data set")
            return NOT_UNDERSTOOD
        file = ""
        try:
            file = data_set.keep()
            self.queue.receive(Arrival(file, association.peer, association.key, time.time()))
        except (OSError, sqlite3.Error) as error:
            if file:  # its sender keeps it
                (self.folders.incoming / file).unlink(missing_ok=True)
            reason = error.strerror if isinstance(error, OSError) else str(error)
            self.audit.write("image refused", **facts, reason=reason or type(error).__name__)
            return OUT_OF_RESOURCES
        self.audit.write("image received", **facts, file=file, bytes=data_set.length)
        return SUCCESS

    def _released(self, event: evt.Event) -> None:
        self.queue.released(association_of(event).key, time.time())

    def _ended(self, association: GuardedAssociation) -> None:
        with self._turn:
            was_accepted = association in self._accepted
            self._accepted.discard(association)
        if was_accepted:
            how = "released" if association.is_released else "aborted"
            why = (
                {}
                if association.is_released
                else {"reason": association.messages.reason or "by the peer, or it fell silent"}
            )
            self.audit.write(f"association {how}", peer=association.peer, association=association.key, **why)
        elif association.messages.reason and not association.is_rejected:
            self._refusals.write(str(association.requestor.address), association.messages.reason)


class _Refusals:
    """Events about those who were not let in: so many a minute, then their number."""

    def __init__(self, audit: Audit) -> None:
        self._audit, self._turn = audit, threading.Lock()
        self._minute, self._written, self._more = 0, 0, 0

    def write(self, peer: str, reason: str) -> None:
        """Write the event, or count it."""
        with self._turn:
            if (minute := int(time.monotonic() // 60)) != self._minute:
                self._minute, self._written = minute, 0
            if self._written >= _REFUSALS:
                self._more += 1
                return
            more, self._more = self._more, 0
            self._written += 1
        untold = {"not_written_before": more} if more else {}
        self._audit.write("association refused", peer=peer, reason=reason, **untold)


@cache
def _contexts() -> list[PresentationContext]:
    images = [build_context(sop_class, list(TRANSFER_SYNTAXES)) for sop_class in SOP_CLASSES]
    return [*images, build_context(Verification, list(_PLAIN[:3]))]


def admits(caller: Caller, ae_title: str, address: str) -> bool:
    """Whether the caller is meant by an entry of the configuration."""
    if caller.ae_title not in ("*", ae_title):
        return False
    if caller.address == "*":
        return True
    known = ipaddress.ip_address(address.partition("%")[0])
    mapped = known.ipv4_mapped if isinstance(known, ipaddress.IPv6Address) else None
    return (mapped or known) in ipaddress.ip_network(caller.address, strict=False)


def tls_context(tls: Tls) -> ssl.SSLContext:
    """What the node shakes hands with, TLS 1.2 or later.

    Raises:
        ConfigurationError: a file cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(tls.certificate, tls.key)
        if tls.ca:
            context.load_verify_locations(tls.ca)
    except OSError as error:  # which SSLError is
        files = ", ".join(printable(file) for file in (tls.certificate, tls.key, tls.ca) if file)
        reason = error.strerror or printable(error)
        raise ConfigurationError("tls", f"{reason} ({files}); name PEM files that belong together") from error
    if tls.client_certificate:
        context.verify_mode = ssl.CERT_REQUIRED
    return context
