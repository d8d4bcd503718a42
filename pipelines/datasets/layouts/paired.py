"""Pictures and their masks, as most people keep them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ...core.errors import InputError, SkippedError, counted
from ...imaging.item import Drawn, Item
from .base import NO_IMAGE, NO_MASK, Found, Layout, are_of_one_name, by_key, is_picture, list_pictures
from .dicom import DICOM
from .drafts import without_drafts
from .folders import Place, find_places, list_masks, split_folders
from .hc18 import HC18
from .naming import match, separate_masks
from .nerve import NERVE
from .nifti import NIFTI
from .ph2 import PH2
from .stu import STU


def paired(source: Path) -> Found:
    """Images and masks in folders as `find_places` knows them, with names as `match` knows them.

    The group is the image's name, in an official split with its folder's before it.

    Raises:
        InputError: several folders may be that of the images, or that of the masks; or there is none.
    """
    places = find_places(source)
    if not places:
        raise InputError(source, "holds no images with masks", f"needed is {PAIRED.needs}")
    items: list[Item] = []
    refused: list[InputError] = []
    for place in places:
        found, errors = read_place(place)
        items += [_of_part(item, place) for item in found]
        refused += errors
    used = {folder for place in places for folder in (place.images, place.images.parent)}
    left = [folder for folder, _ in split_folders(source) if folder not in used]
    return items, refused + [SkippedError(folder, "has no masks; passed over", "nothing to do") for folder in left]


def read_place(place: Place) -> Found:
    """The pairs in one place."""
    if place.structures:
        return read_structures(place)
    files, skipped = list_pictures(place.images)
    if place.images == place.masks:
        images, masks = separate_masks(files)
    else:
        images, (masks, also_skipped) = files, list_pictures(place.masks)
        skipped = skipped + also_skipped
    masks, drafts = without_drafts(masks)
    skipped = skipped + drafts
    items, unpaired = match(images, masks)
    return items, skipped + [error for error in unpaired if not _is_half(error, skipped)]


def read_structures(place: Place) -> Found:
    """Images with the masks of their structures, each named after its folder (``left_lung`` is ``left lung``).

    A structure of which an image has no mask is missing in its item; an image without any is refused.

    Raises:
        InputError: two folders are of one name but for case and underscores.
    """
    images, refused = list_pictures(place.images)
    _refuse_names_twice(place)
    drawn: dict[Path, dict[str, Path]] = {image: {} for image in images}
    for folder in place.structures:
        items, unpaired = match(images, list_masks(folder))
        refused += [error for error in unpaired if error.reason != NO_MASK]
        for item in items:
            drawn[item.file][folder.name.replace("_", " ")] = item.label[0]
    refused += [InputError(image, NO_MASK, "add one, or remove the image") for image in images if not drawn[image]]
    return [with_structures(image, masks) for image, masks in drawn.items() if masks], refused


def _refuse_names_twice(place: Place) -> None:
    by_name = by_key((folder.name.replace("_", " ").casefold(), folder) for folder in place.structures)
    for folders in by_name.values():
        if len(folders) > 1:
            several = ", ".join(f"{folder.name}/" for folder in folders)
            raise InputError(place.masks, f"holds one structure in several folders ({several})", "put them into one")


def with_structures(image: Path, masks: Mapping[str, Path]) -> Item:
    """An image with a mask a structure; the group is its name."""
    structures = {name: Drawn((position,)) for position, name in enumerate(masks)}
    return Item.of(image, *masks.values(), group=image.stem, structures=structures)


def _is_half(error: InputError, refused: Sequence[InputError]) -> bool:
    """Whether a file has no partner because that is among the ``refused``, where it is named."""
    stem = Path(error.source).stem
    return error.reason in (NO_IMAGE, NO_MASK) and any(
        are_of_one_name(Path(other.source).stem, stem) for other in refused
    )


def _of_part(item: Item, place: Place) -> Item:
    return replace(item, group=f"{place.part}/{item.group}", official=place.split) if place.part else item


def _matches(source: Path) -> str:
    """By what it is recognised, or nothing: also where another layout knows the names better."""
    try:
        places = find_places(source)
    except InputError as error:
        return error.reason
    if not places or any(map(_is_known, places)):
        return ""
    return f"holds {', '.join(map(_describe, places))}"


def _is_known(place: Place) -> bool:
    """Whether its names are another layout's, or its files volumes or DICOM."""
    if place.images == place.masks:
        return any(layout.matches(place.images) for layout in (HC18, NERVE, PH2, STU))
    if PH2.matches(place.masks):
        return True
    pictures = any(map(is_picture, place.images.iterdir()))
    return not pictures and bool(NIFTI.matches(place.images) or DICOM.matches(place.images))


def _describe(place: Place) -> str:
    above = f"{place.part}: " if place.part else ""
    if place.images == place.masks:
        return f"{above}images and masks side by side"
    if place.structures:
        return f"{above}{place.images.name}/ and {counted(len(place.structures), 'structure')} in {place.masks.name}/"
    return f"{above}{place.images.name}/ and {place.masks.name}/"


PAIRED = Layout(
    _matches,
    "images/ and masks/, or both side by side, also in train/, val/ and test/; "
    "with names that are equal or differ by a word (a, a_mask; image_1, mask_1); masks/ may hold a folder a structure",
    paired,
)
