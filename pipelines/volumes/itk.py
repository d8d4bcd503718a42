"""MetaImage (MHA, MHD) and NRRD, by SimpleITK; its LPS+ is turned into RAS+.

Headers are also read here. A header may name any file of the machine as its data, and MetaIO takes damaged data with
no more than a line on stderr; both are refused first.
"""

from __future__ import annotations

import logging
import re
import zlib
from io import BytesIO
from math import prod
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ..errors import InputError
from .grids import Grid, plain, voxel_shape
from .volume import Volume

sitk.ProcessObject.SetGlobalWarningDisplay(False)  # what matters comes as exceptions, or is checked here

logger = logging.getLogger(__name__)
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""From LPS+ to RAS+, and back."""

_MOST_HEADER = 2**20
_DAMAGED = "copy or download it again"


def read_itk_grid(path: Path) -> Grid:
    """Shape and affine; see `formats.read_grid`."""
    reader = _reader(path)
    return Grid(_shape(path, reader), _affine(path, reader))


def read_itk(path: Path) -> Volume:
    """Voxels; see `formats.read_volume`."""
    reader = _reader(path)
    shape, affine = _shape(path, reader), _affine(path, reader)
    if reader.GetImageIO() == "MetaImageIO":
        _refuse_damaged(path, reader)
    elif not reader.HasMetaDataKey("NRRD_space"):
        logger.warning(f"{path}: has no orientation (no space); taken as left-posterior-superior")
    image = reader.Execute()
    values = sitk.GetArrayFromImage(image)  # the axes of space reversed, then channels
    axes = image.GetDimension()
    voxels = values.transpose(*reversed(range(axes)), *range(axes, values.ndim)).reshape(shape)
    return Volume(path, plain(voxels), affine)


def _reader(path: Path) -> sitk.ImageFileReader:
    """A reader that knows the header."""
    meta = path.suffix.lower() in {".mha", ".mhd"}
    name = _meta_fields(path)[0]["ElementDataFile"] if meta else _nrrd_data_file(path)
    if name.lower() != "local":
        _refuse_elsewhere(path, name)
    reader = sitk.ImageFileReader()
    reader.SetImageIO("MetaImageIO" if meta else "NrrdImageIO")
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    return reader


def _shape(path: Path, reader: sitk.ImageFileReader) -> tuple[int, ...]:
    if "complex" in sitk.GetPixelIDValueAsString(reader.GetPixelID()):
        raise InputError(path, "has complex numbers", "save real numbers")
    return voxel_shape(path, reader.GetSize(), reader.GetNumberOfComponents())


def _affine(path: Path, reader: sitk.ImageFileReader) -> NDArray[np.float64]:
    """(4, 4), to mm in RAS+; axes beyond the third have no place in it."""
    axes = reader.GetDimension()
    steps = np.array(reader.GetDirection()).reshape(axes, axes) * reader.GetSpacing()
    if steps[:3, 3:].any():
        raise InputError(path, "has channels that lie in different places", "save each as a volume of its own")
    affine = np.eye(4)
    affine[: min(axes, 3), : min(axes, 3)] = steps[:3, :3]
    affine[: min(axes, 3), 3] = reader.GetOrigin()[:3]
    return LPS @ affine


def _header(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_MOST_HEADER)


def _meta_fields(path: Path) -> tuple[dict[str, str], int]:
    """The fields of a MetaImage header, and where it ends: with the name of the data."""
    fields: dict[str, str] = {}
    end = 0
    for line in BytesIO(_header(path)):
        field = re.fullmatch(rb"\s*([^=:]+?)\s*[=:]\s*(.*?)\s*", line)
        if not field or "ElementDataFile" in fields:
            break
        fields[field[1].decode(errors="replace")] = field[2].decode(errors="replace")
        end += len(line)
    missing = [name for name in ("NDims", "DimSize", "ElementType", "ElementDataFile") if name not in fields]
    if missing:
        raise InputError(path, f"is no MetaImage: its header has no {missing[0]}", _DAMAGED)
    return fields, end


def _nrrd_data_file(path: Path) -> str:
    """The file that a NRRD header names for its data, or ``local``."""
    head = re.split(rb"\r?\n\r?\n", _header(path), maxsplit=1)[0]
    names = re.findall(rb"^\s*data ?file\s*:\s*(.*?)\s*$", head.replace(b"\r", b"\n"), re.IGNORECASE | re.MULTILINE)
    if len(names) > 1:
        raise InputError(path, "names its data file more than once", "save it as one file")
    return names[0].decode(errors="replace") if names else "local"


def _refuse_elsewhere(path: Path, name: str) -> None:
    """The data must be one file, in the folder of the header or below."""
    if "%" in name or re.match(r"list\b", name, re.IGNORECASE):
        raise InputError(path, f"keeps its data in several files ({name})", "save it as one file")
    if not (path.parent / name).resolve().is_relative_to(path.parent.resolve()):
        raise InputError(path, f"names a data file outside its folder ({name})", "save it as one file")
    if not (path.parent / name).is_file():
        raise InputError(path, f"names a data file that does not exist ({name})", "add it")


def _refuse_damaged(path: Path, reader: sitk.ImageFileReader) -> None:
    """The data of a MetaImage must be as many bytes as its header says, and sound if compressed."""
    fields, start = _meta_fields(path)
    local = fields["ElementDataFile"].lower() == "local"
    file = path if local else path.parent / fields["ElementDataFile"]
    begin = start if local else max(0, int(fields.get("HeaderSize", 0)))
    held = file.stat().st_size - begin
    component = sitk.Image([1, 1], reader.GetPixelID(), reader.GetNumberOfComponents()).GetSizeOfPixelComponent()
    size = prod(reader.GetSize()) * reader.GetNumberOfComponents() * component
    if fields.get("BinaryData", "True")[:1] not in "Tt1":
        raise InputError(path, "holds its voxels as text", "save it in binary form")
    if fields.get("CompressedData", "False")[:1] in "Tt1":
        stored = int(fields.get("CompressedDataSize", -1 if local else held))
        whole = 0 < stored <= held and _inflates_to(size, file, begin, stored)
    else:
        whole = held >= size
    if not whole:
        raise InputError(path, f"is cut off or damaged: its header declares {size} bytes of voxels", _DAMAGED)


def _inflates_to(size: int, file: Path, begin: int, stored: int) -> bool:
    """Whether compressed bytes are sound and inflate to ``size``; nothing is inflated beyond."""
    with file.open("rb") as stream:
        stream.seek(begin)
        inflater = zlib.decompressobj(zlib.MAX_WBITS | 32)  # zlib or gzip
        return len(inflater.decompress(stream.read(stored), size + 1)) == size and inflater.eof
