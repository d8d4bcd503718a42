"""The layers below an association: sockets, PDUs and messages, each with a limit of time or size; see `acceptor`."""

from __future__ import annotations

import logging
import select
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from queue import Empty, Queue
from time import monotonic
from typing import Any, NamedTuple

from pydicom.uid import UID
from pynetdicom import _config
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import C_CANCEL_RQ, C_ECHO_RQ, C_STORE_RQ, N_EVENT_REPORT_RQ, DIMSEMessage
from pynetdicom.dimse_primitives import C_CANCEL, C_STORE
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.sop_class import StorageCommitmentPushModel
from pynetdicom.transport import AssociationSocket

from ...imaging.dicom.parsing import quiet

MAXIMUM_PDU = 2**16
"""Bytes of a P-DATA-TF PDU that peers are told to send at most."""
NOT_UNDERSTOOD = "sent what cannot be understood"
_LONGEST_REQUEST, _LONGEST_PDU = 2**17, 2**20  # bytes that are read: before and after an association is accepted
_LONGEST_COMMAND = 2**13  # bytes; a C-STORE-RQ has some 300
_LONGEST_REPORT = 2**20  # bytes of a report of storage commitment; an object takes some 150
_MOST_AHEAD = 8  # requests that wait for their turn; nothing but one at a time is negotiated
_SOON, _IDLE = 0.001, 0.1  # seconds between two looks: while something goes on, and while nothing does
_ABORT = bytes([7, 0, 0, 0, 0, 4, 0, 0, 2, 0])  # A-ABORT by the provider, without a reason
_REQUESTS = (C_STORE_RQ, C_ECHO_RQ, C_CANCEL_RQ, N_EVENT_REPORT_RQ)

logging.getLogger("pynetdicom").setLevel(
    logging.CRITICAL + 1
)  # it writes what strangers send; the audit says it safely
_config.LOG_HANDLER_LEVEL = "none"


class ProtocolError(Exception):
    """A peer does not keep to the protocol, or goes beyond a limit; its association is aborted."""


class DataSet(BytesIO):
    """Where the bytes of a C-STORE's data set go; given up with `discard` where they do not become an image."""

    def discard(self) -> None:
        """Forget what was written."""


class Command(NamedTuple):
    """What a C-STORE-RQ says of its data set."""

    sop_class: str
    sop_instance: str
    transfer_syntax: UID


class Socket(AssociationSocket):
    """Gives its peer a limited time for each PDU, and refuses to read a long one.

    pynetdicom looks for data a thousand times a second; here it waits for them.
    """

    @property
    def ready(self) -> bool:
        """Whether there are data; where it is the peer's turn, after some waiting."""
        sock, layer = self.socket, self.assoc.dul
        if sock is None or not self._is_connected:
            time.sleep(_SOON)
        elif not (isinstance(sock, ssl.SSLSocket) and sock.pending()):
            with suppress(OSError, ValueError):
                select.select([sock], [], [], _IDLE if layer.waits_for_peer else _SOON)
        return bool(super().ready)

    @property
    def patience(self) -> float:
        """Seconds that a peer may be silent."""
        return self.assoc.network_timeout or 0

    def recv(self, nr_bytes: int) -> bytearray:
        """So many bytes, or fewer where the connection ends.

        Raises:
            OSError: they are too many, or do not come in time.
        """
        if nr_bytes > (_LONGEST_PDU if self.assoc.is_established else _LONGEST_REQUEST):
            raise OSError(f"a PDU of {nr_bytes} bytes")
        assert self.socket
        buffer, done, end = bytearray(nr_bytes), 0, monotonic() + self.patience
        if hasattr(socket, "TCP_QUICKACK"):  # else a peer that follows Nagle waits 40 ms between command and data
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        with memoryview(buffer) as view:
            while done < nr_bytes:
                self.socket.settimeout(max(end - monotonic(), 0.001))
                count = self.socket.recv_into(view[done:])
                if not count:
                    break
                done += count
        del buffer[done:]
        return buffer

    def send(self, bytestream: bytes) -> None:
        """Send, unless the peer does not read."""
        if self.socket:
            self.socket.settimeout(self.patience)
            super().send(bytestream)

    def shut(self) -> None:
        """Close, whatever state it is in."""
        self._shutdown_socket()
        self.socket, self._is_connected = None, False

    def _shutdown_socket(self) -> None:
        if sock := self.socket:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            with suppress(OSError):
                sock.close()


class _Waking(Queue[Any]):
    """Primitives for the association, which waits for messages."""

    def __init__(self, association: Association) -> None:
        super().__init__()
        self._association = association

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        super().put(item, block, timeout)
        self._association.dimse.msg_queue.put((None, None))


class UpperLayer(DULServiceProvider):
    """Ends quietly, and says so to the association, which would wait for it."""

    def __init__(self, association: Association) -> None:
        super().__init__(association)
        self.daemon = True
        self._run_loop_delay = 0  # the socket waits
        self.to_user_queue = _Waking(association)

    @property
    def waits_for_peer(self) -> bool:
        """Whether it is the peer's turn, for a request of an association or another."""
        if self.event_queue.qsize() or self.to_provider_queue.qsize():
            return False
        state = self.state_machine.current_state
        return state == "Sta2" or (state == "Sta6" and not self.assoc.dimse.serving)

    def run_reactor(self) -> None:
        """Read, act and send, until the connection ends."""
        try:
            super().run_reactor()
        except Exception:  # a PDU that cannot be decoded, or not now
            if self.socket:
                with suppress(Exception):
                    self.socket.send(_ABORT)
            self.assoc.is_aborted, self.assoc.is_established = True, False
        finally:
            self.to_user_queue.put(None)  # type: ignore[arg-type]


class Messages(DIMSEServiceProvider):
    """Takes C-STORE, C-ECHO and reports of storage commitment; data sets of the first go where the owner says.

    Nothing else may be long.
    """

    message: Any

    def __init__(self, association: Association, open_data_set: Callable[[Command], DataSet]) -> None:
        super().__init__(association)
        self._association, self._open_data_set = association, open_data_set
        self._command_bytes = self._report_bytes = 0
        self.serving = False
        self.reason = ""

    def get_msg(self, block: bool = False) -> Any:
        """A message, or, after some waiting, none."""
        self.serving = False
        with suppress(Empty):
            message = self.msg_queue.get(timeout=_IDLE)
            self.serving = True
            return message
        return None, None

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Take the parts of messages of a PDU, one by one."""
        for value in primitive.presentation_data_value_list:
            try:
                with quiet():  # pydicom warns of each odd value
                    self._take(*value)
            except Exception as error:
                self.break_off(str(error) if isinstance(error, ProtocolError) else NOT_UNDERSTOOD)
                return

    def break_off(self, reason: str) -> None:
        """Abort the association: A-ABORT by the provider."""
        self.reason = self.reason or reason
        self.dul.event_queue.put("Evt19")

    def discard(self) -> None:
        """Give up the data sets that are on their way or wait for their turn."""
        waiting = [request.DataSet for _, request in list(self.msg_queue.queue) if isinstance(request, C_STORE)]
        for data_set in (*waiting, self.message and self.message.data_set):
            if isinstance(data_set, DataSet):
                data_set.discard()

    def _take(self, context_id: int, data: bytes) -> None:
        if data[0] & 1:
            self._check_command(data)
        elif isinstance(self.message, N_EVENT_REPORT_RQ):
            self._check_report(data)
        elif not isinstance(self.message, C_STORE_RQ):
            raise ProtocolError("sent data without a C-STORE request")
        part = P_DATA()
        part.presentation_data_value_list.append((context_id, data))
        self.serving = self.serving or bool(data[0] & 2)
        self.message = self.message or DIMSEMessage()
        if self.message.decode_msg(part, self._association):  # pynetdicom's own way would start threads for reports
            request, self.message = self.message.message_to_primitive(), None
            if not isinstance(request, C_CANCEL):
                self.msg_queue.put((context_id, request))
        elif data[0] & 3 == 3:
            self._begin(self.message, context_id)

    def _check_command(self, data: bytes) -> None:
        if isinstance(self.message, _REQUESTS):
            raise ProtocolError("sent a command within a data set")
        self._command_bytes += len(data)
        if self._command_bytes > _LONGEST_COMMAND:
            raise ProtocolError(f"sent a command of more than {_LONGEST_COMMAND} bytes")
        if data[0] & 2:
            self._command_bytes = 0
        if self.msg_queue.qsize() >= _MOST_AHEAD:
            raise ProtocolError(f"sent more than {_MOST_AHEAD} requests ahead")

    def _check_report(self, data: bytes) -> None:
        self._report_bytes += len(data)
        if self._report_bytes > _LONGEST_REPORT:
            raise ProtocolError(f"sent a report of storage commitment of more than {_LONGEST_REPORT} bytes")
        if data[0] & 2:
            self._report_bytes = 0

    def _begin(self, message: DIMSEMessage, context_id: int) -> None:
        """A command is complete and a data set follows."""
        context = self._association._accepted_cx.get(context_id)
        if context is None or not isinstance(message, C_STORE_RQ | N_EVENT_REPORT_RQ):
            raise ProtocolError("asked for what is not offered")
        if isinstance(message, N_EVENT_REPORT_RQ):
            if context.abstract_syntax != StorageCommitmentPushModel:
                raise ProtocolError("asked for what is not offered")
            return
        command = message.command_set
        names = str(command.get("AffectedSOPClassUID", "")), str(command.get("AffectedSOPInstanceUID", ""))
        message.data_set = self._open_data_set(Command(*names, context.transfer_syntax[0]))
