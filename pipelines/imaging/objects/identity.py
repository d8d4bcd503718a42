"""Who and what an object says it is of and by: attributes that all kinds of objects share."""

from __future__ import annotations

from typing import Any

import highdicom as hd
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from .. import structures
from ..dicom.header import MANUFACTURER
from ..structures import Structure
from .outlined import Outlined
from .sources import Sources

RESEARCH = "Research use, not for diagnosis"
SCHEME = "99DELINEATE"
"""The coding scheme of structures without a code: the value is the structure's name as in file names."""

_SERIES = {"seg": 9001, "sc": 9002, "sr": 9003}
_NO_DATE, _NO_TIME = "19000101", "000000"
_WHEN = ("InstanceCreationDate", "InstanceCreationTime", "DateOfSecondaryCapture", "TimeOfSecondaryCapture")
_LONG = 64  # characters of a value of the representation LO


def equipment(result: Outlined) -> dict[str, Any]:
    """Manufacturer, model, versions and serial number, which is the bundle's hash."""
    model = result.model
    return {
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": model.name[:_LONG],
        "software_versions": [f"delineate {model.delineate}"[:_LONG], f"bundle {model.version}"[:_LONG]],
        "device_serial_number": (model.hash or "unknown")[:_LONG],
    }


def numbers(result: Outlined, sources: Sources, kind: str) -> dict[str, Any]:
    """UIDs and numbers of the object and its series; dates are those of the source, so that all is the same twice.

    The series is that of the source, the model and the kind; the object in addition that of its frames and pixels.
    """
    first = sources.headers[0]
    series = (kind, str(first.SeriesInstanceUID))
    named = [tuple(reference) for reference in sources.references.values()]
    structures = [one.as_dict() for one in result.structures]
    date, time = _date(first)
    return {
        "series_instance_uid": result.uid(*series),
        "series_number": _SERIES[kind],
        "sop_instance_uid": result.uid(*series, named, structures, result.seg_type, result.digest()),
        "instance_number": _instance_number(sources),
        "content_date": date,
        "content_time": time,
        "series_description": describe_series(kind, result.model.name),
    }


def describe_series(kind: str, name: str) -> str:
    """What viewers list the series as. A bundle's name is cut where it is too long, what the series is for never."""
    purpose = f" ({RESEARCH})"
    room = _LONG - len(kind) - 1 - len(purpose)
    shown = name if len(name) <= room else f"{name[: room - 3].rstrip()}..."
    return f"{kind.upper()} {shown}{purpose}"


def algorithm(result: Outlined) -> hd.AlgorithmIdentificationSequence:
    """The model, by name, version, hash and thresholds."""
    model = result.model
    return hd.AlgorithmIdentificationSequence(
        name=model.name[:_LONG],
        family=codes.CID7162.ArtificialIntelligence,
        version=model.version[:_LONG],
        source=MANUFACTURER,
        parameters=model.parameters() | ({"bundle SHA-256": model.hash} if model.hash else {}),
    )


def code_of(structure: Structure) -> Code:
    """The structure's code; where it has none, one of our own scheme."""
    if structure.code is not None:
        return coded(structure.code)
    name = structure.name or "foreground"
    return Code((structure.file_name or name)[:16], SCHEME, name[:_LONG])


def coded(code: structures.Code) -> Code:
    """A code of a bundle as pydicom has it."""
    return Code(code.value, code.scheme, code.meaning[:_LONG])


def schemes_of(result: Outlined) -> list[CodingSchemeIdentificationItem] | None:
    """What `SCHEME` is, where it is used."""
    if all(one.code for one in result.structures):
        return None
    name, organisation = "Structures named by a Delineate bundle", "The Delineate developers"
    return [CodingSchemeIdentificationItem(SCHEME, name, responsible_organization=organisation)]


def finish(dataset: Dataset, sources: Sources) -> None:
    """Leave out when the object was made, which would make it another one each time; add what validators want."""
    dataset.SpecificCharacterSet = "ISO_IR 192"
    for keyword in _WHEN:
        dataset.pop(keyword, None)
    for item in dataset.get("ContributingEquipmentSequence") or ():
        item.pop("ContributionDateTime", None)
    if not sources.lie:
        dataset.PatientOrientation = sources.headers[0].get("PatientOrientation")


def _date(header: Dataset) -> tuple[str, str]:
    """When the source was taken, the first that it says."""
    for kind in ("Content", "Acquisition", "Series", "Study"):
        if header.get(f"{kind}Date"):
            return str(header[f"{kind}Date"].value), str(header.get(f"{kind}Time") or _NO_TIME)
    return _NO_DATE, _NO_TIME


def _instance_number(sources: Sources) -> int:
    """Within the series: of the image or of the frame."""
    if len(sources.headers) > 1:
        return 1
    frame = next(iter(sources.references.values())).frame
    number = frame or sources.headers[0].get("InstanceNumber") or 1
    return min(max(1, int(number)), 2**31 - 1)
