"""What a layout has no use for: nothing that holds images goes unnamed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..core.errors import InputError, SkippedError, counted
from ..imaging.dicom import is_dicom
from ..imaging.filetypes import is_picture, refuse_foreign
from ..imaging.item import Item
from ..imaging.volumes.formats import volume_suffix
from .layouts.base import are_of_one_name, walk


def leftovers(source: Path, layout: str, items: Iterable[Item], named: Iterable[InputError]) -> list[InputError]:
    """What a layout found below ``source`` and neither took nor named.

    Args:
        source: the folder; a table says itself what is meant, so nothing is left over of one.
        layout: its name.
        items: what it took.
        named: what it refused or passed over, files or whole folders.

    Returns:
        a refusal of each file that holds images in a form that is not read, and of what this user may not read; one
        line, skipped, for those of a folder that could be read.
    """
    if layout == "csv":
        return []
    taken = {path for item in items for path in (*item.files, *item.label)}
    known = taken | {Path(error.source) for error in named}
    series = {path for path in taken if path.is_dir()}
    stems = {path.stem for path in known - taken}
    closed = {path for path in known - series if path.is_dir() and path != source}
    refused: list[InputError] = []
    unused: dict[Path, list[str]] = {}
    for file in walk(source):
        if file in known or not closed.isdisjoint(file.parents):
            continue
        foreign = None if volume_suffix(file) or is_dicom(file) else refuse_foreign(file)
        if foreign and not _is_unpacked(file):
            refused.append(foreign)
        elif any(are_of_one_name(file.stem, stem) for stem in stems):
            continue  # the mask of a refused image, or the image of a refused mask
        elif _is_read(file) and (series.isdisjoint(file.parents) or not is_dicom(file)):
            unused.setdefault(file.parent, []).append(file.name)
    return refused + [_unused(folder, names, layout) for folder, names in unused.items()]


def _is_read(file: Path) -> bool:
    return file.is_file() and (volume_suffix(file) is not None or is_picture(file) or is_dicom(file))


def _is_unpacked(file: Path) -> bool:
    """Whether an archive lies beside the folder that was in it."""
    folder = file.with_name(file.name.split(".")[0])
    return folder != file and folder.is_dir()


def _unused(folder: Path, names: list[str], layout: str) -> SkippedError:
    reason = f"holds {counted(len(names), 'image file')} not part of the layout {layout} (e.g. {names[0]})"
    return SkippedError(folder, reason, "passed over; name another --layout if they should be read")
