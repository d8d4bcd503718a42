"""pynetdicom's acceptor of associations, for a network in which not everybody means well.

pynetdicom keeps to the standard and trusts its peer: it waits for ever for the rest of a PDU, reads as many bytes as
one claims to have, keeps data sets and what is sent ahead in memory, shakes hands for TLS where it takes connections,
and leaves threads behind when an exception ends one. What is replaced here has a limit of time or size for each;
sockets, PDUs and messages are in `wire`.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from datetime import datetime, timezone
from socketserver import BaseServer
from time import monotonic
from typing import Any, NamedTuple
from uuid import uuid4

from pynetdicom import AE, evt
from pynetdicom._globals import MODE_ACCEPTOR
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_ECHO, C_STORE, N_EVENT_REPORT
from pynetdicom.service_class import StorageServiceClass, VerificationServiceClass
from pynetdicom.service_class_n import StorageCommitmentServiceClass
from pynetdicom.sop_class import StorageCommitmentPushModel
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from ...imaging.dicom.parsing import quiet
from .wire import NOT_UNDERSTOOD, Command, DataSet, Messages, Socket, UpperLayer

_SERVICES = (
    (C_STORE, StorageServiceClass),
    (C_ECHO, VerificationServiceClass),
    (N_EVENT_REPORT, StorageCommitmentServiceClass),
)


class Owner(NamedTuple):
    """What an acceptor asks of those who use it.

    Attributes:
        open_data_set: called with the command of a C-STORE when its data set begins.
        ended: called once when an accepted connection has ended, however it did.
        turned_away: called with an address and a reason where a connection did not get as far as an association.
    """

    open_data_set: Callable[[Command], DataSet]
    ended: Callable[[GuardedAssociation], None]
    turned_away: Callable[[str, str], None]


class Acceptor(ThreadedAssociationServer):
    """Takes connections, at most ``connections`` at a time; each is shaken hands with in its own thread."""

    request_queue_size = 128
    daemon_threads = True

    def __init__(self, ae: AE, *args: Any, owner: Owner, connections: int, **keywords: Any) -> None:
        self.owner, self.connections = owner, connections
        self._open, self._turn = 0, threading.Lock()
        super().__init__(ae, *args, request_handler=_Handler, **keywords)
        self._gc = [0, 599]  # it collects garbage each time that it has looked so often for connections

    def get_request(self) -> tuple[socket.socket, Any]:
        """A connection, before anything is read from it."""
        assert self.socket
        connection, address = self.socket.accept()
        return connection, address

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether there is room for another connection."""
        with self._turn:
            room = self._open < self.connections
            self._open += room
        if not room:
            self.owner.turned_away(client_address[0], "too many connections")
        return room

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Shake hands, and hand the connection to an association."""
        request.settimeout(self.ae.network_timeout)
        request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.ssl_context:
            request = self.ssl_context.wrap_socket(request, server_side=True)
        try:
            super().finish_request(request, client_address)
        except BaseException:
            request.close()
            raise

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection has ended before it was an association's."""
        self.release_connection()
        reason = "no TLS connection came about" if self.ssl_context else "the connection broke"
        self.owner.turned_away(client_address[0], reason)

    def close(self) -> None:
        """Take no more connections."""
        BaseServer.shutdown(self)
        self.server_close()

    def release_connection(self) -> None:
        """There is room for another."""
        with self._turn:
            self._open -= 1


class GuardedAssociation(Association):
    """An association that ends, whatever its peer does, and has a ``key`` of its own."""

    def __init__(self, ae: AE, server: Acceptor) -> None:
        super().__init__(ae, MODE_ACCEPTOR)
        self.key = uuid4().hex
        self.peer = ""
        self._acceptor = server
        self._server = server
        self.dul = UpperLayer(self)
        self.messages = self.dimse = Messages(self, server.owner.open_data_set)
        self.acse_timeout, self.network_timeout = ae.acse_timeout, ae.network_timeout  # the timers of the new layer

    @property
    def certificate(self) -> str | None:
        """The subject of the peer's certificate, ``None`` where it showed none."""
        sock = self.dul.socket and self.dul.socket.socket
        shown = sock.getpeercert() if isinstance(sock, ssl.SSLSocket) else None
        return ", ".join("=".join(pair) for name in shown.get("subject", ()) for pair in name) if shown else None

    def run_reactor(self) -> None:
        """The association, from connection to end."""
        try:
            super().run_reactor()
        except Exception:
            self.messages.break_off(NOT_UNDERSTOOD)
            self.is_aborted = True
            self.kill()
        finally:
            self.messages.discard()
            if isinstance(self.dul.socket, Socket):
                self.dul.socket.shut()
            self._acceptor.release_connection()
            self._acceptor.owner.ended(self)

    def kill(self) -> None:
        """End both threads; one that still waits for its peer has no more time than a silent peer has."""
        self._reactor_checkpoint.set()
        self._kill = self._is_paused = True
        self.is_established = False
        end = monotonic() + (self.network_timeout or 0)
        while self.dul.is_alive() and not self.dul.stop_dul():
            if monotonic() > end:
                self.dul.kill_dul()
            threading.Event().wait(0.01)

    def _serve_request(self, msg: Any, context_id: int) -> None:
        context = self._accepted_cx.get(context_id)
        service = next((service for kind, service in _SERVICES if isinstance(msg, kind)), None)
        elsewhere = (
            isinstance(msg, N_EVENT_REPORT) and context and context.abstract_syntax != StorageCommitmentPushModel
        )
        if context is None or elsewhere or not msg.is_valid_request or service is None:
            self.messages.break_off("asked for what is not offered")
            return
        try:
            with quiet():
                service(self).SCP(msg, context)
        finally:
            if isinstance(msg, C_STORE) and isinstance(msg.DataSet, DataSet):
                msg.DataSet.discard()


class _Handler(RequestHandler):
    server: Acceptor

    def _create_association(self) -> Association:
        association = GuardedAssociation(self.ae, self.server)
        association.name = f"AcceptorThread@{datetime.now(timezone.utc):%Y%m%d%H%M%S}"  # pynetdicom knows them by that
        association.set_socket(Socket(association, client_socket=self.request))
        acceptor = association.acceptor
        acceptor.maximum_length = self.ae.maximum_pdu_size
        acceptor.ae_title = self.server.ae_title
        acceptor.address_info = self.local
        acceptor.implementation_class_uid = self.ae.implementation_class_uid
        acceptor.implementation_version_name = self.ae.implementation_version_name
        acceptor.supported_contexts = self.server.contexts  # which nobody changes: a copy takes 20 ms
        association.requestor.address_info = self.remote
        for event, handlers in self.server._handlers.items():
            bound = handlers if isinstance(handlers, list) else [handlers]
            for handler, arguments in bound:
                if handler:
                    association.bind(event, handler, arguments)
        return association


def association_of(event: evt.Event) -> GuardedAssociation:
    """Whose event it is."""
    assert isinstance(event.assoc, GuardedAssociation)
    return event.assoc
