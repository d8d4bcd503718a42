"""The program that reads the header of a file that came, in a process of its own: what it holds is a stranger's."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from pydicom.dataset import Dataset

from delineate.pipelines.core.errors import InputError, SkippedError, printable
from delineate.pipelines.imaging.dicom.header import refuse_other_objects
from delineate.pipelines.imaging.dicom.parsing import COPY_AGAIN, NAME_DICOM, parse, refusing, start_of_data, text, uid

_LONGEST = 64  # characters
_OF_FILES = (COPY_AGAIN, NAME_DICOM)  # remedies for whoever named a file, which nobody did here
_BLOCK = 2**20
_UIDS = {"study_uid": "StudyInstanceUID", "series_uid": "SeriesInstanceUID", "sop_uid": "SOPInstanceUID"}
_TEXTS = {
    "sop_class": "SOPClassUID",
    "modality": "Modality",
    "body_part": "BodyPartExamined",
    "station": "StationName",
    "series_description": "SeriesDescription",
    "manufacturer": "Manufacturer",
}


def answer(request: bytes) -> bytes:
    """Of a path, the facts of the file (`records.Facts`) and its digest, as JSON.

    Raises:
        ValueError: why the file cannot be read, and what to do.
    """
    path = Path(request.decode("utf-8", "surrogateescape"))
    try:
        with refusing(path):
            facts = _facts(path)
            return json.dumps({"facts": facts, "digest": _digest(path)}).encode()
    except InputError as error:
        first = "" if error.remedy in _OF_FILES else f"{error.remedy}, then "
        remedy = f"{first}send it again, or delete it from quarantine/{path.name}"
        raise ValueError(f"{error.reason}; {remedy}") from error
    except MemoryError:
        raise ValueError("takes more memory than is allowed; see intake_mib in the configuration") from None


def _facts(path: Path) -> dict[str, str | bool]:
    dataset, _ = parse(path, pixels=False)
    try:
        refuse_other_objects(path, dataset)
        image = True
    except SkippedError:
        image = False
    texts = {name: printable(text(dataset, keyword))[:_LONGEST] for name, keyword in _TEXTS.items()}
    return {**{name: _uid(path, dataset, keyword) for name, keyword in _UIDS.items()}, **texts, "image": image}


def _uid(path: Path, dataset: Dataset, keyword: str) -> str:
    if found := uid(dataset, keyword):
        return found
    written = printable(text(dataset, keyword))[:_LONGEST]
    reason = f"has a {keyword} that breaks the standard's form ({written!r})" if written else f"has no {keyword}"
    raise InputError(path, reason, "have the device that made it write valid UIDs")


def _digest(path: Path) -> str:
    """SHA-256 of transfer syntax and data set: the same image over the network and from a folder is the same."""
    with path.open("rb") as file:
        total = hashlib.sha256(f"{start_of_data(path, file)}\n".encode())
        while block := file.read(_BLOCK):
            total.update(block)
    return total.hexdigest()
