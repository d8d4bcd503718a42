"""How DICOM travels: C-STORE and storage commitment (`dimse`); QIDO, WADO, STOW (`dicomweb`). Nothing is queued here.

pynetdicom and dicomweb-client, which carry it, are imported by these two modules alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from ...installation import install
from ..core.errors import DelineateError

__all__ = ["Answer", "Certificates", "ExchangeError", "Outgoing", "refuse_missing"]


class ExchangeError(DelineateError):
    """A server or an archive that cannot be reached, or does not do what it is asked; the message says why."""


class Outgoing(NamedTuple):
    """An instance to be stored elsewhere.

    Attributes:
        file: where it is here.
        sop_class: its SOP Class UID.
        sop_uid: its SOP Instance UID.
    """

    file: Path
    sop_class: str
    sop_uid: str


class Answer(NamedTuple):
    """What became of an instance.

    Attributes:
        sop_uid: its SOP Instance UID.
        reason: why it is not stored, in one line; empty where the other side confirmed that it is.
    """

    sop_uid: str
    reason: str = ""


@dataclass(frozen=True)
class Certificates:
    """Files of TLS, as PEM.

    Attributes:
        ca: whose certificates are trusted; ``None`` for those that the system trusts.
        certificate: that we show; ``None`` where the other side asks for none.
        key: of that certificate; ``None`` where it is in the same file.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


def refuse_missing() -> None:
    """See that what carries DICOM is there.

    Raises:
        DelineateError: it is not.
    """
    if missing := [name for name in ("pynetdicom", "dicomweb_client") if find_spec(name) is None]:
        raise DelineateError(
            f"DICOM is sent and received by {' and '.join(missing)}, not installed here; {install('dicom')}"
        )
