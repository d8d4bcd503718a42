"""One result, and the files it is written to."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..core.errors import DelineateError, InputError, UnknownNameError, printable
from ..core.files import write_atomically
from ..imaging.dicom import SpacingKind
from ..imaging.item import Item
from ..imaging.objects import OBJECT_FORMATS, UNKNOWN, Model, ObjectFormat, Outlined, Picture, SegType, encode
from ..imaging.overlay import add_warning, draw_structures
from ..imaging.pictures import write_png
from ..imaging.reading import read_picture
from ..imaging.structures import Structure, join_labels
from ..imaging.volumes.planes import Affine, plane_axis, take_plane
from ..imaging.volumes.slicing import Axis, Slicing
from ..imaging.volumes.volume import Volume
from ..imaging.writers import VolumeFormat, write_pixels, writer_of
from .familiarity import UNLIKE, noted_distance
from .files import KEPT_KINDS, OutputOptions, file_endings
from .objects import frames_of, slice_picture, spacing_of, stacked
from .records import changed_in, refuse_changed, refuse_others_work

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Fields = Mapping[Any, Any]
UNNAMED = Structure("")
"""The structure of a bundle that names none: it has one."""

_Value = TypeVar("_Value")
_UID = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))*")  # PS3.5, 9.1

PLANES: Mapping[SpacingKind | None, str] = {
    "detector": " in the detector plane, not corrected for magnification",
    "region": " by the calibration of its ultrasound region",
}


class UnknownStructureError(UnknownNameError, KeyError):
    """A structure that a result does not have."""

    __str__ = Exception.__str__  # a KeyError's is its argument in quotes


class ByStructure(dict[str, _Value]):
    """What a result has of each structure, by its name.

    Raises:
        UnknownStructureError: no structure has the name that is asked for.
    """

    def __missing__(self, name: str) -> _Value:
        unnamed = None if any(self) else "there is one, and it has no name"
        raise UnknownStructureError("structure", str(name), self, unnamed)


@dataclass(frozen=True, repr=False, eq=False)  # arrays are too long to show, and have no one truth to compare
class Segmentation:
    """The outlines in one image, or in one volume.

    Attributes:
        source: the image file; of a DICOM series the folder.
        name: relative path without suffix that outputs are named after.
        masks: of each structure, by its name: uint8, 0 or 1, on the source's own grid: (H, W), EXIF orientation
            applied; of a volume (I, J, K), as in `Volume`.
        probabilities: of each structure, by its name: float32, 0-1, of the mask's shape.
        structures: in the order of the network's channels; a bundle that names none has one, whose name is empty.
        spacing: distances in mm between rows and columns, or of a volume's voxels along I, J, K; ``None`` where the
            source does not tell.
        item: what names the image: its files or the array itself (``image``), its place within (``slice``, ``series``).
        slicing: how it was read.
        volume: the source's voxels and grid, where it is a volume.
        spacing_kind: of a DICOM image, where its distances hold: in the ``patient``; on the ``detector``, not corrected
            for magnification; in the calibrated ``region`` of an ultrasound image.
        model: what made it.
        feature_distance: how far what the network sees in the image is from what it saw in training; 1 is the limit of
            what is familiar. Of a volume the median over its slices; ``None`` where the bundle has no such check.
    """

    source: str
    name: str
    masks: Mapping[str, NDArray[np.uint8]]
    probabilities: Mapping[str, NDArray[np.float32]]
    item: Item
    structures: tuple[Structure, ...] = (UNNAMED,)
    spacing: tuple[float, ...] | None = None
    slicing: Slicing = field(default_factory=Slicing)
    volume: Volume | None = None
    spacing_kind: SpacingKind | None = None
    model: Model = UNKNOWN
    feature_distance: float | None = None

    def __post_init__(self) -> None:
        for name in ("masks", "probabilities"):
            object.__setattr__(self, name, ByStructure(getattr(self, name)))

    @classmethod
    def from_output(
        cls, output: Fields, structures: Sequence[Structure] = (), model: Model | None = None
    ) -> Segmentation:
        """From one item after postprocessing: ``image`` (for its meta), ``name``, ``pred``, ``probability`` (S, H, W).

        Args:
            output: the item.
            structures: of the channels; none where there is one, which has no name.
            model: what made it, where that is known.
        """
        meta = output["image"].meta
        source = str(meta["filename_or_obj"])
        image = output.get("held") or (json.loads(meta["files"]) if "files" in meta else source)
        listed = tuple(structures) or (UNNAMED,)
        pixels = {key: _as_array(output[key]) for key in ("pred", "probability")}
        return cls(
            source,
            str(output.get("name", Path(source).stem)),
            {one.name: pixels["pred"][channel].astype(np.uint8, copy=False) for channel, one in enumerate(listed)},
            {
                one.name: pixels["probability"][channel].astype(np.float32, copy=False)
                for channel, one in enumerate(listed)
            },
            Item.from_fields({"image": image} | {key: meta[key] for key in ("slice", "series") if key in meta}),
            listed,
            tuple(json.loads(meta["spacing"])) if "spacing" in meta else None,
            Slicing.of(json.loads(meta.get("slicing", "{}"))),
            spacing_kind=meta.get("spacing_kind"),
            model=model or UNKNOWN,
            feature_distance=noted_distance(output["image"]),
        )

    @property
    def familiar(self) -> bool | None:
        """Whether the image is like those that the network was trained with; ``None`` where there is no such check.

        Where it is not, the mask is not to be relied on. Where it is, the mask may still be wrong.
        """
        return None if self.feature_distance is None else self.feature_distance <= 1

    @property
    def mask(self) -> NDArray[np.uint8]:
        """The mask where there is one structure.

        Raises:
            DelineateError: there are several.
        """
        return self.masks[self._only("masks")]

    @property
    def probability(self) -> NDArray[np.float32]:
        """The probabilities where there is one structure.

        Raises:
            DelineateError: there are several.
        """
        return self.probabilities[self._only("probabilities")]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of each mask: (H, W), or (I, J, K) of a volume."""
        return next(iter(self.masks.values())).shape

    @property
    def sizes(self) -> Mapping[str, tuple[float, str]]:
        """How much each structure covers, and the unit: mm² (and where they hold), ml; else pixels, voxels."""
        counts = {name: int(mask.sum()) for name, mask in self.masks.items()}
        if self.spacing is None:
            return ByStructure((name, (count, self._points)) for name, count in counts.items())
        if self.volume is not None:
            return ByStructure((name, (count * prod(self.spacing) / 1000, "ml")) for name, count in counts.items())
        unit = f"mm²{PLANES.get(self.spacing_kind, '')}"
        return ByStructure((name, (count * prod(self.spacing), unit)) for name, count in counts.items())

    @property
    def size(self) -> tuple[float, str]:
        """As `sizes`, where there is one structure.

        Raises:
            DelineateError: there are several.
        """
        return self.sizes[self._only("sizes")]

    @property
    def extent(self) -> str:
        """How much is foreground, as people read it: ``24 pixels, 4.4 mm²``; ``heart 24 pixels; lung 8 pixels``."""
        known = self.spacing is not None
        return "; ".join(filter(None, [*map(self._extent, self.masks), "" if known else "pixel size unknown"]))

    def _extent(self, name: str) -> str:
        label = f"{name} " if len(self.masks) > 1 else ""
        count = f"{label}{int(self.masks[name].sum())} {self._points}"
        size, unit = self.sizes[name]
        return count if self.spacing is None else f"{count}, {size:.{1 if self.volume is None else 2}f} {unit}"

    @property
    def _points(self) -> str:
        return "pixels" if self.volume is None else "voxels"

    def _only(self, wanted: str) -> str:
        """The name of the only structure."""
        if len(self.masks) > 1:
            names = ", ".join(self.masks)
            raise DelineateError(
                f"{self.label} has {len(self.masks)} structures ({names}); take one, e.g. "
                f"result.{wanted}[{next(iter(self.masks))!r}]"
            )
        return next(iter(self.masks))

    @property
    def series(self) -> str:
        """As `series_of`."""
        return series_of(self.item)

    @property
    def label(self) -> str:
        """The source as it is printed, told from others in the same folder or file: its series, its frame from 1."""
        if self.volume is not None:
            return printable(self.source) + (f" (series {self.series})" if Path(self.source).is_dir() else "")
        frame = self.item.slice
        return printable(self.source) + ("" if frame is None else f" (frame {frame + 1})")

    def __repr__(self) -> str:
        return f"<Segmentation of {self.source}: {' x '.join(map(str, self.shape))}, {self.extent}>"

    def file_endings(self, options: OutputOptions) -> list[dict[str, str]]:
        """How the names of its files end: of each structure ``mask``, ``overlay`` and ``probability``, as asked for."""
        return file_endings(self.structures, self._ending(options), options)

    def refuse_formats(self, options: OutputOptions) -> None:
        """See that a mask is written in a format that is asked for.

        Raises:
            InputError: none of those takes an image, or none a volume.
        """
        if options.pixel_formats and not options.writes_masks(self.volume is not None):
            what, need = ("an image", "png") if self.volume is None else ("a volume", "nifti")
            reason = f"is {what}, whose mask is not written as {' or '.join(options.pixel_formats)}"
            raise InputError(self.source, reason, f"add {need} to the formats")

    def pixel_values(self, options: OutputOptions) -> list[np.uint8]:
        """What each structure's pixels are in the file of its mask."""
        if options.label_map or not options.writes_masks(self.volume is not None):  # segments are numbered likewise
            return [np.uint8(value) for value in range(1, len(self.masks) + 1)]
        return [np.uint8(writer_of(self._ending(options)).FOREGROUND)] * len(self.masks)

    def _ending(self, options: OutputOptions) -> str:
        return "png" if self.volume is None else options.volume_ending

    def save(self, target: str | Path, **options: Any) -> Path:
        """Write the masks; no ``results.csv``, which only ``delineate segment`` and stock MONAI write.

        Args:
            target: a folder, which gets what `write_segmentation` writes; or a file of its own, for the mask of the
                one structure or, with ``label_map=True``, for the label map: ``.png`` of an image, ``.nii.gz``,
                ``.nii``, ``.nrrd`` or ``.mha`` of a volume; or, with ``formats="seg"``, for that object: ``.dcm``.
            options: of a folder: ``overlay``, ``probability``, ``volume_format``, ``label_map``, ``formats``,
                ``seg_type`` as for `write_segmentation`.

        Returns:
            the mask's path; of several masks that of the first.

        Raises:
            InputError: a mask of that name is there that is not, or no longer, as Delineate drew it, or a file that
                was changed since the folder's ``results.csv`` says it was written: it would be lost.
            DelineateError: the file's ending is another; there are several structures for one file, or they overlap.
        """
        target = Path(target)
        if target.is_dir() or not target.suffix:
            endings = self.file_endings(OutputOptions.of(**options))
            kept = [f"{self.name}{each[kind]}" for each in endings for kind in KEPT_KINDS if kind in each]
            refuse_changed(self.source, changed_in(target, kept))
            masks = [f"{self.name}{each['mask']}" for each in endings if "mask" in each]
            refuse_others_work(self.source, target, masks)
            return write_segmentation(self, target, **options)
        if target.suffix.lower() == ".dcm":
            return _save_object(self, target, OutputOptions.of(**options))
        as_map = options.pop("label_map", False)
        if options:
            raise DelineateError(f"{target} is the mask's own file; name a folder for {', '.join(options)}")
        if len(self.masks) > 1 and not as_map:
            several = f"{len(self.masks)} structures ({', '.join(self.masks)})"
            raise DelineateError(f"{target} is one file for {several}; name a folder, or add label_map=True")
        pixels = join_labels(self.source, self.masks) if as_map else self.mask * self.pixel_values(OutputOptions())[0]
        refuse_others_work(self.source, target.parent, [target.name])
        target.parent.mkdir(parents=True, exist_ok=True)
        return write_pixels(target, pixels, self.volume)

    def overlay(self) -> NDArray[np.uint8]:
        """The image, of a volume the slice with most foreground, with the outlines drawn in: (H, W, 3), 0-255.

        Of several structures each has its colour, and their names stand below the image: see `draw_structures`.
        Below an image that is not `familiar` it is said so. The image's pixels stay where they are.
        """
        drawn = self._with_outlines()
        return add_warning(drawn, f"{UNLIKE}: check by eye") if self.familiar is False else drawn

    def _with_outlines(self) -> NDArray[np.uint8]:
        if self.volume is None:
            picture = read_picture(self.item, self.slicing)
            return draw_structures(picture, list(self.masks.values()), self.structures)
        (affine, axis), index = grid_of(self), self.shown_slice
        planes = [take_plane(mask, affine, axis, index) for mask in self.masks.values()]
        return draw_structures(read_picture(replace(self.item, slice=index), self.slicing), planes, self.structures)

    @property
    def shown_slice(self) -> int:
        """Of a volume, the slice with most foreground along the axis that it is cut along."""
        affine, axis = grid_of(self)
        others = tuple({0, 1, 2} - {plane_axis(affine, axis)})
        return int(np.sum([mask.sum(axis=others, dtype=np.int64) for mask in self.masks.values()], axis=0).argmax())

    def outlined(self, seg_type: SegType = "binary") -> Outlined:
        """On the frames of the source, as DICOM objects hold it; without frames where the source is no DICOM.

        Raises:
            InputError: a file of the source is no longer there, or can no longer be read.
        """
        frames = frames_of(self.item, self.volume is not None)
        masks, probabilities = stacked(self.masks), stacked(self.probabilities)
        facts = (self.source, frames, masks, probabilities, self.structures, self.model, self._picture, seg_type)
        return Outlined(*facts, spacing_of(self.spacing, self.spacing_kind))

    def _picture(self) -> Picture:
        if self.volume is None:
            return Picture(self.overlay(), [0])
        return slice_picture(self.overlay(), *grid_of(self), self.shown_slice, self.shape[2])

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
        title = f"{self.name}: {self.extent}"
        axes.set_title(title if len(self.masks) == 1 else title.replace("; ", "\n"), fontsize="small")
        axes.set_axis_off()
        return axes.figure.canvas.figure


def _as_array(pixels: Any) -> NDArray[Any]:
    """Of torch's, which may be on a GPU, or numpy's."""
    return np.asarray(pixels.detach().cpu() if hasattr(pixels, "detach") else pixels)


def series_of(item: Item) -> str:
    """The SeriesInstanceUID of a DICOM series; in place of one that is no UID, and may say anything, a hash."""
    uid = item.series or ""
    if not uid or (len(uid) <= 64 and _UID.fullmatch(uid)):
        return uid
    return f"no UID, SHA-256 {sha256(uid.encode()).hexdigest()[:16]}"


def grid_of(result: Segmentation) -> tuple[Affine, Axis]:
    """Where a volume lies, and along what it is cut."""
    assert result.volume is not None
    assert result.slicing.axis is not None  # nobody could have read a slice without
    return result.volume.affine, result.slicing.axis


def write_segmentation(
    result: Segmentation,
    folder: str | Path,
    *,
    overlay: bool = False,
    probability: bool = False,
    volume_format: VolumeFormat = "nii.gz",
    label_map: bool = False,
    formats: str | Sequence[str] | None = None,
    seg_type: SegType = "binary",
) -> Path:
    """Write ``NAME_mask.png`` (0/255) or, of a volume, ``NAME_mask.nii.gz`` (0/1); more where asked.

    Of several structures each has its files: ``NAME_left_lung_mask.png``, ``NAME_heart_mask.png``.

    Args:
        result: one segmented image or volume.
        folder: where to; folders below it are made as ``result.name`` asks.
        overlay: also ``NAME_overlay.png``, the image (of a volume the slice with most foreground) with the outlines.
        probability: also ``NAME_probability.png``, 16 bit, 0-65535 for 0-1; of a volume ``NAME_probability.nii.gz``,
            float32.
        volume_format: ``nii.gz``, ``nii``, ``nrrd`` or ``mha``.
        label_map: instead of masks ``NAME_labels.png`` or ``NAME_labels.nii.gz``, in which the structures are 1, 2, 3
            ... in their order; refused where they overlap.
        formats: what is written instead of masks alone: ``"png"`` (of images), ``"nifti"``, ``"nrrd"``, ``"mha"`` (of
            volumes), ``"seg"``, ``"sc"``, ``"sr"`` (DICOM objects ``NAME_seg.dcm`` ..., of a DICOM source; ``sr``
            names the segments of ``seg`` and brings it); one, or several.
        seg_type: of a SEG: ``binary``, ``fractional`` (probabilities) or ``labelmap`` (refused where they overlap).

    Returns:
        the mask's path, of several masks that of the first; of objects alone that of the first.

    Raises:
        InputError: structures overlap where a label map is wanted; the source is no DICOM where an object is.
        DelineateError: there is no such format, or highdicom is not installed.
    """
    options = OutputOptions.of(
        formats,
        overlay=overlay,
        probability=probability,
        volume_format=volume_format,
        label_map=label_map,
        seg_type=seg_type,
    )
    return main_files(write_outputs(result, folder, options))[0]


def main_files(written: Sequence[Mapping[str, Path]]) -> list[Path]:
    """Of what was written the masks, one a structure, then the DICOM objects."""
    masks = [files["mask"] for files in written if "mask" in files]
    return list(dict.fromkeys([*masks, *(written[0][kind] for kind in OBJECT_FORMATS if kind in written[0])]))


def write_outputs(result: Segmentation, folder: str | Path, options: OutputOptions) -> list[dict[str, Path]]:
    """As `write_segmentation`; returns of each structure the paths of ``mask``, ``overlay`` and ``probability``.

    Raises:
        InputError: structures overlap where a label map is wanted, the source is no DICOM where an object is, or no
            format takes it; nothing is written then.
    """
    result.refuse_formats(options)
    base = Path(folder) / result.name
    endings = result.file_endings(options)
    paths = [{kind: base.with_name(f"{base.name}{ending}") for kind, ending in one.items()} for one in endings]
    masks = options.writes_masks(result.volume is not None)
    labels = join_labels(result.source, result.masks) if options.label_map and masks else None
    objects = {kind: encode_object(result, kind, options.seg_type) for kind in options.objects}
    base.parent.mkdir(parents=True, exist_ok=True)
    if options.overlay:
        write_png(paths[0]["overlay"], result.overlay())
    for files, name, value in zip(paths, result.masks, result.pixel_values(options), strict=True):
        if options.probability:
            write_pixels(files["probability"], result.probabilities[name], result.volume)
        if labels is None and masks:
            write_pixels(files["mask"], result.masks[name] * value, result.volume)
    if labels is not None:
        write_pixels(paths[0]["mask"], labels, result.volume)
    for kind, data in objects.items():
        write_atomically(paths[0][kind], data)
    return paths


def encode_object(result: Segmentation, kind: ObjectFormat, seg_type: SegType = "binary") -> bytes:
    """A result as a DICOM file.

    Args:
        result: one segmented image or volume.
        kind: ``seg``, ``sc`` or ``sr``.
        seg_type: of a SEG.

    Raises:
        InputError: the source is no DICOM, or structures overlap in a label map.
        DelineateError: highdicom is not installed.
    """
    return encode(kind, result.outlined(seg_type))


def _save_object(result: Segmentation, target: Path, options: OutputOptions) -> Path:
    if len(options.objects) != 1 or options.pixel_formats:  # a report alone would name a SEG that is not there
        raise DelineateError(f'{target} is a file for one DICOM object; say which, e.g. formats="seg"')
    data = encode_object(result, options.objects[0], options.seg_type)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(target, data)
    return target
