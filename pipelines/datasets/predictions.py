"""Masks that Delineate drew: predictions, and no labels before a person has corrected each of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from ..core.errors import InputError, SkippedError, counted
from ..core.sums import sha256
from ..imaging.item import Item
from ..inference.result_table import TABLE, own_files
from .layouts.base import Found, by_key

_REMEDY = (
    "they are predictions, not labels: let a person correct every one of them, then index again with --corrected, "
    "or put masks that a person drew in their place"
)


def without_predictions(items: Sequence[Item], refused: Sequence[InputError], corrected: bool) -> Found:
    """What a layout found, without what a ``results.csv`` of Delineate's names.

    Of what else it names (overlays, probabilities, masks that have no image) a line for each folder says that it is
    passed over.

    Args:
        items: that were found, with absolute paths.
        refused: and what was not taken.
        corrected: whether a person has corrected the masks, so that they are labels.

    Returns:
        the items, without those of predictions unless these were ``corrected``; a refusal of each folder of such.
    """
    others = [item.file for item in items] + [Path(error.source) for error in refused]
    is_own = _written_by_delineate([*_labels(items), *others]).__contains__
    images = [item for item in items if not is_own(item.file)]
    kept = [item for item in images if corrected or not any(map(is_own, item.label))]
    predictions = {} if corrected else _by_folder(filter(is_own, _labels(images)))
    needless = _by_folder(filter(is_own, others))
    return kept, [
        *(_refusal(folder, len(files)) for folder, files in predictions.items()),
        *(error for error in refused if not is_own(Path(error.source))),
        *(_passed_over(folder, len(files)) for folder, files in needless.items()),
    ]


def note_of_corrected(items: Iterable[Item]) -> list[str]:
    """The note on labels that Delineate drew; none where there are none."""
    drawn = _written_by_delineate(_labels(items))
    if not drawn:
        return []
    note = f"{counted(len(drawn), 'mask')} drawn by Delineate ({TABLE}), and corrected by a person, as --corrected says"
    unchanged = sum(as_written == sha256(path) for path, as_written in drawn.items() if as_written)
    return [
        note + (f"; {unchanged} of them as Delineate drew {'it' if unchanged == 1 else 'them'}" if unchanged else "")
    ]


def _labels(items: Iterable[Item]) -> list[Path]:
    return list(dict.fromkeys(path for item in items for path in item.label))


def _written_by_delineate(paths: Iterable[Path]) -> dict[Path, str]:
    """Those that are a table of results, or that such a table in their folder or above names, or links to such.

    Each has its SHA-256 as it was written, where the table tells it.
    """
    real = {path: path.resolve() for path in paths}
    folders = {folder for path in real.values() for folder in path.parents}
    found = {folder: own_files(folder) for folder in folders}
    own = {file: sha for folder, files in found.items() if files for file, sha in {folder / TABLE: "", **files}.items()}
    return {path: own[file] for path, file in real.items() if file in own}


def _by_folder(files: Iterable[Path]) -> dict[Path, list[Path]]:
    found = by_key((str(file.parent), file) for file in files)
    return {Path(folder): several for folder, several in found.items()}


def _refusal(folder: Path, number: int) -> InputError:
    return InputError(folder, f"holds {counted(number, 'mask')} that Delineate drew ({TABLE})", _REMEDY)


def _passed_over(folder: Path, number: int) -> SkippedError:
    reason = f"holds {counted(number, 'file')} more that Delineate wrote: {TABLE}, overlays, probabilities or the like"
    return SkippedError(folder, reason, "passed over; nothing to do")
