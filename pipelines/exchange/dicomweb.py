"""DICOMweb, PS3.18: what a study has (QIDO-RS), its instances (WADO-RS), instances stored (STOW-RS).

dicomweb-client asks, and requests carries it. What a server answers is not trusted: `http` bounds it in bytes and
seconds and follows it nowhere; images go to files as they come, unparsed, and are named by hashes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pydicom
import requests
from dicomweb_client.web import DICOMwebClient
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from ..core.errors import printable
from . import Answer, ExchangeError, Outgoing
from .http import LONGEST, Server, asking, opened
from .multipart import Limits, MultipartError, write_parts

__all__ = ["FoundSeries", "Server", "find_series", "is_uid", "retrieve_series", "store"]

_UID = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+")  # PS3.5, 9.1
_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'  # in the syntax that it has there
_MOST_SERIES = 10_000
_ONE_PIECE = 2**40  # with chunks, some servers and proxies do not know how long it is, and refuse it


class FoundSeries(NamedTuple):
    """A series that a server has.

    Attributes:
        study: Study Instance UID.
        uid: Series Instance UID.
        modality: ``CT``, ``SEG``, ...; empty where the server does not say.
        description: of the series, in words of a stranger.
        manufacturer: of what made it; empty where the server does not say.
    """

    study: str
    uid: str
    modality: str
    description: str
    manufacturer: str = ""


def is_uid(text: object) -> bool:
    """Whether this is a UID as the standard has it; nothing else goes into a URL."""
    return isinstance(text, str) and len(text) <= 64 and _UID.fullmatch(text) is not None


def find_series(server: Server, study: str, series: str | None = None) -> list[FoundSeries]:
    """The series of a study (QIDO-RS), in the order of their UIDs.

    Args:
        server: that is asked.
        study: Study Instance UID.
        series: that alone.

    Returns:
        none where the server has no such study or series.

    Raises:
        ExchangeError: a UID breaks the standard's form; the server cannot be reached, refuses, or answers nonsense.
    """
    for uid in filter(None, (study, series)):
        if not is_uid(uid):
            raise ExchangeError(f"{printable(uid)[:LONGEST]} is no UID: those have digits and dots; copy it again")
    found: dict[str, FoundSeries] = {}
    with opened(server) as session, asking(server):
        client, told = _client(server, session), None
        while told is None or set(told) - set(found):  # a server may answer in pages, or take no notice of the offset
            found |= told or {}
            if len(found) > _MOST_SERIES:
                raise ExchangeError(f"{server} names more than {_MOST_SERIES} series of one study; look into its log")
            filters = {"SeriesInstanceUID": series} if series else None
            rows = client.search_for_series(
                study, offset=len(found) or None, fields=["SeriesDescription", "Manufacturer"], search_filters=filters
            )
            told = {one.uid: one for one in (_found(study, row) for row in rows) if is_uid(one.uid)}
    return [found[uid] for uid in sorted(found) if series in (None, uid)]


def retrieve_series(server: Server, series: FoundSeries, folder: Path) -> list[Path]:
    """Write the instances of a series into a folder, as the server has them (WADO-RS).

    Args:
        server: that has them.
        series: what is fetched.
        folder: where to; made. A file is named by the hash of what it holds.

    Returns:
        the files, each once.

    Raises:
        ExchangeError: the server cannot be reached or refuses; its answer ends early, or is larger than the limits.
    """
    folder.mkdir(parents=True, exist_ok=True)
    limits = Limits(server.most_bytes, server.most_instances)
    with opened(server, server.most_series_bytes) as session, asking(server):
        answer = session.get(
            server.endpoint(series.study, series.uid), headers={"Accept": _STORED}, stream=True, timeout=server.timeout
        )
        with answer:
            answer.raise_for_status()
            if answer.status_code == 204:
                return []
            kind = answer.headers.get("Content-Type", "")
            try:
                return write_parts(answer.iter_content(2**16), kind, folder, limits)
            except MultipartError as error:
                raise ExchangeError(f"{server} {error}; ask for it again, or look into its log") from error


def store(server: Server, instances: Sequence[Outgoing]) -> Iterator[Answer]:
    """Store instances (STOW-RS), one a request.

    Args:
        server: where to.
        instances: files with a header.

    Yields:
        of each, in their order, what became of it. Stored is what the server names in its ReferencedSOPSequence and not
        in its FailedSOPSequence, whatever the status of its answer.
    """
    for one in instances:
        try:
            with opened(server) as session, asking(server):
                yield Answer(one.sop_uid, _store(_client(server, session), server, one))
        except ExchangeError as error:
            yield Answer(one.sop_uid, str(error))


def _client(server: Server, session: requests.Session) -> DICOMwebClient:
    client = DICOMwebClient(server.endpoint(), session, timeout=server.timeout, chunk_size=_ONE_PIECE)
    client.set_http_retry_params(retry=False)
    return client


def _found(study: str, row: Mapping[str, Any]) -> FoundSeries:
    """A series as QIDO-RS tells of it."""

    def value(tag: str) -> str:
        return str((row.get(tag, {}).get("Value") or [""])[0])[:LONGEST]

    return FoundSeries(study, value("0020000E"), value("00080060"), value("0008103E"), value("00080070"))


def _store(client: DICOMwebClient, server: Server, one: Outgoing) -> str:
    """Why the server did not store an instance; nothing where it did."""
    try:
        dataset = pydicom.dcmread(one.file)
    except (OSError, InvalidDicomError) as error:
        return f"{one.file.name} cannot be read ({printable(error)[:200]})"
    try:
        told = client.store_instances([dataset])
    except requests.HTTPError as error:  # also where it names what it did not store, and why (409)
        told = _told(error.response)
        if one.sop_uid not in _reasons(told, "FailedSOPSequence"):
            raise
    failed = _reasons(told, "FailedSOPSequence")
    if one.sop_uid in failed:
        return f"{server} did not store it (failure reason 0x{failed[one.sop_uid]:04X}); look into its log"
    if one.sop_uid not in _reasons(told, "ReferencedSOPSequence"):
        return f"{server} did not confirm that it stored it; look whether it is there"
    return ""


def _told(answer: requests.Response | None) -> Dataset:
    """What an answer of an error's status says; nothing where that is not understood."""
    try:
        return Dataset.from_json(answer.json()) if answer is not None else Dataset()
    except (ValueError, TypeError, KeyError, AttributeError):
        return Dataset()


def _reasons(told: Dataset, keyword: str) -> dict[str, int]:
    """The instances in a sequence of an answer, and their failure reasons."""
    items = told.get(keyword) or ()
    return {str(one.get("ReferencedSOPInstanceUID")): int(one.get("FailureReason") or 0x0110) for one in items}
