"""What to do next about a path that has no known layout."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from ...core.errors import InputError, counted
from ...core.files import denied
from ...imaging.filetypes import IMAGE_SUFFIXES
from ...imaging.volumes.formats import volume_suffix
from .base import is_hidden, is_picture, walk

_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")
_MOST = 50  # folders that are looked into
_NAMED = 5  # of folders that have a layout
_LOOKED_AT = 1000  # files that are opened, to see whether this user may

_SHALLOW = ("busbra", "kvasir", "paired", "isic", "busi")  # told without walking through all that lies in a folder


_LAYOUTS = (
    "e.g. images/ and masks/ with equal names, or write a table with the columns image and label (--layout csv); "
    "docs/data.md describes all layouts"
)

Recognise = Callable[..., Sequence[str]]  # the names of the layouts that a folder has, of all or of those named


def about_no_folder(source: Path) -> InputError:
    """The refusal of what is a file, or not there."""
    if not source.exists():
        return InputError(source, "does not exist", "check the path")
    if volume_suffix(source):
        return InputError(source, "is one volume, not a folder", "name the folder that holds volumes and labels")
    if source.suffix.lower() in _ARCHIVES:
        return InputError(source, "is an archive, not a folder", "unpack it first, then index the folder it gives")
    if source.suffix.lower() in IMAGE_SUFFIXES:
        remedy = (
            f"name the folder of images and masks; to outline it: delineate segment RUN {_quoted(source)} --out DIR"
        )
        return InputError(source, "is one picture, not a folder", remedy)
    return InputError(source, "is not a folder", "name the folder of images and masks")


def about_no_layout(source: Path, recognise: Recognise, is_part: Callable[[str], bool]) -> InputError:
    """The refusal of a folder without layout, with the likeliest step to take.

    Args:
        source: the folder.
        recognise: the names of the layouts that a folder has.
        is_part: whether the folder above, in the layout of that name, has images or masks in this one.
    """
    seen = [entry for entry in sorted(source.iterdir()) if not is_hidden(entry)]
    if not seen:
        return InputError(source, "is an empty folder", f"put images and their masks there, {_LAYOUTS}")
    if (source / "datalist.json").is_file():
        return InputError(source, "is a data set already", "train on it, or split it otherwise: delineate data split")
    if closed := next(filter(None, map(denied, islice(walk(source), _LOOKED_AT))), None):
        return closed
    if lower := list(_with_layout(_below(source), recognise)):
        return _about_folders_below(source, lower)
    if upper := next((name for name in recognise(source.parent, _SHALLOW) if is_part(name)), ""):
        remedy = f"index the folder above: delineate data index {_quoted(source.parent)} --out DATASET"
        return InputError(source, f"is a part of a folder that has the layout {upper}", remedy)
    some = ", ".join(entry.name for entry in seen[:5]) + (", ..." if len(seen) > 5 else "")
    return _about_files(source, [*walk(source)], some) or InputError(
        source, f"has no known layout (it holds {some})", f"bring it into one, {_LAYOUTS}"
    )


def _about_folders_below(source: Path, lower: Sequence[tuple[Path, str]]) -> InputError:
    """The refusal of a folder that holds some which have a layout: of several it names the command for all."""
    found = ", ".join(f"{folder.relative_to(source).as_posix()}/ ({name})" for folder, name in lower[:_NAMED])
    reason = "has no known layout itself, but holds folders that have one: "
    if len(lower) == 1:
        remedy = f"index it: delineate data index {_quoted(lower[0][0])} --out DATASET"
        return InputError(source, reason + found, remedy)
    more = f" and {len(lower) - _NAMED} more" if len(lower) > _NAMED else ""
    beside = len(lower) > _NAMED and all(folder.parent == source for folder, _ in lower)
    named = f"{_quoted(source)}/*" if beside else " ".join(_quoted(folder) for folder, _ in lower)
    remedy = (
        f"index them as one data set: delineate data index {named} --out DATASET "
        "(where each folder is one patient: --group-by-folder)"
    )
    return InputError(source, reason + found + more, remedy)


def _about_files(source: Path, files: Sequence[Path], some: str) -> InputError | None:
    pictures = [file for file in files if is_picture(file)]
    archives = [file for file in files if file.suffix.lower() in _ARCHIVES]
    if pictures:
        remedy = (
            "put masks that a person drew into masks/ beside images/, of equal names, or name them NAME_mask.png, and "
            f"index again; a trained bundle makes drafts (delineate segment RUN {_quoted(source)} --out predictions), "
            "every one of which a person has to correct first (then: --corrected)"
        )
        reason = (
            f"has no known layout: {counted(len(pictures), 'picture')} and no masks that fit them (it holds {some})"
        )
        return InputError(source, reason, remedy)
    if archives:
        return InputError(source, f"holds archives ({some})", "unpack them first, then index again")
    return None


def _with_layout(folders: Iterator[Path], recognise: Recognise) -> Iterator[tuple[Path, str]]:
    """Folders that have a layout, with its name; none below one that has."""
    known: list[Path] = []
    for folder in islice(folders, _MOST):
        names = [] if any(folder.is_relative_to(one) for one in known) else recognise(folder)
        if names:
            known.append(folder)
            yield folder, names[0]


def _below(source: Path) -> Iterator[Path]:
    """Folders one and two levels down."""
    upper = [entry for entry in sorted(source.iterdir()) if entry.is_dir() and not is_hidden(entry)]
    yield from upper
    for folder in upper:
        yield from (entry for entry in sorted(folder.iterdir()) if entry.is_dir() and not is_hidden(entry))


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
