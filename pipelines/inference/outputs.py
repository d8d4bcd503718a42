"""One result, and the files it is written to."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..core.errors import DelineateError, printable
from ..imaging.dicom import SpacingKind
from ..imaging.overlay import draw_outline
from ..imaging.pictures import write_png
from ..imaging.reading import open_volume, read_picture
from ..imaging.volumes.planes import Affine, plane_axis, put_plane, take_plane
from ..imaging.volumes.slicing import Axis, Slicing
from ..imaging.volumes.volume import Volume
from ..imaging.volumes.writing import write_volume

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Item = Mapping[Any, Any]
VolumeFormat = Literal["nii.gz", "nii", "nrrd", "mha"]
ENDINGS = (
    "_overlay.png",
    *(f"_{kind}.{ending}" for kind in ("mask", "probability") for ending in ("png", *get_args(VolumeFormat))),
)
"""Of the files that a result may be written to."""

_UID = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))*")  # PS3.5, 9.1

PLANES: Mapping[SpacingKind | None, str] = {
    "detector": " in the detector plane, not corrected for magnification",
    "region": " by the calibration of its ultrasound region",
}


@dataclass(frozen=True, repr=False, eq=False)  # arrays are too long to show, and have no one truth to compare
class Segmentation:
    """The outline in one image, or in one volume.

    Attributes:
        source: the image file; of a DICOM series the folder.
        name: relative path without suffix that outputs are named after.
        mask: uint8, 0 or 1, on the source's own grid: (H, W), EXIF orientation applied; of a volume (I, J, K), as in
            `Volume`.
        probability: float32, 0-1, of the mask's shape.
        spacing: distances in mm between rows and columns, or of a volume's voxels along I, J, K; ``None`` where the
            source does not tell.
        item: what names the image: its files or the array itself (``image``), its place within (``slice``, ``series``).
        slicing: how it was read.
        volume: the source's voxels and grid, where it is a volume.
        spacing_kind: of a DICOM image, where its distances hold: in the ``patient``; on the ``detector``, not corrected
            for magnification; in the calibrated ``region`` of an ultrasound image.
    """

    source: str
    name: str
    mask: NDArray[np.uint8]
    probability: NDArray[np.float32]
    spacing: tuple[float, ...] | None = None
    item: Mapping[str, Any] = field(default_factory=dict)
    slicing: Slicing = field(default_factory=Slicing)
    volume: Volume | None = None
    spacing_kind: SpacingKind | None = None

    @classmethod
    def from_output(cls, output: Item) -> Segmentation:
        """From one item after postprocessing: ``image`` (for its meta), ``name``, ``pred``, ``probability``."""
        meta = output["image"].meta
        source = str(meta["filename_or_obj"])
        image = output.get("held") or (json.loads(meta["files"]) if "files" in meta else source)
        pixels = {key: np.asarray(output[key].detach().cpu())[0] for key in ("pred", "probability")}
        return cls(
            source,
            str(output.get("name", Path(source).stem)),
            pixels["pred"].astype(np.uint8),
            pixels["probability"].astype(np.float32),
            tuple(json.loads(meta["spacing"])) if "spacing" in meta else None,
            {"image": image} | {key: meta[key] for key in ("slice", "series") if key in meta},
            Slicing.of(json.loads(meta.get("slicing", "{}"))),
            spacing_kind=meta.get("spacing_kind"),
        )

    @property
    def size(self) -> tuple[float, str]:
        """How much is foreground, and its unit: mm² (and where they hold), ml; without spacing, pixels or voxels."""
        count = int(self.mask.sum())
        if self.spacing is None:
            return count, "pixels" if self.volume is None else "voxels"
        size = count * prod(self.spacing)
        return (size, f"mm²{PLANES.get(self.spacing_kind, '')}") if self.volume is None else (size / 1000, "ml")

    @property
    def extent(self) -> str:
        """How much is foreground, as people read it: 24 pixels, 4.4 mm²; 120 voxels, 0.36 ml."""
        size, unit = self.size
        count = f"{int(self.mask.sum())} {'pixels' if self.volume is None else 'voxels'}"
        if self.spacing is None:
            return f"{count}; pixel size unknown"
        return f"{count}, {size:.1f} {unit}" if self.volume is None else f"{count}, {size:.2f} {unit}"

    @property
    def series(self) -> str:
        """The SeriesInstanceUID of a DICOM series; in place of one that is no UID, and may say anything, a hash."""
        uid = str(self.item.get("series", ""))
        return (
            uid
            if not uid or (len(uid) <= 64 and _UID.fullmatch(uid))
            else f"no UID, SHA-256 {sha256(uid.encode()).hexdigest()[:16]}"
        )

    @property
    def label(self) -> str:
        """The source as it is printed, told from others in the same folder or file: its series, its frame from 1."""
        if self.volume is not None:
            return printable(self.source) + (f" (series {self.series})" if Path(self.source).is_dir() else "")
        frame = self.item.get("slice")
        return printable(self.source) + (f" (frame {frame + 1})" if isinstance(frame, int) else "")

    def __repr__(self) -> str:
        return f"<Segmentation of {self.source}: {' x '.join(map(str, self.mask.shape))}, {self.extent}>"

    def save(self, target: str | Path, **options: Any) -> Path:
        """Write the mask; no ``results.csv``, which only ``delineate segment`` and stock MONAI write.

        Args:
            target: a folder, which gets what `write_segmentation` writes; or the mask's own file, ``.png`` (0/255) of
                an image, ``.nii.gz``, ``.nii``, ``.nrrd`` or ``.mha`` (0/1) of a volume.
            options: of a folder: ``overlay``, ``probability``, ``volume_format`` as for `write_segmentation`.

        Returns:
            the mask's path.

        Raises:
            DelineateError: the file's ending is another.
        """
        target = Path(target)
        if target.is_dir() or not target.suffix:
            return write_segmentation(self, target, **options)
        if options:
            raise DelineateError(f"{target} is the mask's own file; name a folder for {', '.join(options)}")
        if self.volume is None and target.suffix.lower() != ".png":
            raise DelineateError(f"{target}: masks of images are written as PNG; name it .png, or name a folder")
        target.parent.mkdir(parents=True, exist_ok=True)
        if self.volume is not None:
            return write_volume(target, self.mask, self.volume)
        write_png(target, self.mask * np.uint8(255))
        return target

    def overlay(self) -> NDArray[np.uint8]:
        """The image, of a volume the slice with most foreground, with the outline drawn in: (H, W, 3), 0-255."""
        if self.volume is None:
            return draw_outline(read_picture({"image": self.source, **self.item}, self.slicing), self.mask)
        affine, axis = _grid(self)
        along = plane_axis(affine, axis)
        index = int(self.mask.sum(axis=tuple({0, 1, 2} - {along})).argmax())
        plane = take_plane(self.mask, affine, axis, index)
        return draw_outline(read_picture({**self.item, "slice": index}, self.slicing), plane)

    def plot(self, axes: Axes | None = None) -> Figure:
        """Show `overlay` with matplotlib; needs no display, and leaves no figure open behind it.

        Args:
            axes: where to; a new figure where ``None``.

        Returns:
            the figure; ``savefig`` writes it, and a notebook shows it.
        """
        if axes is None:
            from matplotlib.figure import Figure

            axes = Figure(layout="constrained").subplots()
        axes.imshow(self.overlay())
        axes.set_title(f"{self.name}: {self.extent}", fontsize="small")
        axes.set_axis_off()
        return axes.figure.canvas.figure


class Assembler:
    """Puts the results of a volume's slices together; those of other images pass.

    A volume is given out when all its slices have come; one with a slice that was refused never is.
    """

    def __init__(self) -> None:
        self._open: dict[str, tuple[Segmentation, int]] = {}

    def add(self, output: Item) -> Segmentation | None:
        """Take one item after postprocessing.

        Returns:
            the result of the image, or of the volume that it completes; ``None`` where slices are still to come.
        """
        plane, meta = Segmentation.from_output(output), output["image"].meta
        if "slices" not in meta:
            return plane
        whole, done = self._open.pop(plane.name) if plane.name in self._open else (_empty(plane), 0)
        affine, axis = _grid(whole)
        for voxels, pixels in ((whole.mask, plane.mask), (whole.probability, plane.probability)):
            put_plane(voxels, affine, axis, meta["slice"], pixels)
        if done + 1 == meta["slices"]:
            return whole
        self._open[plane.name] = (whole, done + 1)
        return None


def _grid(result: Segmentation) -> tuple[Affine, Axis]:
    """Where a volume lies, and along what it is cut."""
    assert result.volume is not None
    assert result.slicing.axis is not None  # nobody could have read a slice without
    return result.volume.affine, result.slicing.axis


def _empty(plane: Segmentation) -> Segmentation:
    """A volume's result with no foreground yet."""
    volume = open_volume(plane.item, Path(plane.source))
    grid = volume.voxels.shape[:3]
    spacing = tuple(np.linalg.norm(volume.affine[:3, :3], axis=0).tolist())
    empty = np.zeros(grid, np.uint8), np.zeros(grid, np.float32)
    return Segmentation(plane.source, plane.name, *empty, spacing, plane.item, plane.slicing, volume)


def write_segmentation(
    result: Segmentation,
    folder: str | Path,
    *,
    overlay: bool = False,
    probability: bool = False,
    volume_format: VolumeFormat = "nii.gz",
) -> Path:
    """Write ``NAME_mask.png`` (0/255) or, of a volume, ``NAME_mask.nii.gz`` (0/1); more where asked.

    Args:
        result: one segmented image or volume.
        folder: where to; folders below it are made as ``result.name`` asks.
        overlay: also ``NAME_overlay.png``, the image (of a volume the slice with most foreground) with the outline.
        probability: also ``NAME_probability.png``, 16 bit, 0-65535 for 0-1; of a volume ``NAME_probability.nii.gz``,
            float32.
        volume_format: ``nii.gz``, ``nii``, ``nrrd`` or ``mha``.

    Returns:
        the mask's path.
    """
    return write_outputs(result, folder, overlay=overlay, probability=probability, volume_format=volume_format)["mask"]


def write_outputs(
    result: Segmentation, folder: str | Path, *, overlay: bool, probability: bool, volume_format: VolumeFormat
) -> dict[str, Path]:
    """As `write_segmentation`; returns the paths of ``mask``, ``overlay`` and ``probability``, as far as written."""
    base = Path(folder) / result.name
    base.parent.mkdir(parents=True, exist_ok=True)
    kinds = ["overlay"] * overlay + ["probability"] * probability + ["mask"]
    ending = "png" if result.volume is None else volume_format
    paths = {kind: base.with_name(f"{base.name}_{kind}.{'png' if kind == 'overlay' else ending}") for kind in kinds}
    if overlay:
        write_png(paths["overlay"], result.overlay())
    if result.volume is not None:
        if probability:
            write_volume(paths["probability"], result.probability, result.volume)
        write_volume(paths["mask"], result.mask, result.volume)
        return paths
    if probability:
        write_png(paths["probability"], np.round(result.probability * 65535).astype(np.uint16))
    write_png(paths["mask"], result.mask * np.uint8(255))
    return paths
