"""Files that masks, label maps and probabilities are written to: one module a format, found by the file's ending.

A new format is a module that has what `Writer` has, and a line in `IMAGE_FORMATS` or `VOLUME_FORMATS`: options,
settings and tests follow these.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from ...core.errors import DelineateError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..volumes.volume import Volume

ImageFormat = Literal["png"]
VolumeFormat = Literal["nii.gz", "nii", "nrrd", "mha"]
IMAGE_FORMATS: dict[ImageFormat, str] = {"png": "png"}
VOLUME_FORMATS: dict[VolumeFormat, str] = {"nii.gz": "nifti", "nii": "nifti", "nrrd": "itk", "mha": "itk"}
"""A file's ending to the module here that writes it."""
FORMATS: dict[str, tuple[ImageFormat | VolumeFormat, ...]] = {
    "png": ("png",),
    "nifti": ("nii.gz", "nii"),
    "nrrd": ("nrrd",),
    "mha": ("mha",),
}
"""What people call a format, to the endings of its files."""


class Writer(Protocol):
    """What a module here has."""

    FOREGROUND: int
    """What a mask's foreground is in such files."""

    def write(self, path: Path, pixels: NDArray[Any], like: Volume | None) -> None:
        """Write the whole file, or nothing.

        Args:
            path: the file; its folder exists.
            pixels: uint8 as they are to be in the file, or float32, 0-1: (H, W), or (I, J, K) of a volume.
            like: the volume whose grid they are on.
        """


def writer_of(ending: str) -> Writer:
    """The module that writes files of an ending."""
    return cast("Writer", import_module(f".{(IMAGE_FORMATS | VOLUME_FORMATS)[ending]}", __name__))  # type: ignore[index]


def write_pixels(path: str | Path, pixels: NDArray[Any], like: Volume | None = None) -> Path:
    """Write an image's pixels, or voxels that lie where their source lies; the file is whole or not there.

    Args:
        path: ends in one of `IMAGE_FORMATS`, of a volume one of `VOLUME_FORMATS`; its folder exists.
        pixels: (H, W), or (I, J, K) of a volume; uint8 and boolean as they are, float32 (probabilities, 0-1) as they
            are in volumes, in PNG as 16 bit, 0-65535.
        like: what was segmented, where it is a volume; a NIfTI source must still be there.

    Returns:
        ``path``.

    Raises:
        DelineateError: the name has another ending, or the pixels another shape than their volume.
        InputError: the source's header can no longer be read.
        ValueError: the pixels have another type.
    """
    path, formats = Path(path), tuple(IMAGE_FORMATS if like is None else VOLUME_FORMATS)
    ending = next((one for one in formats if path.name.lower().endswith(f".{one}")), None)
    if ending is None:
        what, names = "images" if like is None else "volumes", " or ".join(f".{one}" for one in formats)
        raise DelineateError(f"{path}: masks of {what} are not written as that; name it {names}")
    if pixels.dtype.name not in ("uint8", "bool", "float32"):
        raise ValueError(f"masks are uint8, boolean or float32, not {pixels.dtype}")
    if like is not None and pixels.shape != like.voxels.shape[:3]:
        shapes = f"a mask of shape {pixels.shape} does not fit {like.source} of shape {like.voxels.shape[:3]}"
        raise DelineateError(f"{path}: {shapes}")
    writer_of(ending).write(path, pixels.view("uint8") if pixels.dtype.name == "bool" else pixels, like)
    return path
