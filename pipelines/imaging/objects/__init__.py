"""DICOM objects that results are written as: one module a format, with a function ``build``.

Unlike the files of `writers`, an object holds all structures of a result, and belongs to the patient, the study and
the images that it is of. highdicom, which builds them, is imported only when one is asked for.
"""

from __future__ import annotations

from importlib import import_module
from io import BytesIO
from typing import TYPE_CHECKING, Literal, get_args

from ....installation import install
from ...core.errors import DelineateError, InputError
from ..dicom.parsing import printable, quiet
from .outlined import UNKNOWN, Model, Outlined, Picture, SegType

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = [
    "OBJECT_FORMATS",
    "SEG_TYPES",
    "UNKNOWN",
    "Model",
    "ObjectFormat",
    "Outlined",
    "Picture",
    "SegType",
    "encode",
    "refuse_missing",
]

ObjectFormat = Literal["seg", "sc", "sr"]
OBJECT_FORMATS: dict[ObjectFormat, str] = {"seg": "seg", "sc": "capture", "sr": "report"}
"""A format to the module here that builds it; its files end in ``_seg.dcm``, ``_sc.dcm``, ``_sr.dcm``."""
SEG_TYPES: tuple[SegType, ...] = get_args(SegType)

_NEEDED = "needs a DICOM source"


def refuse_missing() -> None:
    """See that highdicom is there.

    Raises:
        DelineateError: it is not.
    """
    try:
        import highdicom  # noqa: F401
    except ImportError as error:
        reason = "DICOM objects are built by highdicom, which is not installed"
        raise DelineateError(f"{reason}; {install('dicom')}") from error


def encode(kind: ObjectFormat, result: Outlined) -> bytes:
    """A result as a DICOM file; the same result of the same model always gives the same bytes.

    Args:
        kind: one of `OBJECT_FORMATS`.
        result: what is in it.

    Raises:
        DelineateError: highdicom is not installed.
        InputError: the source is no DICOM, or its header is not sound enough to be referred to.
    """
    refuse_missing()
    if not result.frames:
        remedy = f"segment it apart, without {kind} in the formats: its mask is written as png or nifti"
        raise InputError(result.source, f"is no DICOM, and {kind.upper()} {_NEEDED}", remedy)
    stream = BytesIO()
    with quiet():
        try:
            dataset: Dataset = import_module(f".{OBJECT_FORMATS[kind]}", __name__).build(result)
            dataset.save_as(stream, enforce_file_format=True)
        except (ValueError, TypeError, AttributeError, KeyError, IndexError, OverflowError) as error:
            reason = f"cannot be put into a DICOM {kind.upper()} ({printable(error)})"
            raise InputError(result.source, reason, "export it again with a sound header") from error
    return stream.getvalue()
